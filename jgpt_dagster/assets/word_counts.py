"""`<corpus>_word_counts`: how often each distinct word of a shard occurs, which is what a tokenizer is trained on.

The tokenizer makes the counts that it lacks. To count on several machines, materialize them before it; nothing else
makes them.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize, partition_locked, record_run
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.lm.tokenizer.bpe_training import in_tokenizer_sample
from jgpt_dagster.lm.tokenizer.word_counts import WordCounts, count_words
from jgpt_dagster.orchestration.partitions import corpus_partitions, shard_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.runtime.stopwatch import Stopwatch
from jgpt_dagster.runtime.worker_pool import OrderedMap
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.storage.parquet_artifact import ParquetArtifact

CODE_VERSION = "1"

_FILE = "words.parquet"


class WordCountsConfig(StageConfig):
    """Run config of the counts."""

    sample_share: float = Field(
        default=1.0, gt=0, le=1, description="Share of the documents that are counted: that of the tokenizer."
    )


def build_word_counts(corpus: Corpus) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_word_counts`."""

    @stage_asset(
        corpus.word_counts,
        group="tokenizer",
        kinds={"parquet", "python"},
        code_version=CODE_VERSION,
        partitions=corpus_partitions(corpus),
        deps=[corpus.segmented_asset],
        description="The distinct words of a shard, sorted, with the number of times that each occurs.\n\nThe "
        "tokenizer makes those that it lacks. `jgpt run` and sensors never do, because a frozen tokenizer needs none.",
    )
    def word_counts(context: dg.AssetExecutionContext, config: WordCountsConfig, store: CorpusStore) -> Materialization:
        partition = shard_key(context, corpus)
        source = store.parquet(corpus.segmented_asset, *partition)
        target = store.directory(corpus.word_counts, *partition)
        recipe = _recipe(source, target, config.sample_share)

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            _count((source, target, recipe))

        return materialize(context, store, target, recipe, make, force=config.force)

    return word_counts


def words_of(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    shards: Sequence[ParquetArtifact],
    share: float,
    ordered_map: OrderedMap,
    report: Callable[[str], None],
) -> WordCounts:
    """Return the words of a sample of the documents of segmented shards; what has not been counted is counted first.

    Raises ArtifactError if a shard is missing or damaged.
    """
    assets = {corpus.segmented_asset: corpus.word_counts for corpus in store.corpora}
    with ExitStack() as locks:
        targets, missing, reasons = list[DirectoryArtifact](), list[_Work](), dict[str, str]()
        for shard in shards:
            target = store.root.directory_by_label(shard.label.replace(shard.asset, assets[shard.asset], 1))
            locks.enter_context(partition_locked(context, store, target))
            recipe = _recipe(shard, target, share)
            if because := target.find_current(recipe)[1]:
                missing.append((shard, target, recipe))
                reasons[target.label] = because
            targets.append(target)
        watch = Stopwatch()
        for number, ((shard, target, _), _) in enumerate(ordered_map(_count, missing), 1):
            record_run(context, target, watch, reasons[target.label])
            report(f"words: {number} of {len(missing)} shards, {shard.label}")
        return sum(map(_counted, targets), WordCounts())


_Work = tuple[ParquetArtifact, DirectoryArtifact, Recipe]


def _recipe(source: ParquetArtifact, target: DirectoryArtifact, share: float) -> Recipe:
    manifest = source.manifest() or source.verified()
    return Recipe(
        stage=target.asset,
        code_version=CODE_VERSION,
        settings={"sample_share": share},
        inputs={source.recipe_label: manifest.data_sha256},
        libraries=library_versions("pyarrow"),
    )


def _count(work: _Work) -> None:
    """Count the words of a shard, after hashing it."""
    source, target, recipe = work
    source.verified()
    share = recipe.settings["sample_share"]
    # The first column of a corpus is a document's id.
    rows = read_rows(source.path)
    documents = (lines for key, *_, lines in rows if in_tokenizer_sample(source.asset, key, share))
    with target.writing(recipe) as out:
        counted = count_words(documents, out.path / _FILE)
        out.counts = {"sentences": counted.sentences, "distinct_words": counted.rows}


def _counted(target: DirectoryArtifact) -> WordCounts:
    return WordCounts(target.verified().counts["sentences"], (target.path / _FILE,))
