"""Rows of an output as it was before it lost or regained documents: each is right where its key is still there.

The run record of such an output names the data of the earlier ones that have the same rows for the same keys. So the
stages after it know which of their own rows stay as they are. Without the record, rows are made again.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.manifest import Manifest

_KEY = "rows_as_in"
# A shard loses documents a few times between two full runs.
_REMEMBERED = 32


class Before(NamedTuple):
    """An output before it is made again, with the data of outputs that have the same rows for the same keys."""

    manifest: Manifest
    same_rows: list[str]
    record: Mapping[str, Any]

    def facts(self, made: Manifest) -> dict[str, Any]:
        """Return what the run record says of an output that was made with the same rows for the same keys."""
        return {_KEY: {"data": made.data_sha256, "earlier": self.same_rows[:_REMEMBERED]}}


def before(artifact: Artifact) -> Before | None:
    """Return an output as it is now; None if it is not complete."""
    manifest = artifact.manifest()
    if manifest is None:
        return None
    record = artifact.run_record()
    return Before(manifest, _same_rows(manifest, record), record)


def same_rows(artifact: Artifact) -> list[str]:
    """Return the data of outputs that have the rows of this one for the same keys: its own, and earlier ones."""
    found = before(artifact)
    return found.same_rows if found else []


def _same_rows(manifest: Manifest, record: Mapping[str, Any]) -> list[str]:
    known = record.get(_KEY)
    data = manifest.data_sha256
    # A run that was killed before it wrote its record leaves that of another output.
    if isinstance(known, dict) and known.get("data") == data and isinstance(known.get("earlier"), list):
        return [data, *map(str, known["earlier"])]
    return [data]
