"""`<corpus>_documents`: the documents of a corpus that has no dumps, chosen and dealt to shards in one pass."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import dagster as dg

from jgpt_dagster.assets.column_schemas import column_metadata
from jgpt_dagster.assets.materialize import (
    StageConfig,
    as_dagster_failure,
    finished,
    partition_locked,
    preview,
    stage_metadata,
)
from jgpt_dagster.corpus.schemas import DOCUMENTS
from jgpt_dagster.corpus.web.cc100 import DocumentRow, distribute_to_shards, shard_of
from jgpt_dagster.corpus.web.document_selection import SelectionSettings, ShardCounts, select_documents
from jgpt_dagster.corpus.web.rejected_documents import RejectedDocumentLog, RejectedRows
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.partitions import shard_partitions
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.runtime.progress import Progress, step_label
from jgpt_dagster.runtime.worker_pool import map_in_process, map_in_worker_pool
from jgpt_dagster.storage.disk_hash_set import DiskHashSet
from jgpt_dagster.storage.disk_space import require_free_space
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import RowWriter, read_rows
from jgpt_dagster.storage.parquet_artifact import DROPPED, REJECTED, ParquetArtifact

CODE_VERSION = "2"

# Bytes of the index of what was seen, for each byte of text: 66 million documents, each with 14 bands and 8 long
# paragraphs, at 15.5 bytes a hash, come to 22.5 GB beside the 75 GB of CC-100 ja.
_INDEX_SHARE = 0.3

# Above this many bytes of text, some 20 s of work, worker processes are worth their start. What this process does for a
# document takes as long as what a worker does: one keeps up with it, and a second where theirs takes longer.
_ALONE_BYTES = 64 << 20
_WORKERS = 2


@dataclass(frozen=True)
class Source:
    """Where documents come from: what identifies it (a recipe's inputs), its bytes and about how many they unpack to,
    one pass over it, and what else of it is to be counted.

    `read` is given where to put what is refused and is to tell how many bytes it has read. Ids of
    documents ascend from 0, those that are refused counted.
    """

    inputs: Mapping[str, str]
    size: int
    unpacked_size: int
    read: Callable[[RejectedRows, Callable[[int], None]], Iterator[DocumentRow]]
    counts: Mapping[str, int] = field(default_factory=dict)


class DocumentsConfig(StageConfig, SelectionSettings):
    """Run config of the documents. All but `force` is of the profile `clean` alone."""


def build_documents(
    corpus: str, open_source: Callable[[CorpusStore], Source], deps: Sequence[str] = ()
) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_documents`; `open_source` may raise a JgptError."""

    @dg.asset(
        name=f"{corpus}_documents",
        group_name=corpus,
        kinds={"parquet", "python"},
        partitions_def=shard_partitions,
        # One pass over one stream: a single run writes all the shards that are asked for.
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=deps,
        metadata=column_metadata(DOCUMENTS),
        code_version=CODE_VERSION,
        op_tags={"dagster-celery/queue": "cpu"},
    )
    def documents(
        context: dg.AssetExecutionContext, config: DocumentsConfig, store: CorpusStore
    ) -> dg.MaterializeResult:
        """One row a document. Document i of the source goes to shard i modulo the number of shards.

        Under the profile `clean`, documents that are too short, not Japanese, repetitive or nearly equal to an earlier
        one are dropped, and paragraphs that stood before; all are counted, and `shard=<NNN>.dropped.jsonl` has samples.
        """
        targets = {int(key): store.parquet(f"{corpus}_documents", shard=key) for key in sorted(context.partition_keys)}
        with as_dagster_failure(), ExitStack() as locks:
            selection = _selection(store, corpus, config)
            source = open_source(store)
            recipe = Recipe(
                stage=f"{corpus}_documents",
                code_version=CODE_VERSION,
                settings={"shards": store.shards, **({"selection": selection.model_dump()} if selection else {})},
                inputs=source.inputs,
                libraries=library_versions("pyarrow", *(("rensa",) if selection else ())),
            )
            for target in targets.values():
                locks.enter_context(partition_locked(context, store, target))
            stale = {
                number: target
                for number, target in targets.items()
                if config.force or not target.up_to_date_manifest(recipe)
            }
            if stale:
                started = time.monotonic()
                _write_shards(context, store, source, stale, recipe, selection)
                for target in stale.values():
                    finished(context, target, time.monotonic() - started)
            for number, target in targets.items():
                metadata = dict(_describe(target)) | stage_metadata(store, target, target.verified(), number in stale)
                context.add_asset_metadata(metadata, partition_key=f"{number:03d}")
        # One data version for all shards of the run: Dagster has no other way, and they change together.
        return dg.MaterializeResult(data_version=dg.DataVersion(sha256_value([recipe.settings, recipe.inputs])))

    return documents


def _selection(store: CorpusStore, corpus: str, config: DocumentsConfig) -> SelectionSettings | None:
    """Return how documents are chosen; None under `seed`, which takes every one."""
    chosen = config.model_dump(exclude={"force"})
    if store.profile == "clean":
        return SelectionSettings(**chosen)
    if changed := [name for name, value in SelectionSettings().model_dump().items() if chosen[name] != value]:
        raise JgptError(
            f"{corpus}_documents: {', '.join(changed)} cannot be set under JGPT_TEXT=seed, which takes every document. "
            "Remove it from the run config."
        )
    return None


def _write_shards(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    source: Source,
    targets: Mapping[int, ParquetArtifact],
    recipe: Recipe,
    selection: SelectionSettings | None,
) -> None:
    """Read the source once and write the given shards."""
    label = step_label(recipe.stage, sorted(context.partition_keys))
    bar = Progress(label, "documents", None, context.log.info, source.size)
    tallies = {number: ShardCounts() for number in targets}
    read = 0
    if selection:
        needed = int(_INDEX_SHARE * source.unpacked_size)
        require_free_space(store.scratch_path, needed, "the index of the documents and paragraphs seen before")

    def documents() -> Iterator[DocumentRow]:
        nonlocal read
        for row in source.read(rejected, bar.count_input_bytes):
            read += 1
            yield row

    def counts(number: int) -> dict[str, int]:
        total = read + rejected.counts.total()
        return {
            **source.counts,
            "archive_documents": total,
            "documents": len(range(number, total, store.shards)),
            "rejected": rejected.counts[number],
            **tallies[number].counts(),
        }

    def kept(rows: Iterator[DocumentRow]) -> Iterator[DocumentRow]:
        for row in rows:
            if tally := tallies.get(shard_of(row[0], store.shards)):
                tally.keep(row[1])
            yield row

    with ExitStack() as files:
        shard = partial(shard_of, shards=store.shards)
        rejected = files.enter_context(RejectedDocumentLog(store.scratch_path, shard))

        def opened(number: int, target: ParquetArtifact) -> RowWriter:
            beside: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {REJECTED: lambda: rejected.rows_of(number)}
            if selection:
                beside[DROPPED] = tallies[number].samples
            return files.enter_context(RowWriter.open(target.path, DOCUMENTS, recipe, lambda: counts(number), beside))

        writers = {number: opened(number, target) for number, target in targets.items()}
        rows = bar.track(documents())
        if selection:
            seen = files.enter_context(DiskHashSet(store.scratch_path))
            workers = min(store.workers - 1, _WORKERS) if source.unpacked_size > _ALONE_BYTES else 0
            ordered_map = files.enter_context(map_in_worker_pool(workers)) if workers else map_in_process
            rows = select_documents(rows, selection, seen, tallies, store.shards, ordered_map)
        distribute_to_shards(kept(rows), store.shards, writers)


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
