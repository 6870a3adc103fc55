"""`evaluation`: how well a model predicts the held-out documents, and what it writes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.asset_decorator import stage_asset
from jgpt_dagster.assets.finished_models import model_data_root, recipe_of_dependent
from jgpt_dagster.assets.materialize import Materialization, StageConfig, materialize
from jgpt_dagster.assets.metadata import bars, curve, preview, table
from jgpt_dagster.assets.remembered_config import remembered
from jgpt_dagster.assets.training_set import require_token_files
from jgpt_dagster.assets.warm_start import MODEL
from jgpt_dagster.lm.evaluation.score_charts import bigram_level, score_bars, with_ends
from jgpt_dagster.lm.release.generation import SamplingSettings, TextGenerator
from jgpt_dagster.lm.training.metrics_files import read_metrics
from jgpt_dagster.lm.training.training_charts import loss_chart
from jgpt_dagster.orchestration.partitions import dump_model_partitions, model_key
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe, library_versions

CODE_VERSION = "2"

EVALUATION = "evaluation.json"
SAMPLES = "samples.json"


class EvaluationConfig(StageConfig):
    """Run config of the evaluation."""

    max_tokens: int = Field(
        default=2_000_000, ge=1, le=1_000_000_000_000, description="Largest number of held-out tokens that are scored."
    )
    baseline_tokens: int = Field(
        default=100_000_000,
        ge=1,
        le=1_000_000_000_000,
        description="Training tokens that the unigram and bigram baselines are counted from.",
    )
    batch: int = Field(
        default=8, ge=1, le=65_536, description="Windows of the model's context that are scored at once."
    )
    prompts: list[str] = Field(
        default=["日本で一番高い山は", "早稲田大学で", "今日は朝から"], description="Texts that samples continue."
    )
    seed: int = Field(default=0, ge=0, le=4_294_967_295, description="Seed of the samples.")


@stage_asset(
    "evaluation",
    group="model",
    kinds={"pytorch", "huggingface"},
    code_version=CODE_VERSION,
    partitions=dump_model_partitions,
    deps=["pretrained_model", "training_set", "tokenizer"],
)
def evaluation(context: dg.AssetExecutionContext, config: EvaluationConfig, store: CorpusStore) -> Materialization:
    """Perplexity, bits per character and per byte on the held-out documents, and texts that the model wrote.

    Held-out documents that have copies in what is trained on are not scored.

    A unigram and a bigram model of the same training documents are scored for comparison.
    """
    dump, model_name = model_key(context)
    target = store.model_directory("evaluation", dump, model_name)
    with remembered(context, store, config, "evaluation", model_name) as config:
        model = store.model_directory("pretrained_model", dump, model_name)
        root, trained_on = model_data_root(store, model, dump)
        data, tokenizer = root.directory("training_set", dump), root.directory("tokenizer")
        recipe = Recipe(
            stage="evaluation",
            code_version=CODE_VERSION,
            settings=config.model_dump(exclude={"force"}),
            inputs={input.recipe_label: input.verified().data_sha256 for input in (model, data, tokenizer)},
            libraries=library_versions("torch", "transformers"),
        )
        recipe = recipe_of_dependent(target, recipe, model, data, trained_on)

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            # torch reads it on import. Threads that spin while they wait would slow other processes down.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            from jgpt_dagster.lm.evaluation.held_out_scores import UNSCORED, evaluate

            require_token_files(root, data)
            device = inference_device()
            result = evaluate(
                model.path / MODEL,
                data.path,
                root.path,
                max_tokens=config.max_tokens,
                baseline_tokens=config.baseline_tokens,
                batch_size=config.batch,
                device=device,
            ).to_dict()
            samples = _samples(model.path / MODEL, tokenizer.path, config, device)
            with target.writing(recipe) as out:
                write_json(out.path / EVALUATION, result)
                write_json(out.path / SAMPLES, samples)
                unscored = {name: result[name] for name in (UNSCORED,) if name in result}
                out.counts = {**result["total"], **unscored}

        return materialize(
            context,
            store,
            target,
            recipe,
            make,
            force=config.force,
            describe=lambda _: _describe_evaluation(target, model),
        )


def scores_picture(result: Mapping[str, Any]) -> dg.MarkdownMetadataValue:
    """Return the scores of an evaluation, the content of its EVALUATION, as bars with intervals."""
    return bars("bits per character", "bits per character (95 %), lower is better", score_bars(result))


def _samples(model_dir: Path, tokenizer_dir: Path, config: EvaluationConfig, device: str) -> list[dict[str, str]]:
    """Return each prompt of the config with the text that the model, opened once, makes of it."""
    if not config.prompts:
        return []
    generator, sampling = TextGenerator(model_dir, tokenizer_dir, device), SamplingSettings(seed=config.seed)
    return [{"prompt": prompt, "text": generator.continue_prompt(prompt, sampling)} for prompt in config.prompts]


def _describe_evaluation(target: DirectoryArtifact, model: DirectoryArtifact) -> Mapping[str, Any]:
    scores = json.loads((target.path / EVALUATION).read_text())
    samples = json.loads((target.path / SAMPLES).read_text())
    rows = [
        [
            name,
            f"{score['documents']:,}",
            f"{score['perplexity']:.1f}",
            f"{score['bits_per_byte']:.3f}",
            with_ends(score, "bits_per_character", places=3),
            f"{score['bigram_bits_per_character']:.3f}",
            f"{score['unigram_bits_per_character']:.3f}",
        ]
        for name, score in {**scores["corpora"], "total": scores["total"]}.items()
    ]
    losses = loss_chart(read_metrics(model.path), [bigram_level(scores["total"])])
    return {
        "scores_as_bars": scores_picture(scores),
        **({"loss_and_bigrams": curve("loss and bigrams", losses)} if losses else {}),
        "scores": table(
            ["corpus", "documents", "perplexity", "bits/byte", "bits/character (95 %)", "bigrams", "unigrams"], rows
        ),
        "samples": preview(
            ("prompt", "continuation"),
            [(sample["prompt"], sample["text"].removeprefix(sample["prompt"])) for sample in samples],
            longest=300,
        ),
    }


def inference_device() -> str:
    """Return the device that models are evaluated on."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
