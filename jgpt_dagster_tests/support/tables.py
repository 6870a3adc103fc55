"""Tables in the metadata of assets, as rows of cells."""

from typing import Any

import dagster as dg


def rows_of(value: dg.TableMetadataValue) -> list[tuple[Any, ...]]:
    """Return the cells of a table, row by row."""
    names = [column.name for column in value.schema.columns]
    return [tuple(record.data[name] for name in names) for record in value.records]
