"""`<corpus>_documents`: the documents of a corpus without dumps, selected and distributed to shards in one pass."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.column_metadata import column_metadata
from jgpt_dagster.assets.document_sources import DocumentSource, open_source
from jgpt_dagster.assets.materialize import (
    Materialization,
    StageConfig,
    partition_locked,
    record_run,
)
from jgpt_dagster.assets.metadata import preview, stage_metadata
from jgpt_dagster.assets.remembered_config import remembered
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.corpus.schemas import DOCUMENTS
from jgpt_dagster.corpus.web.cc100 import DocumentRow, distribute_to_shards, shard_of
from jgpt_dagster.corpus.web.document_selection import SelectionSettings, ShardCounts, select_documents
from jgpt_dagster.corpus.web.rejected_documents import RejectedDocumentLog
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.partitions import corpus_partitions, shard_keys
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

# Bytes of the index of known hashes for each byte of text: 66 million documents, each with 14 bands and 8 long
# paragraphs, at 15.5 bytes a hash, come to 22.5 GB beside the 75 GB of CC-100 ja.
_INDEX_SHARE = 0.3

# Above this many bytes of text, some 20 s of work, worker processes are worth their start. What this process does for a
# document takes as long as what a worker does: one keeps up with it, and a second helps where the workers' part is
# longer.
_WORKERS_FROM_BYTES = 64 << 20
_WORKERS = 2


class DocumentsConfig(StageConfig, SelectionSettings):
    """Run config of the documents. All fields but `force` apply to the profile `clean` only."""


def build_documents(corpus: Corpus) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_documents` of a corpus without dumps."""

    @stage_asset(
        corpus.text_asset,
        group=corpus.name,
        kinds={"parquet", "python"},
        code_version=CODE_VERSION,
        partitions=corpus_partitions(corpus),
        deps=[corpus.source_asset] if corpus.source_asset else [],
        metadata=column_metadata(corpus.text_schema),
        # One pass over one stream: a single run writes all the shards that are requested.
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def documents(context: dg.AssetExecutionContext, config: DocumentsConfig, store: CorpusStore) -> Materialization:
        """One row a document. Document i of the source goes to shard i modulo the number of shards.

        Under the profile `clean`, documents that are too short, not Japanese, repetitive or nearly equal to an earlier
        one are dropped, and so are paragraphs that occurred before. All of them are counted, and
        `shard=<NNN>.dropped.jsonl` holds samples.
        """
        keys = shard_keys(context)
        targets = {int(key): store.parquet(corpus.text_asset, shard=key) for key in keys}
        with ExitStack() as locks:
            if store.profile == "clean":  # the only one that has these settings
                config = locks.enter_context(remembered(context, store, config, corpus.text_asset))
            selection = _selection(store, corpus, config)
            source = open_source(store, corpus)
            recipe = Recipe(
                stage=corpus.text_asset,
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
                label = step_label(recipe.stage, keys)
                bar = Progress(label, "documents", None, context.log.info, source.size)
                _OnePass(store, source, stale, recipe, selection).write(bar)
                for target in stale.values():
                    record_run(context, target, time.monotonic() - started, source.facts)
            for number, target in targets.items():
                metadata = dict(_describe(target)) | stage_metadata(store, target, target.verified(), number in stale)
                context.add_asset_metadata(metadata, partition_key=f"{number:03d}")
        # One data version for all shards of the run: Dagster allows no other, and they change together.
        return dg.MaterializeResult(data_version=dg.DataVersion(sha256_value([recipe.settings, recipe.inputs])))

    return documents


def _selection(store: CorpusStore, corpus: Corpus, config: DocumentsConfig) -> SelectionSettings | None:
    """Return how documents are selected; None under `seed`, which keeps all of them."""
    chosen = config.model_dump(exclude={"force"})
    if store.profile == "clean":
        return SelectionSettings(**chosen)
    if changed := [name for name, value in SelectionSettings().model_dump().items() if chosen[name] != value]:
        raise JgptError(
            f"{corpus.text_asset}: {', '.join(changed)} cannot be set under JGPT_TEXT=seed, which keeps every "
            "document. Remove it from the run config."
        )
    return None


class _OnePass:
    """One pass over the source, which writes the given shards by their numbers."""

    def __init__(
        self,
        store: CorpusStore,
        source: DocumentSource,
        targets: Mapping[int, ParquetArtifact],
        recipe: Recipe,
        selection: SelectionSettings | None,
    ) -> None:
        self._store, self._source, self._targets = store, source, targets
        self._recipe, self._selection = recipe, selection
        self._shard_counts = {number: ShardCounts() for number in targets}
        self._read = 0

    def write(self, bar: Progress) -> None:
        """Read the source once and write the shards."""
        shards = self._store.shards
        if self._selection:
            needed = int(_INDEX_SHARE * self._source.unpacked_size)
            require_free_space(self._store.scratch_path, needed, "the index of known documents and paragraphs")
        with ExitStack() as files:
            rejected = files.enter_context(
                RejectedDocumentLog(self._store.scratch_path, partial(shard_of, shards=shards))
            )
            writers = {number: files.enter_context(self._writer(number, rejected)) for number in self._targets}
            rows: Iterable[DocumentRow] = bar.track(self._documents(rejected, bar))
            if self._selection:
                rows = self._selected(rows, self._selection, files)
            distribute_to_shards(self._counted(rows), shards, writers)

    def _documents(self, rejected: RejectedDocumentLog, bar: Progress) -> Iterator[DocumentRow]:
        for row in self._source.read(rejected, bar.count_input_bytes):
            self._read += 1
            yield row

    def _selected(
        self, rows: Iterable[DocumentRow], selection: SelectionSettings, files: ExitStack
    ) -> Iterator[DocumentRow]:
        """Yield the documents that are kept, deciding in worker processes if that is worth their start."""
        seen = files.enter_context(DiskHashSet(self._store.scratch_path))
        large = self._source.unpacked_size > _WORKERS_FROM_BYTES
        workers = min(self._store.workers - 1, _WORKERS) if large else 0
        ordered_map = files.enter_context(map_in_worker_pool(workers)) if workers else map_in_process
        return select_documents(rows, selection, seen, self._shard_counts, self._store.shards, ordered_map)

    def _counted(self, rows: Iterable[DocumentRow]) -> Iterator[DocumentRow]:
        for row in rows:
            if counts := self._shard_counts.get(shard_of(row[0], self._store.shards)):
                counts.keep(row[1])
            yield row

    def _writer(self, number: int, rejected: RejectedDocumentLog) -> Any:
        """Return the writer of a shard, with its sidecar files of rejected and dropped documents."""
        sidecars: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {REJECTED: lambda: rejected.rows_of(number)}
        if self._selection:
            sidecars[DROPPED] = self._shard_counts[number].samples
        path = self._targets[number].path
        return RowWriter.open(path, DOCUMENTS, self._recipe, lambda: self._counts(number, rejected), sidecars)

    def _counts(self, number: int, rejected: RejectedDocumentLog) -> dict[str, int]:
        total = self._read + rejected.counts.total()
        return {
            **self._source.counts,
            "archive_documents": total,
            "documents": len(range(number, total, self._store.shards)),
            "rejected": rejected.counts[number],
            **self._shard_counts[number].counts(),
        }


def _describe(target: ParquetArtifact) -> Mapping[str, Any]:
    rows = [(str(key), " ⏎ ".join(lines)) for key, lines in islice(read_rows(target.path), 4)]
    with target.rejected_path.open() as stream:
        rejected = [json.loads(line) for line in islice(stream, 5)]
    shown = [(str(row["document_id"]), row["reason"]) for row in rejected]
    return {
        "preview": preview(("document_id", "lines"), rows),
        **({"rejected_documents": preview(("document_id", "reason"), shown)} if shown else {}),
        **_dropped_samples(target),
    }


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
