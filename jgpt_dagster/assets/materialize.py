"""What all stages share: lock the partition, skip an output that is current, time the work, record the run."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.look import FORCED, Look
from jgpt_dagster.assets.metadata import FULL_SECONDS, MAKING_RATE, stage_metadata
from jgpt_dagster.corpus.row_reuse import ReuseStats
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.runtime.progress import Progress, ProgressEvent, publish
from jgpt_dagster.runtime.stopwatch import Stopwatch
from jgpt_dagster.storage.artifact import MADE_BECAUSE, Artifact
from jgpt_dagster.storage.damage import clear_damage
from jgpt_dagster.storage.manifest import Manifest, Recipe
from jgpt_dagster.storage.partition_lock import partition_lock
from jgpt_dagster.storage.sealed_json import write_sealed_json

ArtifactT = TypeVar("ArtifactT", bound=Artifact)
Materialization = dg.MaterializeResult[Any]


class StageConfig(dg.Config):
    """Run config of a stage."""

    force: bool = Field(default=False, description="Make the output again even if it is complete and current.")


def materialize(
    context: dg.AssetExecutionContext | Look,
    store: CorpusStore,
    artifact: ArtifactT,
    recipe: Recipe,
    make: Callable[[ArtifactT, Recipe], Mapping[str, Any] | None],
    *,
    force: bool = False,
    describe: Callable[[Manifest], Mapping[str, Any]] = lambda manifest: {},
) -> Materialization:
    """Bring `artifact` up to date with `recipe` and return its metadata.

    `make` writes the artifact and may return facts about this run that are not part of the output, such as how much was
    reused. `describe` adds metadata of the finished output, which is shown first. A complete and current output is
    verified and left alone unless `force`.
    """
    if isinstance(context, Look):
        return context.result(store, artifact, recipe, force=force)
    with partition_locked(context, store, artifact):
        manifest, because = (None, FORCED) if force else artifact.find_current(recipe)
        made = manifest is None
        if manifest is None:
            watch = Stopwatch()
            facts = make(artifact, recipe)
            manifest = record_run(context, artifact, watch, because, facts)
        return dg.MaterializeResult(
            metadata=dict(describe(manifest)) | stage_metadata(store, artifact, manifest, made),
            data_version=dg.DataVersion(manifest.data_sha256),
        )


@contextmanager
def partition_locked(context: dg.AssetExecutionContext, store: CorpusStore, artifact: Artifact) -> Iterator[None]:
    """Hold the lock of an output; if another run has it, the log says which."""
    with partition_lock(store.root.path, artifact.label, f"run {context.run.run_id}", context.log.info):
        yield


def record_run(
    context: dg.AssetExecutionContext,
    artifact: Artifact,
    watch: Stopwatch,
    because: str,
    facts: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write the run record of an output that was just made, upload the output, and return its manifest.

    `watch` was started before it was made; `because` says in words why it was.
    """
    times = {"seconds": round(watch.seconds, 3), "cpu_seconds": round(watch.cpu_seconds, 3)}
    own = {**times, "host": socket.gethostname(), "run_id": context.run.run_id}
    record = {**own, MADE_BECAUSE: because, **(facts or {})}
    clear_damage(artifact)  # of a file with the same name and the same data
    write_sealed_json(artifact.run_path, record, internal=True)
    artifact.upload()
    manifest = artifact.manifest()
    if manifest is None:
        raise JgptError(f"{artifact.label}: {artifact.location} is incomplete although it was just written")
    return manifest


def reuse_facts(stats: ReuseStats) -> dict[str, Any]:
    """Return facts about reuse of the previous dump's rows: rows reused and made, and the time that saved."""
    known = {
        "saved_seconds": None if stats.saved_seconds is None else round(stats.saved_seconds, 6),
        MAKING_RATE: stats.rate,
        FULL_SECONDS: stats.full_seconds if stats.reused else None,
    }
    facts = {"reused_rows": stats.reused, "made_rows": stats.made}
    return facts | {name: value for name, value in known.items() if value is not None}


def tell(context: dg.AssetExecutionContext | Look, artifact: Artifact, text: str) -> None:
    """Say something to whoever follows a run: in its log, and on the terminal of `jgpt run`."""
    if isinstance(context, Look):
        context.lines.append(text)
        return
    context.log.warning(text)
    publish(ProgressEvent(artifact.label, line=text))


def progress(
    context: dg.AssetExecutionContext, artifact: Artifact, unit: str, total: int | None = None, size: int | None = None
) -> Progress:
    """Return a progress counter whose lines go to the run's log."""
    return Progress(artifact.label, unit, total, context.log.info, size)
