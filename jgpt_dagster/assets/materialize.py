"""What all stages share: take the partition's lock, skip what is current, time the work, describe the output."""

import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg
from pydantic import Field

from jgpt_dagster.corpus.row_reuse import ReuseStats
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.runtime.progress import Progress
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.manifest import Manifest, Recipe
from jgpt_dagster.storage.partition_lock import partition_lock

ArtifactT = TypeVar("ArtifactT", bound=Artifact)

# In run.json: seconds a unit of size, in the sense of ReuseStats.
MAKING_RATE = "making_seconds_per_unit"

# Markdown up to this many characters is shown inline on the asset's page; longer text hides behind a link.
_INLINE_MARKDOWN = 950


class StageConfig(dg.Config):
    """Run config of a stage."""

    force: bool = Field(default=False, description="Make the output again even where it is whole and current.")


def materialize(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    artifact: ArtifactT,
    recipe: Recipe,
    make: Callable[[ArtifactT, Recipe], Mapping[str, Any] | None],
    *,
    force: bool = False,
    describe: Callable[[Manifest], Mapping[str, Any]] = lambda manifest: {},
) -> dg.MaterializeResult:
    """Bring `artifact` up to date with `recipe` and return its metadata.

    `make` writes the artifact and may return what is worth knowing of this run but is no part of the output, such as
    how much was reused; `describe` adds metadata from the finished output, which is shown first. An output that is
    whole and current is verified and left alone unless `force`. Raises dagster.Failure with the text of any JgptError.
    """
    with as_dagster_failure(), partition_locked(context, store, artifact):
        manifest = None if force else artifact.up_to_date_manifest(recipe)
        made = manifest is None
        if manifest is None:
            started = time.monotonic()
            facts = make(artifact, recipe)
            manifest = finished(context, artifact, time.monotonic() - started, facts)
        return dg.MaterializeResult(
            metadata=dict(describe(manifest)) | stage_metadata(store, artifact, manifest, made),
            data_version=dg.DataVersion(manifest.data_sha256),
        )


@contextmanager
def partition_locked(context: dg.AssetExecutionContext, store: CorpusStore, artifact: Artifact) -> Iterator[None]:
    """Hold the lock of an output; while another run has it, the log says which."""
    with partition_lock(store.root.path, artifact.label, f"run {context.run.run_id}", context.log.info):
        yield


def finished(
    context: dg.AssetExecutionContext, artifact: Artifact, seconds: float, facts: Mapping[str, Any] | None = None
) -> Manifest:
    """Record the run that has just written an output, with its `facts`, publish it, and return its manifest."""
    record = {"seconds": round(seconds, 3), "host": socket.gethostname(), "run_id": context.run.run_id, **(facts or {})}
    write_json(artifact.run_path, record)
    artifact.upload()
    manifest = artifact.manifest()
    if manifest is None:
        raise JgptError(f"{artifact.label}: {artifact.location} is not whole although it was just written")
    return manifest


def reuse_facts(tally: ReuseStats) -> dict[str, Any]:
    """Return what a run that could reuse an earlier dump's rows did: rows reused and made, and the time that saved."""
    facts: dict[str, Any] = {"reused_rows": tally.reused, "made_rows": tally.made}
    if tally.rate is not None and tally.saved_seconds is not None:
        facts |= {"saved_seconds": round(tally.saved_seconds, 3), MAKING_RATE: tally.rate}
    return facts


def stage_metadata(store: CorpusStore, artifact: Artifact, manifest: Manifest, made: bool) -> dict[str, Any]:
    """Return the metadata that every stage shows: its counts, how the making went, and where it lies."""
    run = artifact.run_record()
    status = "made" if made else "verified: whole and current, nothing redone"
    return {
        "status": status,
        **flat_counts(manifest.counts),
        **{name: value for name, value in run.items() if isinstance(value, int | float) and name != MAKING_RATE},
        # Below the data root: the UI does not break a path, and a whole one pushes the table's edge out of the page.
        "path": dg.MetadataValue.path(str(artifact.path.relative_to(store.root.path))),
    }


def flat_counts(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts as metadata values: a nested mapping as JSON, a float with six digits that count."""
    return {name: _metadata_value(value) for name, value in counts.items() if value is not None}


def preview(rows: Sequence[tuple[str, str]], longest: int = 120) -> dg.MarkdownMetadataValue:
    """Return real rows (key, text) as a markdown list of at most `longest` characters a row, to be shown inline."""
    if not rows:
        return dg.MetadataValue.md("*no rows*")
    room = min(longest, _INLINE_MARKDOWN // len(rows) - len("- **** \n"))
    lines = []
    for key, text in rows:
        key = _plain(key, 40)
        lines.append(f"- **{key}** {_plain(text, room - len(key))}\n")
    return dg.MetadataValue.md("".join(lines))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> dg.MarkdownMetadataValue:
    """Return a markdown table of our own names and figures; text of a corpus goes through `preview`."""
    lines = [head, ["-"] * len(head), *rows]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def progress(
    context: dg.AssetExecutionContext, artifact: Artifact, unit: str, total: int | None = None, size: int | None = None
) -> Progress:
    """Return a progress counter whose lines go to the run's log."""
    return Progress(artifact.label, unit, total, context.log.info, size)


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Turn a JgptError into a dagster.Failure whose description is the message, so that the UI leads with it."""
    try:
        yield
    except JgptError as error:
        raise dg.Failure(description=str(error)) from error


def _metadata_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dg.MetadataValue.json(dict(value))
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _plain(text: str, room: int) -> str:
    """Return at most `room` characters of markdown that shows `text` as it is: no link, picture or HTML of its own."""
    escaped = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text.replace("\n", " "))
    return escaped if len(escaped) <= room else escaped[: max(room - 1, 0)].rstrip("\\") + "…"
