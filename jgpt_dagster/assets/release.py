"""`release`: the directory that `transformers` opens, with a model card."""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.evaluation import with_interval
from jgpt_dagster.assets.finished_models import recipe_of_dependent
from jgpt_dagster.assets.materialize import Materialization, StageConfig, as_dagster_failure, materialize
from jgpt_dagster.assets.pretrained_model import MODEL
from jgpt_dagster.assets.tokenizer import open_tokenizer
from jgpt_dagster.catalog.attribution import attribution
from jgpt_dagster.lm.release.model_card import ModelCardFacts, model_card
from jgpt_dagster.lm.release.release_directory import CARD, write_release
from jgpt_dagster.orchestration.partitions import dump_model_partitions, model_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe

CODE_VERSION = "3"


@stage_asset(
    "release",
    group="model",
    kinds={"huggingface"},
    code_version=CODE_VERSION,
    partitions=dump_model_partitions,
    deps=["pretrained_model", "evaluation", "tokenizer"],
)
def release(context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore) -> Materialization:
    """The directory that `AutoModelForCausalLM` and `AutoTokenizer` open offline, with a model card."""
    dump, model_name = model_key(context)
    target = store.model_directory("release", dump, model_name)
    with as_dagster_failure():
        model, scores = (store.model_directory(name, dump, model_name) for name in ("pretrained_model", "evaluation"))
        tokenizer = store.directory("tokenizer")
        recipe = Recipe(
            stage="release",
            code_version=CODE_VERSION,
            settings={"wiki": store.wiki, "corpora": [corpus.name for corpus in store.corpora]},
            inputs={input.recipe_label: input.verified().data_sha256 for input in (model, scores, tokenizer)},
        )
        evaluated_with = scores.verified().recipe.inputs.get(tokenizer.recipe_label)
        recipe = recipe_of_dependent(target, recipe, model, tokenizer, evaluated_with)

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            card = _card(store, f"jgpt-{model_name}-{dump}", dump, model, scores)
            with target.writing(recipe) as out:
                write_release(
                    out.path,
                    model.path / MODEL,
                    tokenizer.path,
                    card,
                )
                out.counts = {"bytes": sum(file.stat().st_size for file in out.path.iterdir())}

        return materialize(
            context, store, target, recipe, make, force=config.force, describe=lambda _: _describe_release(target)
        )


def _describe_release(target: DirectoryArtifact) -> Mapping[str, Any]:
    return {"model_card": dg.MetadataValue.md((target.path / CARD).read_text())}


def _card(store: CorpusStore, name: str, dump: str, model: DirectoryArtifact, scores: DirectoryArtifact) -> str:
    config = json.loads((model.path / MODEL / "config.json").read_text())
    tokenizer, _ = open_tokenizer(store)
    model_manifest, scores_manifest = model.verified(), scores.verified()
    total = scores_manifest.counts
    return model_card(
        ModelCardFacts(
            name=name,
            parameters=model_manifest.counts["parameters"],
            context=config["n_positions"],
            segmenter=tokenizer.segmenter,
            profile=tokenizer.profile,
            data={corpus.name: attribution(store.catalog, corpus, dump) for corpus in store.corpora},
            settings={name: value for name, value in model_manifest.recipe.settings.items() if value is not None},
            figures={
                "held-out documents": f"{total['documents']:,}",
                "perplexity per token": f"{total['perplexity']:.2f}",
                "bits per character (95 % interval over documents)": with_interval(total, places=4),
                "of a bigram model (Kneser-Ney) of the same training documents": (
                    f"{total['bigram_bits_per_character']:.4f}"
                ),
                "of a unigram model": f"{total['unigram_bits_per_character']:.4f}",
                "bits per byte": f"{total['bits_per_byte']:.4f}",
                "training tokens": f"{model_manifest.counts['tokens']:,}",
            },
        )
    )
