"""`<corpus>_signatures` and `<corpus>_source_signatures`: the hashes by which copies are found, a table for each shard.

Those of a source are made by `<corpus>_documents`, which selects documents by them; a run that was killed after this
pass does not repeat it. Those of the text of any corpus are made by `training_set`, which compares all corpora.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import dagster as dg

from jgpt_dagster.assets.document_sources import DocumentSource
from jgpt_dagster.assets.look import FORCED
from jgpt_dagster.assets.materialize import partition_locked, record_run
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.corpus.duplicates.decisions import Decisions, decide
from jgpt_dagster.corpus.duplicates.signatures import SIGNATURES, write_signatures
from jgpt_dagster.corpus.duplicates.sketches import DeduplicationSettings
from jgpt_dagster.corpus.web.cc100 import shard_of
from jgpt_dagster.corpus.web.document_selection import SelectionSettings, sign_documents
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.runtime.progress import Progress
from jgpt_dagster.runtime.stopwatch import Stopwatch
from jgpt_dagster.runtime.worker_pool import OrderedMap, map_in_process, map_in_worker_pool
from jgpt_dagster.storage.disk_space import require_free_space
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import RowWriter
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact
from jgpt_dagster.storage.safe_path import child_path, require_form
from jgpt_dagster.storage.scratch_directory import scratch_directory

CODE_VERSION = "1"

# Bytes of intermediate files for each byte of text: 66 million documents, each with 14 bands and 8 long paragraphs of
# 8 bytes, come to 12 GB beside the 75 GB of CC-100 ja; the documents that others repeat are kept for comparison.
_SCRATCH_SHARE = 0.3

# Above this many bytes of text, some 10 s of work, worker processes are worth their start. This process reads and
# writes documents in a third of the time that one worker takes to sign them.
_WORKERS_FROM_BYTES = 64 << 20
_WORKERS = 4

_PURPOSE = "the index of known documents and paragraphs"


@contextmanager
def map_for(store: CorpusStore, text_bytes: int) -> Iterator[OrderedMap]:
    """Yield a map over worker processes if so much text is worth their start, else over this process."""
    if store.workers > 1 and text_bytes > _WORKERS_FROM_BYTES:
        with map_in_worker_pool(min(store.workers, _WORKERS)) as ordered_map:
            yield ordered_map
    else:
        yield map_in_process


@contextmanager
def decisions_on_copies(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    corpus: Corpus,
    source: DocumentSource,
    selection: SelectionSettings,
    ordered_map: OrderedMap,
    *,
    first_shard: str,
    force: bool,
) -> Iterator[Decisions]:
    """Yield what is dropped of a corpus, after signing its documents unless their signatures are current.

    `first_shard` is one that the caller has locked and writes. Raises DiskFullError.
    """
    require_free_space(store.scratch_path, int(_SCRATCH_SHARE * source.unpacked_size), _PURPOSE, "JGPT_SCRATCH")
    with ExitStack() as files:
        folder_of = child_path(store.scratch_path, corpus.text_asset, f"shard={require_form('shard', first_shard)}")
        folder = files.enter_context(scratch_directory(folder_of, _PURPOSE))
        with ExitStack() as locks:
            tables = [store.parquet(corpus.source_signatures, shard=key) for key in store.shard_keys]
            for table in tables:
                locks.enter_context(partition_locked(context, store, table))
            recipe = _recipe(store, corpus, source, selection)
            reasons = (FORCED if force else table.find_current(recipe)[1] for table in tables)
            if because := next(filter(None, reasons), ""):
                _sign(context, tables, recipe, source, selection, ordered_map, because)
            decisions = decide(
                [table.path for table in tables],
                folder,
                keys=tables[0].verified().counts["archive_documents"],
                bands=selection.bands_of_document,
                minimum_characters=selection.minimum_characters,
                ordered_map=ordered_map,
            )
        yield decisions


def signatures_of_text(
    context: dg.AssetExecutionContext, store: CorpusStore, dump: str, ordered_map: OrderedMap
) -> list[ParquetArtifact]:
    """Return the signatures of the text of every shard of all corpora.

    They have the same hashes, whatever the settings of a selection, and only of what is left of each document. Those
    that are missing or of other text are made. Raises ArtifactError if the text is missing or damaged.
    """
    with ExitStack() as locks:
        found, missing = list[ParquetArtifact](), list[tuple[Corpus, ParquetArtifact, ParquetArtifact, Recipe]]()
        reasons = dict[str, str]()
        for corpus in store.corpora:
            for key in store.shard_keys:
                date = dump if corpus.dated else None
                text, table = store.parquet(corpus.text_asset, date, key), store.parquet(corpus.signatures, date, key)
                locks.enter_context(partition_locked(context, store, table))
                recipe = _text_recipe(table, text)
                reasons[table.label] = table.find_current(recipe)[1]
                if reasons[table.label]:
                    missing.append((corpus, text, table, recipe))
                found.append(table)
        watch = Stopwatch()
        for (_, _, table, _), _ in ordered_map(_sign_text, missing):
            record_run(context, table, watch, reasons[table.label])
    return found


def _text_recipe(table: ParquetArtifact, text: ParquetArtifact) -> Recipe:
    manifest = text.manifest() or text.verified()
    return Recipe(
        stage=table.asset,
        code_version=CODE_VERSION,
        settings={"sketches": DeduplicationSettings().model_dump()},
        inputs={text.recipe_label: manifest.data_sha256},
        libraries=library_versions("pyarrow", "rensa"),
    )


def _sign_text(work: tuple[Corpus, ParquetArtifact, ParquetArtifact, Recipe]) -> None:
    corpus, text, table, recipe = work
    text.verified()
    write_signatures(text.path, corpus.key_column, table.path, DeduplicationSettings(), recipe)


def _recipe(store: CorpusStore, corpus: Corpus, source: DocumentSource, selection: SelectionSettings) -> Recipe:
    return Recipe(
        stage=corpus.source_signatures,
        code_version=CODE_VERSION,
        settings={"shards": store.shards, "selection": selection.model_dump()},
        inputs=source.inputs,
        libraries=library_versions("pyarrow", "rensa"),
    )


class _RejectedCount:
    """Counts rejected documents, which the pass that writes the documents records."""

    def __init__(self) -> None:
        self.total = 0

    def append(self, row: dict[str, Any]) -> None:
        self.total += 1


def _sign(
    context: dg.AssetExecutionContext,
    tables: Sequence[ParquetArtifact],
    recipe: Recipe,
    source: DocumentSource,
    selection: SelectionSettings,
    ordered_map: OrderedMap,
    because: str,
) -> None:
    watch = Stopwatch()
    rejected = _RejectedCount()
    signed = 0

    def counts() -> dict[str, int]:
        return {"archive_documents": signed + rejected.total}

    bar = Progress(recipe.stage, "documents", None, context.log.info, source.size)
    with ExitStack() as files:
        writers = [
            files.enter_context(RowWriter.open(table.path, SIGNATURES, recipe, counts, dictionaries=False))
            for table in tables
        ]
        documents = bar.track(source.read(rejected, bar.count_input_bytes))
        for row in sign_documents(documents, selection, ordered_map):
            writers[shard_of(row[0], len(writers))].append(row)
            signed += 1
    for table in tables:
        record_run(context, table, watch, because)
