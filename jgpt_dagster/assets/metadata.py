"""Metadata that assets show in the UI: counts, previews of real rows, tables."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.manifest import Manifest

MAKING_RATE = "making_seconds_per_unit"
"""Key in run.json: seconds per unit of size, as in ReuseStats."""

# Markdown up to this many characters is shown inline on the asset's page; longer text hides behind a link.
_INLINE_MARKDOWN = 950


def stage_metadata(store: CorpusStore, artifact: Artifact, manifest: Manifest, made: bool) -> dict[str, Any]:
    """Return the metadata that every stage shows: its counts, the record of the run that made it, and its path."""
    run = artifact.run_record()
    status = "made" if made else "verified: complete and current"
    return {
        "status": status,
        **flat_counts(manifest.counts),
        **{name: value for name, value in run.items() if isinstance(value, int | float) and name != MAKING_RATE},
        # Relative to the data root: the UI does not wrap paths, and a full one would make the table too wide.
        "path": dg.MetadataValue.path(str(artifact.path.relative_to(store.root.path))),
    }


def flat_counts(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts as metadata values: a nested mapping as JSON, a float with six significant digits."""
    return {name: _metadata_value(value) for name, value in counts.items() if value is not None}


def preview(rows: Sequence[tuple[str, str]], longest: int = 120) -> dg.MarkdownMetadataValue:
    """Return rows (key, text) as a Markdown list, at most `longest` characters a row, short enough to show inline."""
    if not rows:
        return dg.MetadataValue.md("*no rows*")
    room = min(longest, _INLINE_MARKDOWN // len(rows) - len("- **** \n"))
    lines = []
    for key, text in rows:
        key = _plain(key, 40)
        lines.append(f"- **{key}** {_plain(text, room - len(key))}\n")
    return dg.MetadataValue.md("".join(lines))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> dg.MarkdownMetadataValue:
    """Return a Markdown table of trusted names and figures; text of a corpus goes through `preview`."""
    lines = [head, ["-"] * len(head), *rows]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _metadata_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dg.MetadataValue.json(dict(value))
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _plain(text: str, room: int) -> str:
    """Return at most `room` characters of Markdown that show `text` literally, without links, pictures or HTML."""
    escaped = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text.replace("\n", " "))
    return escaped if len(escaped) <= room else escaped[: max(room - 1, 0)].rstrip("\\") + "…"
