"""`<corpus>_tokens` and `training_set`: token files, and which of their documents are trained on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np
from pydantic import Field

from jgpt_dagster.assets.materialize import (
    StageConfig,
    as_dagster_failure,
    materialize,
    preview,
    progress,
    reuse_facts,
    table,
)
from jgpt_dagster.assets.previous_dump import previous_tokens
from jgpt_dagster.assets.tokenizer import open_tokenizer
from jgpt_dagster.corpus.row_reuse import PreviousRows, ReuseStats
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.token_files import TOKENS, KeyedDocuments, TokenFile, write_tokens
from jgpt_dagster.lm.data.training_set import TokenShard, TrainingSet
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.tokenizer.text_tokenizer import SegmentedDocument, TextTokenizer
from jgpt_dagster.orchestration.partitions import (
    dump_and_shard,
    dump_partitions,
    dump_shard_partitions,
    shard_partitions,
)
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import DirectoryArtifact, ParquetArtifact
from jgpt_dagster.storage.manifest import Manifest, Recipe, library_versions
from jgpt_dagster.storage.parquet import read_rows

TOKENS_CODE_VERSION = "1"
TRAINING_SET_CODE_VERSION = "1"

PreviousTokens = PreviousRows[tuple[SegmentedDocument, np.ndarray]]


@dg.asset(
    group_name="training_set",
    kinds={"huggingface", "numpy"},
    partitions_def=dump_shard_partitions,
    deps=["wikipedia_segmented", "tokenizer"],
    code_version=TOKENS_CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def wikipedia_tokens(
    context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore
) -> dg.MaterializeResult:
    """Token ids of a shard's articles, each ending in `</s>`, as one flat uint16 file, with where each one lies.

    An article whose segmented lines an earlier dump has too is taken from there.
    """
    dump, shard = dump_and_shard(context.partition_key)
    source = store.parquet("wikipedia_segmented", dump, shard)
    target = store.directory("wikipedia_tokens", dump, shard)

    def earlier(recipe: Recipe) -> PreviousTokens:
        return PreviousRows([]) if config.force else previous_tokens(context, store, dump, recipe)

    return _tokens(context, config, store, source, target, "page_id", earlier)


def build_tokens(corpus: str) -> dg.AssetsDefinition:
    """Return the asset `<corpus>_tokens` of a corpus that has no dumps."""

    @dg.asset(
        name=f"{corpus}_tokens",
        group_name="training_set",
        kinds={"huggingface", "numpy"},
        partitions_def=shard_partitions,
        deps=[f"{corpus}_segmented", "tokenizer"],
        code_version=TOKENS_CODE_VERSION,
        op_tags={"dagster-celery/queue": "cpu"},
    )
    def tokens(context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore) -> dg.MaterializeResult:
        """Token ids of a shard's documents, each ending in `</s>`, as one flat uint16 file, with where each lies."""
        shard = context.partition_key
        source = store.parquet(f"{corpus}_segmented", shard=shard)
        target = store.directory(f"{corpus}_tokens", shard=shard)
        return _tokens(context, config, store, source, target, "document_id", lambda recipe: PreviousRows([]))

    return tokens


class TrainingSetConfig(StageConfig):
    """Run config of the training set."""

    weights: dict[str, float] = Field(
        default={},
        description="How often each corpus is seen in an epoch, by its name, such as cc100; 1 where it is not said. "
        "1.5 repeats every other document.",
    )
    validation_share: float = Field(
        default=0.005, gt=0, lt=1, description="Share of documents held out, the same ones in every dump."
    )


def build_training_set_asset(undated_corpora: Sequence[str]) -> dg.AssetsDefinition:
    """Return the asset `training_set` over Wikipedia and corpora that have no dumps."""
    # A plain edge to a static shard dimension must be told that a dump's training set is made from all of it.
    every_shard = dg.AllPartitionMapping()
    undated = [dg.AssetDep(f"{corpus}_tokens", partition_mapping=every_shard) for corpus in undated_corpora]

    @dg.asset(
        group_name="training_set",
        kinds={"json", "parquet"},
        partitions_def=dump_partitions,
        deps=["wikipedia_tokens", *undated],
        code_version=TRAINING_SET_CODE_VERSION,
        op_tags={"dagster-celery/queue": "cpu"},
    )
    def training_set(
        context: dg.AssetExecutionContext, config: TrainingSetConfig, store: CorpusStore
    ) -> dg.MaterializeResult:
        """Which documents of which token files are trained on and which are held out; copies no tokens."""
        dump = context.partition_key
        target = store.directory("training_set", dump)
        with as_dagster_failure():
            tokenizer, tokenizer_manifest = open_tokenizer(store)
            artifacts = {"wikipedia": [store.directory("wikipedia_tokens", dump, shard) for shard in store.shard_keys]}
            for corpus in store.undated_corpora:
                artifacts[corpus] = [store.directory(f"{corpus}_tokens", shard=shard) for shard in store.shard_keys]
            if unknown := config.weights.keys() - artifacts.keys():
                raise JgptError(
                    f"weights: no corpus is called {', '.join(sorted(unknown))}; here: {', '.join(artifacts)}"
                )
            # Dagster counts an edge as satisfied when any shard is there; here every one must be whole.
            shards = [_token_shard(store, corpus, shard) for corpus, group in artifacts.items() for shard in group]
            weights = {corpus: config.weights.get(corpus, 1.0) for corpus in artifacts}
            recipe = Recipe(
                stage="training_set",
                code_version=TRAINING_SET_CODE_VERSION,
                settings={"weights": weights, "validation_share": config.validation_share},
                inputs={
                    "tokenizer": tokenizer_manifest.data_sha256,
                    **{shard.label: manifest.data_sha256 for shard, manifest in shards},
                },
                libraries=library_versions("pyarrow"),
            )

            def make(target: DirectoryArtifact, recipe: Recipe) -> None:
                with target.writing(recipe) as out:
                    made = build_training_set(
                        [shard for shard, _ in shards],
                        weights,
                        config.validation_share,
                        vocab_size=tokenizer.vocab_size,
                        eos_id=tokenizer.eos_id,
                        tokenizer_sha256=tokenizer_manifest.data_sha256,
                        data_root=store.root.path,
                        directory=out.path,
                    )
                    documents = sum(shard.documents for shard, _ in shards)
                    out.counts = {"documents": documents, "token_files": len(shards), **vars(made.counts)}

            return materialize(
                context, store, target, recipe, make, force=config.force, describe=lambda _: _describe_mixture(target)
            )

    return training_set


def _tokens(
    context: dg.AssetExecutionContext,
    config: StageConfig,
    store: CorpusStore,
    source: ParquetArtifact,
    target: DirectoryArtifact,
    key: str,
    previous_rows: Callable[[Recipe], PreviousTokens],
) -> dg.MaterializeResult:
    with as_dagster_failure():
        segmented = source.verified()
        tokenizer, tokenizer_manifest = open_tokenizer(store)
        tokenizer.require_segmenter(store.segmenter, segmented.recipe.libraries["segmenter"])
        recipe = Recipe(
            stage=target.asset,
            code_version=TOKENS_CODE_VERSION,
            inputs={source.label: segmented.data_sha256, "tokenizer": tokenizer_manifest.data_sha256},
            libraries=library_versions("tokenizers", "pyarrow"),
        )

        def make(target: DirectoryArtifact, recipe: Recipe) -> Mapping[str, Any]:
            earlier = previous_rows(recipe)
            tally = ReuseStats(earlier.rate)

            def encode(batch: KeyedDocuments) -> list[np.ndarray]:
                """Encode what no earlier dump has, and put the ids together in their order."""
                known = [_known(earlier, key, lines, tally) for key, lines in batch]
                unknown = [lines for (_, lines), found in zip(batch, known, strict=True) if found is None]
                made = iter(
                    tally.timed(lambda: tokenizer.encode_documents(unknown), len(unknown), sum(map(_size, unknown)))
                )
                return [next(made) if found is None else found for found in known]

            bar = progress(context, target, "documents", segmented.counts["rows"])
            documents = bar.track(read_rows(source.path, [key, "lines"]))
            with target.writing(recipe) as out:
                out.counts = write_tokens(documents, tokenizer, out.path, encode=encode)
            return reuse_facts(tally)

        return materialize(
            context, store, target, recipe, make, force=config.force, describe=lambda m: _describe(target, m, tokenizer)
        )


def _known(earlier: PreviousTokens, key: int, lines: SegmentedDocument, tally: ReuseStats) -> np.ndarray | None:
    """Return the ids that an earlier dump has of the same lines of the same page."""
    found = earlier.get(key)
    if found is None or found[0] != lines:
        return None
    tally.reuse(_size(lines))
    return found[1]


def _size(document: SegmentedDocument) -> int:
    return sum(len(sentence) for line in document for sentence in line)


def require_token_files(store: CorpusStore, data: DirectoryArtifact) -> None:
    """Raise ArtifactError unless every token file that the training set lists is whole and the one it was made for."""
    for file in TrainingSet.open(data.path).token_files:
        store.root.directory_by_label(file.label).verified_file(TOKENS, file.sha256)


def _describe(target: DirectoryArtifact, manifest: Manifest, tokenizer: TextTokenizer) -> Mapping[str, Any]:
    file = TokenFile(target.path)
    samples = [(int(file.documents["key"][index]), file.document(index)) for index in range(min(4, len(file)))]
    return {"preview": preview([(str(key), tokenizer.decode(ids[:80])) for key, ids in samples])}


def _describe_mixture(target: DirectoryArtifact) -> Mapping[str, Any]:
    made = TrainingSet.open(target.path)
    rows = []
    for corpus, weight in made.weights.items():
        files = [file for file in made.token_files if file.corpus == corpus]
        documents, tokens = sum(file.documents for file in files), sum(file.tokens for file in files)
        rows.append([corpus, f"{len(files)}", f"{documents:,}", f"{tokens:,}", f"{weight:g}"])
    return {"mixture": table(["corpus", "token files", "documents", "tokens", "weight"], rows)}


def _token_shard(store: CorpusStore, corpus: str, artifact: DirectoryArtifact) -> tuple[TokenShard, Manifest]:
    manifest = artifact.verified()
    shard = TokenShard(
        corpus=corpus,
        label=artifact.label,
        path=str(artifact.path.relative_to(store.root.path)),
        tokens=manifest.counts["tokens"],
        documents=manifest.counts["documents"],
        sha256=manifest.files[TOKENS].sha256,
        tokenizer_sha256=manifest.recipe.inputs["tokenizer"],
    )
    return shard, manifest
