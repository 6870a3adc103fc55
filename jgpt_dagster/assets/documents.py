"""`<corpus>_documents`: the documents of a corpus without dumps, selected and distributed to shards."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.column_metadata import column_metadata
from jgpt_dagster.assets.document_metadata import described, near_duplicates
from jgpt_dagster.assets.document_signatures import decisions_on_copies, map_for
from jgpt_dagster.assets.document_sources import DocumentSource, open_source
from jgpt_dagster.assets.exclusions import TextExclusions
from jgpt_dagster.assets.look import FORCED, Look
from jgpt_dagster.assets.materialize import (
    Materialization,
    StageConfig,
    partition_locked,
    record_run,
)
from jgpt_dagster.assets.metadata import stage_metadata
from jgpt_dagster.assets.remembered_config import remembered
from jgpt_dagster.assets.stage_pictures import document_outcomes
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.corpus.duplicates.decisions import Decisions
from jgpt_dagster.corpus.duplicates.explanations import EXPLANATIONS
from jgpt_dagster.corpus.duplicates.similarity import KeptTexts
from jgpt_dagster.corpus.exclusions.screen import Screen, exclusions_of
from jgpt_dagster.corpus.web.cc100 import DocumentRow, distribute_to_shards, shard_of
from jgpt_dagster.corpus.web.document_selection import (
    SelectionSettings,
    ShardCounts,
    document_batches,
    select_documents,
)
from jgpt_dagster.corpus.web.rejected_documents import RejectedDocumentLog
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.partitions import corpus_partitions, shard_keys
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.runtime.progress import Progress, step_label
from jgpt_dagster.runtime.read_ahead import read_ahead
from jgpt_dagster.runtime.stopwatch import Stopwatch
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import RowWriter, read_manifest
from jgpt_dagster.storage.parquet_artifact import DROPPED, REJECTED, ParquetArtifact

CODE_VERSION = "2"
EXPLANATIONS_CODE_VERSION = "1"

# Lists of documents that are read ahead: some MB.
_READ_AHEAD = 8


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
        `shard=<NNN>.dropped.jsonl` holds samples. A document of a folder has the `url`, `license`, `date` and `id` of
        its line of JSON.
        """
        keys = shard_keys(context)
        targets = {int(key): store.parquet(corpus.text_asset, shard=key) for key in keys}
        with ExitStack() as locks:
            if store.profile == "clean":  # the only one that has these settings
                config = locks.enter_context(remembered(context, store, config, corpus.text_asset))
            selection = _selection(store, corpus, config)
            source = open_source(store, corpus)
            base = Recipe(
                stage=corpus.text_asset,
                code_version=CODE_VERSION,
                settings={"shards": store.shards, **({"selection": selection.model_dump()} if selection else {})},
                inputs=source.inputs,
                libraries=library_versions("pyarrow", *(("rensa",) if selection else ())),
            )
            exclusions = TextExclusions(store, corpus)
            if isinstance(context, Look):
                for target in targets.values():
                    context.result(store, target, exclusions.plan(target, base).recipe, force=config.force)
                return dg.MaterializeResult(data_version=_data_version(store, corpus, base))
            for target in targets.values():
                locks.enter_context(partition_locked(context, store, target))
            if selection and store.root.remote is not None:
                for number in targets:
                    # What a killed run has made here and not uploaded: a published shard has its explanations.
                    explanations(store, corpus, number).find_current(_explanations_recipe(corpus, base))
            plans = {number: exclusions.plan(target, base) for number, target in targets.items()}
            reasons = {
                number: FORCED if config.force else target.find_current(plans[number].recipe)[1]
                for number, target in targets.items()
            }
            stale = {number: target for number, target in targets.items() if reasons[number]}
            watch = Stopwatch()
            facts = {number: plans[number].copied(force=config.force) for number in stale}
            made = {number: target for number, target in stale.items() if not facts[number]}
            if made:
                label = step_label(base.stage, keys)
                with ExitStack() as steps:
                    decisions = None
                    if selection:
                        ordered_map = steps.enter_context(map_for(store, source.unpacked_size))
                        decisions = steps.enter_context(
                            decisions_on_copies(
                                context,
                                store,
                                corpus,
                                source,
                                selection,
                                ordered_map,
                                first_shard=f"{min(made):03d}",
                                force=config.force,
                            )
                        )
                    bar = Progress(label, "documents", None, context.log.info, source.size)
                    screens = {number: exclusions.screen() for number in made}
                    _OnePass(store, corpus, source, made, base, decisions, screens).write(bar)
                for number, target in made.items():
                    facts[number] = plans[number].facts(read_manifest(target.path))
                    if selection:
                        explanations(store, corpus, number).upload()
            for number, target in stale.items():
                record_run(context, target, watch, reasons[number], {**source.facts, **facts[number]})
            for number, target in targets.items():
                copies = near_duplicates(explanations(store, corpus, number)) if selection else {}
                manifest = target.verified()
                metadata = {**document_outcomes(manifest.counts), **described(target), **copies}
                metadata |= stage_metadata(store, target, manifest, number in stale)
                context.add_asset_metadata(metadata, partition_key=f"{number:03d}")
        return dg.MaterializeResult(data_version=_data_version(store, corpus, base))

    return documents


def _data_version(store: CorpusStore, corpus: Corpus, base: Recipe) -> dg.DataVersion:
    """Return one data version for all shards of a run: Dagster allows no other.

    They change together, but for what is excluded.
    """
    manifests = [store.parquet(corpus.text_asset, shard=key).manifest() for key in store.shard_keys]
    excluded = [exclusions_of(manifest.recipe) if manifest else [] for manifest in manifests]
    return dg.DataVersion(sha256_value([base.settings, base.inputs, *([excluded] if any(excluded) else [])]))


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


def explanations(store: CorpusStore, corpus: Corpus, number: int) -> ParquetArtifact:
    """Return the table that explains what was dropped of a shard as a copy, and of what."""
    return store.parquet(corpus.duplicates, shard=f"{number:03d}")


def _explanations_recipe(corpus: Corpus, recipe: Recipe) -> Recipe:
    """Return the recipe of the explanations of documents that are made by a recipe."""
    return replace(recipe, stage=corpus.duplicates, code_version=EXPLANATIONS_CODE_VERSION)


class _OnePass:
    """One pass over the source, which writes the given shards by their numbers, without what was decided to drop."""

    def __init__(
        self,
        store: CorpusStore,
        corpus: Corpus,
        source: DocumentSource,
        targets: Mapping[int, ParquetArtifact],
        recipe: Recipe,
        decisions: Decisions | None,
        screens: Mapping[int, Screen],
    ) -> None:
        self._store, self._corpus, self._source, self._targets = store, corpus, source, targets
        self._recipe, self._decisions, self._screens = recipe, decisions, screens
        self._shard_counts = {number: ShardCounts() for number in targets}
        self._read = 0

    def write(self, bar: Progress) -> None:
        """Read the source once and write the shards."""
        shards, scratch = self._store.shards, self._store.scratch_path
        with ExitStack() as files:
            rejected = files.enter_context(RejectedDocumentLog(scratch, partial(shard_of, shards=shards)))
            writers = {number: files.enter_context(self._writer(number, rejected)) for number in self._targets}
            rows = bar.track(self._documents(rejected, bar, files))
            if self._decisions is not None:
                rows = self._selected(rows, self._decisions, files)
            distribute_to_shards(self._counted(rows), shards, writers)

    def _documents(self, rejected: RejectedDocumentLog, bar: Progress, files: ExitStack) -> Iterator[DocumentRow]:
        """Yield the documents of the source; the next ones are read meanwhile, if more than one core may be used."""
        rows = self._source.read(rejected, bar.count_input_bytes)
        if self._store.workers > 1:
            ahead = files.enter_context(closing(read_ahead(document_batches(rows), _READ_AHEAD)))
            rows = chain.from_iterable(ahead)
        for row in rows:
            self._read += 1
            yield row

    def _selected(self, rows: Iterable[DocumentRow], decisions: Decisions, files: ExitStack) -> Iterator[DocumentRow]:
        """Yield the documents that are kept with the lines that are kept."""
        shards = self._store.shards
        # They end before the documents do: a complete shard has its explanations.
        writers = {number: files.enter_context(self._explanation_writer(number)) for number in self._targets}

        def explain(row: tuple[Any, ...]) -> None:
            writers[shard_of(row[0], shards)].append(row)

        texts = files.enter_context(KeptTexts(self._store.scratch_path, decisions.wanted))
        return select_documents(rows, decisions, texts, self._shard_counts, shards, explain)

    def _counted(self, rows: Iterable[DocumentRow]) -> Iterator[DocumentRow]:
        for row in rows:
            number = shard_of(row[0], self._store.shards)
            if number in self._targets:
                if self._screens[number].takes(row):
                    continue
                self._shard_counts[number].keep(row[1])
            yield row

    def _writer(self, number: int, rejected: RejectedDocumentLog) -> Any:
        """Return the writer of a shard, with its sidecar files of rejected and dropped documents."""
        screen = self._screens[number]
        sidecars: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
            REJECTED: lambda: screen.kept_beside(REJECTED, rejected.rows_of(number))
        }
        if self._decisions is not None:
            sidecars[DROPPED] = lambda: screen.kept_beside(DROPPED, self._shard_counts[number].samples())
        path, recipe = self._targets[number].path, partial(screen.recipe, self._recipe)
        return RowWriter.open(path, self._corpus.text_schema, recipe, lambda: self._counts(number, rejected), sidecars)

    def _explanation_writer(self, number: int) -> Any:
        path = explanations(self._store, self._corpus, number).path
        return RowWriter.open(path, EXPLANATIONS, _explanations_recipe(self._corpus, self._recipe), dict)

    def _counts(self, number: int, rejected: RejectedDocumentLog) -> dict[str, int]:
        total = self._read + rejected.counts.total()
        return {
            **self._source.counts,
            "archive_documents": total,
            "documents": len(range(number, total, self._store.shards)),
            "rejected": rejected.counts[number] - self._screens[number].rejected,
            **self._screens[number].counts(),
            **self._shard_counts[number].counts(),
        }
