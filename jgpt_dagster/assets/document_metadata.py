"""What the UI shows of a shard of `<corpus>_documents`: its first documents, and samples of what was left out."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from jgpt_dagster.assets.metadata import preview
from jgpt_dagster.corpus.duplicates.decisions import NEAR_DUPLICATE
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact

_ROWS_LOOKED_AT = 10_000


def described(target: ParquetArtifact) -> Mapping[str, Any]:
    """Return the first documents of a shard, and samples of those that were rejected or dropped."""
    rows = [(str(key), " ⏎ ".join(lines)) for key, lines in islice(read_rows(target.path, ["document_id", "lines"]), 4)]
    with target.rejected_path.open() as stream:
        rejected = [json.loads(line) for line in islice(stream, 5)]
    shown = [(str(row["document_id"]), row["reason"]) for row in rejected]
    return {
        "preview": preview(("document_id", "lines"), rows),
        **({"rejected_documents": preview(("document_id", "reason"), shown)} if shown else {}),
        **_dropped_samples(target),
    }


def near_duplicates(table: ParquetArtifact) -> Mapping[str, Any]:
    """Return the first near duplicates of a shard; nothing for documents that an earlier version made."""
    if not table.path.exists():
        return {}
    first_rows = islice(read_rows(table.path), _ROWS_LOOKED_AT)
    near = (row for row in first_rows if row[2] == NEAR_DUPLICATE)
    rows = [(str(copy), f"{jaccard:.3f} like {kept}") for copy, _, _, kept, _, jaccard in islice(near, 5)]
    return (
        {"near_duplicates": preview(("document_id", "Jaccard similarity to the kept document"), rows)} if rows else {}
    )


def _dropped_samples(target: ParquetArtifact) -> Mapping[str, Any]:
    """Return one document for each reason for which any was dropped; the file beside the shard has more."""
    if not target.dropped_path.exists():
        return {}
    with target.dropped_path.open() as stream:
        samples = {row["reason"]: row for row in map(json.loads, stream)}
    shown: Sequence[tuple[str, str]] = [
        (f"{reason} {row['document_id']}", row["text"]) for reason, row in samples.items()
    ]
    return {"dropped_samples": preview(("reason and document_id", "text"), shown)} if shown else {}
