"""`cc100_dump` and `cc100_documents`: the verified archive, and its documents dealt to shards in one pass."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from typing import Any

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.columns import column_metadata
from jgpt_dagster.assets.stage import (
    StageConfig,
    failures_in_plain_words,
    finished,
    holding,
    materialize,
    preview,
    progress,
    stage_metadata,
)
from jgpt_dagster.corpus.cc100 import DocumentRow, deal, read_documents, shard_of
from jgpt_dagster.corpus.decompress import DamagedFileError
from jgpt_dagster.corpus.download import fetch
from jgpt_dagster.corpus.schemas import DOCUMENTS
from jgpt_dagster.corpus.selection import Selection, ShardTally, select
from jgpt_dagster.errors import JgptError
from jgpt_dagster.partitions import shard_partitions
from jgpt_dagster.progress import Progress, step_label
from jgpt_dagster.resources import CorpusStore, Mirror
from jgpt_dagster.storage.artifact import DROPPED, REJECTED, DirectoryArtifact, ParquetArtifact
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Manifest, Recipe, library_versions
from jgpt_dagster.storage.parquet import RowWriter, read_rows
from jgpt_dagster.storage.seen import SeenHashes
from jgpt_dagster.storage.writing import require_free_space

DUMP_CODE_VERSION = "1"
DOCUMENTS_CODE_VERSION = "2"

_ARCHIVE = "ja.txt.xz"

# Bytes of the index of what was seen, for each of the archive: 66 million documents, each with 14 bands and 8 long
# paragraphs, at 15.5 bytes a hash, come to 22.5 GB beside the 15.9 GB of CC-100 ja.
_INDEX_SHARE = 1.5


class Cc100DumpConfig(StageConfig):
    """Run config of the CC-100 archive."""

    sha256: str = Field(
        default="", pattern="^([0-9a-f]{64})?$", description="What the archive's sha256 must be, if known."
    )


@dg.asset(
    group_name="cc100",
    kinds={"xz"},
    code_version=DUMP_CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def cc100_dump(
    context: dg.AssetExecutionContext, config: Cc100DumpConfig, store: CorpusStore, mirror: Mirror
) -> dg.MaterializeResult:
    """The archive `ja.txt.xz`. Its publisher gives no checksum: the sha256 is recorded here and required ever after."""
    target = store.directory("cc100_dump")
    recipe = Recipe(stage="cc100_dump", code_version=DUMP_CODE_VERSION, settings={"url": mirror.cc100_url})

    incoming = store.root.path / ".incoming" / "cc100"

    def make(target: DirectoryArtifact, recipe: Recipe) -> None:
        bar = progress(context, target, "B")
        with target.writing(recipe) as out:
            entry = fetch(mirror.cc100_url, incoming / _ARCHIVE, sha256=config.sha256 or None, progress=bar.at)
            os.link(incoming / _ARCHIVE, out.path / _ARCHIVE, follow_symlinks=False)
            out.known(_ARCHIVE, entry)
            out.counts = {"bytes": entry.size, "sha256": entry.sha256}

    def let_go(_: Manifest) -> Mapping[str, Any]:
        """Delete the download, which the finished output holds; a run killed at this point left it behind."""
        shutil.rmtree(incoming, ignore_errors=True)
        return {}

    return materialize(context, store, target, recipe, make, force=config.force, describe=let_go)


class Cc100DocumentsConfig(StageConfig, Selection):
    """Run config of the CC-100 documents. All but `force` is of the profile `clean` alone."""


@dg.asset(
    group_name="cc100",
    kinds={"parquet", "python"},
    partitions_def=shard_partitions,
    # One pass over one stream: a single run writes all the shards that are asked for.
    backfill_policy=dg.BackfillPolicy.single_run(),
    deps=["cc100_dump"],
    metadata=column_metadata(DOCUMENTS),
    code_version=DOCUMENTS_CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def cc100_documents(
    context: dg.AssetExecutionContext, config: Cc100DocumentsConfig, store: CorpusStore
) -> dg.MaterializeResult:
    """One row a document. Document i of the archive goes to shard i modulo the number of shards.

    Under the profile `clean`, documents that are too short, not Japanese, repetitive or nearly equal to an earlier one
    are dropped, and paragraphs that stood before; all are counted, and `shard=<NNN>.dropped.jsonl` has samples.
    """
    targets = {int(key): store.parquet("cc100_documents", shard=key) for key in sorted(context.partition_keys)}
    with failures_in_plain_words(), ExitStack() as locks:
        archive = store.directory("cc100_dump")
        selection = _selection(store, config)
        recipe = Recipe(
            stage="cc100_documents",
            code_version=DOCUMENTS_CODE_VERSION,
            settings={"shards": store.shards, **({"selection": selection.model_dump()} if selection else {})},
            inputs={archive.label: archive.verified().data_sha256},
            libraries=library_versions("pyarrow", *(("rensa",) if selection else ())),
        )
        for target in targets.values():
            locks.enter_context(holding(context, store, target))
        stale = {number: target for number, target in targets.items() if config.force or not target.current(recipe)}
        if stale:
            started = time.monotonic()
            try:
                _write_shards(context, store, archive, stale, recipe, selection)
            except DamagedFileError as error:
                raise JgptError(
                    f"{error}. The archive is as the server sent it: materialize cc100_dump with `force: true`, from "
                    "another copy (JGPT_CC100_URL) if this comes back."
                ) from error
            for target in stale.values():
                finished(context, target, time.monotonic() - started)
        for number, target in targets.items():
            metadata = dict(_describe(target)) | stage_metadata(store, target, target.verified(), number in stale)
            context.add_asset_metadata(metadata, partition_key=f"{number:03d}")
    # One data version for all shards of the run: Dagster has no other way, and they change together.
    return dg.MaterializeResult(data_version=dg.DataVersion(sha256_value([recipe.settings, recipe.inputs])))


def _selection(store: CorpusStore, config: Cc100DocumentsConfig) -> Selection | None:
    """Return how documents are chosen; None under `seed`, which takes every one."""
    chosen = config.model_dump(exclude={"force"})
    if store.profile == "clean":
        return Selection(**chosen)
    if changed := [name for name, value in Selection().model_dump().items() if chosen[name] != value]:
        raise JgptError(
            f"cc100_documents: {', '.join(changed)} cannot be set under JGPT_TEXT=seed, which takes every document. "
            "Remove it from the run config."
        )
    return None


def _write_shards(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    archive: DirectoryArtifact,
    targets: Mapping[int, ParquetArtifact],
    recipe: Recipe,
    selection: Selection | None,
) -> None:
    """Read the archive once and write the given shards."""
    path = archive.path / _ARCHIVE
    label = step_label("cc100_documents", sorted(context.partition_keys))
    bar = Progress(label, "documents", None, context.log.info, path.stat().st_size)
    rejected: list[dict[str, Any]] = []
    tallies = {number: ShardTally() for number in targets}
    read = 0
    if selection:
        needed = int(_INDEX_SHARE * path.stat().st_size)
        require_free_space(store.scratch_path, needed, "the index of the documents and paragraphs seen before")

    def rejected_of(number: int) -> list[dict[str, Any]]:
        return [row for row in rejected if shard_of(row["document_id"], store.shards) == number]

    def documents() -> Iterator[DocumentRow]:
        nonlocal read
        for row in read_documents(path, rejected, on_read=bar.read):
            read += 1
            yield row

    def counts(number: int) -> dict[str, int]:
        total = read + len(rejected)
        return {
            "archive_documents": total,
            "documents": len(range(number, total, store.shards)),
            "rejected": len(rejected_of(number)),
            **tallies[number].counts(),
        }

    def kept(rows: Iterator[DocumentRow]) -> Iterator[DocumentRow]:
        for row in rows:
            if tally := tallies.get(shard_of(row[0], store.shards)):
                tally.keep(row[1])
            yield row

    with ExitStack() as files:

        def opened(number: int, target: ParquetArtifact) -> RowWriter:
            beside: dict[str, Callable[[], list[dict[str, Any]]]] = {REJECTED: lambda: rejected_of(number)}
            if selection:
                beside[DROPPED] = tallies[number].samples
            return files.enter_context(RowWriter.opened(target.path, DOCUMENTS, recipe, lambda: counts(number), beside))

        writers = {number: opened(number, target) for number, target in targets.items()}
        rows = bar.track(documents())
        if selection:
            seen = files.enter_context(SeenHashes(store.scratch_path))
            rows = select(rows, selection, seen, tallies, store.shards)
        deal(kept(rows), store.shards, writers)


def _describe(target: ParquetArtifact) -> Mapping[str, Any]:
    rows = [(str(key), " ⏎ ".join(lines)) for key, lines in islice(read_rows(target.path), 4)]
    with target.rejected_path.open() as stream:
        rejected = [json.loads(line) for line in islice(stream, 5)]
    return {
        "preview": preview(rows),
        **(
            {"rejected_documents": preview([(str(row["document_id"]), row["reason"]) for row in rejected])}
            if rejected
            else {}
        ),
        **_dropped(target),
    }


def _dropped(target: ParquetArtifact) -> Mapping[str, Any]:
    """Return one document of each reason for which any was dropped; the file beside the shard has more."""
    if not target.dropped_path.exists():
        return {}
    with target.dropped_path.open() as stream:
        samples = {row["reason"]: row for row in map(json.loads, stream)}
    shown = [(f"{reason} {row['document_id']}", row["text"]) for reason, row in samples.items()]
    return {"dropped_samples": preview(shown)} if shown else {}
