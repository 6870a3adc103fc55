"""`training_set`: which documents of the token files are trained on and which are held out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

import dagster as dg
import numpy as np
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.held_out_copies import held_out_copies
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize
from jgpt_dagster.assets.metadata import table
from jgpt_dagster.assets.remembered_config import remembered
from jgpt_dagster.assets.stage_pictures import mixture
from jgpt_dagster.assets.tokenizer import open_tokenizer
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.token_files import TOKENS
from jgpt_dagster.lm.data.training_set import HELD_OUT_COPIES_SCHEMA, SCORED, TokenShard, TrainingSet
from jgpt_dagster.lm.data.training_set_builder import build_training_set
from jgpt_dagster.lm.data.validation_share import MINIMUM_HELD_OUT, sufficient_share
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer
from jgpt_dagster.orchestration.partitions import dump_key, dump_partitions
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Manifest, Recipe, library_versions

CODE_VERSION = "1"


class TrainingSetConfig(StageConfig):
    """Run config of the training set."""

    weights: dict[str, float] = Field(
        default={},
        description="How often an epoch repeats each corpus, by its name, such as cc100; 1 for those not named. 1.5 "
        "repeats every other document.",
    )
    validation_share: float = Field(
        default=0.005,
        gt=0,
        lt=1,
        description="Share of documents held out, the same ones in every dump. If it would hold out fewer than 20, the "
        "first training set takes a larger share, and the data root keeps it.",
    )


def _require_known(weights: Mapping[str, float], names: Sequence[str]) -> None:
    if unknown := weights.keys() - set(names):
        raise JgptError(f"weights: no corpus is called {', '.join(sorted(unknown))}; here: {', '.join(names)}")


def build_training_set_asset(corpora: Sequence[Corpus]) -> dg.AssetsDefinition:
    """Return the asset `training_set` over corpora."""

    @stage_asset(
        TRAINING_SET,
        group=TRAINING_SET,
        kinds={"json", "parquet"},
        code_version=CODE_VERSION,
        partitions=dump_partitions,
        deps=[_dependency(corpus) for corpus in corpora],
    )
    def training_set(
        context: dg.AssetExecutionContext, config: TrainingSetConfig, store: CorpusStore
    ) -> Materialization:
        """Which documents of which token files are trained on and which are held out; copies no tokens.

        Held-out documents that have copies in what is trained on, in any corpus, are not scored.
        """
        dump = dump_key(context)
        target = store.directory(TRAINING_SET, dump)
        names = [corpus.name for corpus in store.corpora]

        @cache
        def inputs() -> tuple[TextTokenizer, Manifest, list[tuple[TokenShard, Manifest]]]:
            # Dagster counts an edge as satisfied if any shard is there; here every one must be complete.
            return *open_tokenizer(store), [
                _token_shard(store, corpus, shard, dump) for corpus in store.corpora for shard in store.shard_keys
            ]

        def share() -> float:
            return _share(context, store, [shard for shard, _ in inputs()[-1]], config.validation_share)

        _require_known(config.weights, names)
        derived = {"validation_share": share}
        with remembered(context, store, config, TRAINING_SET, derived=derived) as config:
            _require_known(config.weights, names)
            tokenizer, tokenizer_manifest, shards = inputs()
            weights = {name: config.weights.get(name, 1.0) for name in names}
            recipe = Recipe(
                stage=TRAINING_SET,
                code_version=CODE_VERSION,
                settings={"weights": weights, "validation_share": config.validation_share},
                inputs={
                    "tokenizer": tokenizer_manifest.data_sha256,
                    **{shard.label: manifest.data_sha256 for shard, manifest in shards},
                },
                libraries=library_versions("pyarrow"),
            )

            def make(target: DirectoryArtifact, recipe: Recipe) -> None:
                with target.writing(recipe) as out:
                    token_shards = [shard for shard, _ in shards]
                    copies = held_out_copies(context, store, dump, token_shards, weights, config.validation_share)
                    made = build_training_set(
                        token_shards,
                        weights,
                        config.validation_share,
                        vocab_size=tokenizer.vocab_size,
                        eos_id=tokenizer.eos_id,
                        tokenizer_sha256=tokenizer_manifest.data_sha256,
                        data_root=store.root.path,
                        directory=out.path,
                        copies=copies,
                    )
                    documents = sum(shard.documents for shard in token_shards)
                    out.counts = {"documents": documents, "token_files": len(shards), **made.counts.to_dict()}

            return materialize(
                context, store, target, recipe, make, force=config.force, describe=lambda _: _describe_mixture(target)
            )

    return training_set


def require_token_files(root: DataRoot, data: DirectoryArtifact) -> None:
    """Raise ArtifactError unless every token file of a training set is complete and the one it was made for."""
    for file in TrainingSet.open(data.path).token_files:
        root.directory_by_label(file.label).verified_file(TOKENS, file.sha256)


def _dependency(corpus: Corpus) -> str | dg.AssetDep:
    """Return the edge to a corpus's tokens; a plain edge from a dump to a shard dimension would map to no shard."""
    if corpus.dated:
        return corpus.tokens_asset
    return dg.AssetDep(corpus.tokens_asset, partition_mapping=dg.AllPartitionMapping())


def _token_shard(store: CorpusStore, corpus: Corpus, shard: str, dump: str) -> tuple[TokenShard, Manifest]:
    artifact = store.directory(corpus.tokens_asset, dump if corpus.dated else None, shard)
    manifest = artifact.verified()
    token_shard = TokenShard(
        corpus=corpus.name,
        label=artifact.label,
        path=str(artifact.path.relative_to(store.root.path)),
        tokens=manifest.counts["tokens"],
        documents=manifest.counts["documents"],
        sha256=manifest.files[TOKENS].sha256,
        tokenizer_sha256=manifest.recipe.inputs["tokenizer"],
    )
    return token_shard, manifest


def _share(
    context: dg.AssetExecutionContext, store: CorpusStore, shards: Sequence[TokenShard], default: float
) -> float:
    """Return the share of documents that the first training set holds out; a larger one than the default is logged."""
    share = sufficient_share(shards, store.root.path, default)
    if share != default:
        documents = sum(shard.documents for shard in shards)
        context.log.warning(
            f"validation_share is {share:g} here: of {documents:,} documents, {default:g} would hold out fewer than "
            f"{MINIMUM_HELD_OUT}. The data root keeps it for all its dumps; "
            "`jgpt config set training_set.validation_share=…` changes it."
        )
    return share


def _describe_mixture(target: DirectoryArtifact) -> Mapping[str, Any]:
    made = TrainingSet.open(target.path)
    rows, epoch = [], {}
    for corpus, weight in made.weights.items():
        files = [file for file in made.token_files if file.corpus == corpus]
        documents, tokens = sum(file.documents for file in files), sum(file.tokens for file in files)
        epoch[corpus] = tokens * weight
        rows.append([corpus, f"{len(files)}", f"{documents:,}", f"{tokens:,}", f"{weight:g}"])
    shown = table(["corpus", "token files", "documents", "tokens", "weight"], rows)
    return {**mixture(epoch), "mixture": shown, **_describe_copies(made)}


def _describe_copies(made: TrainingSet) -> Mapping[str, Any]:
    """Return how many held-out documents of each corpus are not scored, and examples with their copies."""
    if not made.counts.unscored_documents:
        return {}
    documents, copies = made.held_out_documents(), made.held_out_copies()
    corpora = [file.corpus for file in made.token_files]
    held_out, unscored = (
        Counter(corpora[shard] for shard in documents["shard"][mask].tolist())
        for mask in (np.ones_like(documents[SCORED]), ~documents[SCORED])
    )
    examples = islice(zip(*(copies[name].tolist() for name in HELD_OUT_COPIES_SCHEMA.names), strict=True), 10)
    return {
        "held_out": table(
            ["corpus", "held out", "not scored"],
            [[corpus, f"{count:,}", f"{unscored[corpus]:,}"] for corpus, count in held_out.items()],
        ),
        "held_out_copies": table(
            ["held out", "a copy that is trained on", "bands in common", "characters in common"],
            [
                [f"{corpora[shard]} {key}", f"{corpora[copy_shard]} {copy_key}", f"{bands}", f"{characters:,}"]
                for shard, key, copy_shard, copy_key, bands, characters in examples
            ],
        ),
    }
