"""`pretrained_model`, `evaluation` and `release`: from a training set to a directory that `transformers` opens."""

import base64
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from jgpt_dagster.assets.stage import StageConfig, failures_in_plain_words, materialize, preview, table
from jgpt_dagster.assets.tokenizer import open_tokenizer
from jgpt_dagster.assets.warm_start import initial_model
from jgpt_dagster.generate import continue_text
from jgpt_dagster.lm.charts import loss_curve_svg
from jgpt_dagster.lm.export import CARD, ModelCardFacts, model_card, write_release
from jgpt_dagster.lm.launch import launch_command, run_process_group, training_environment
from jgpt_dagster.lm.report import METRICS, RESULT, TIMING, read_metrics
from jgpt_dagster.lm.tokens import TOKENS
from jgpt_dagster.lm.train_config import TrainConfig, warmup_steps
from jgpt_dagster.lm.training_set import TrainingSet
from jgpt_dagster.partitions import dump_partitions
from jgpt_dagster.progress import ProgressEvent, publish
from jgpt_dagster.resources import CorpusStore, TrainingLauncher
from jgpt_dagster.storage.artifact import DirectoryArtifact
from jgpt_dagster.storage.manifest import Recipe, library_versions
from jgpt_dagster.storage.writing import write_json

MODEL_CODE_VERSION = "1"
EVALUATION_CODE_VERSION = "2"
RELEASE_CODE_VERSION = "2"

MODEL = "model"
EVALUATION = "evaluation.json"
SAMPLES = "samples.json"
RECIPE = "recipe.json"

# Tags that only their own executor reads, so that they are safe everywhere; the pool keeps a second GPU run waiting.
GPU_TAGS = {
    "dagster-celery/queue": "gpu",
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "8"}}}},
}
GPU_POOL = "gpu"

# What one fits to the hardware at hand: it moves sums by rounding errors, and does not make a finished model stale.
_HARDWARE_SETTINGS = {
    "micro_batch",
    "zero_stage",
    "activation_checkpointing",
    "compile",
    "log_every",
    "evaluate_every",
    "evaluation_blocks",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_every",
}
_PLACES = {"training_set", "data_root", "output", "initial_model"}


class PretrainingConfig(StageConfig):
    """Run config of the training run; what is left out comes from the model preset.

    At most one length may be given; that of a preset is one epoch, and 300 steps for `tiny`.
    """

    steps: int | None = Field(default=None, ge=1, description="Length of the run in optimizer steps.")
    tokens: int | None = Field(default=None, ge=1, description="Length of the run in tokens.")
    epochs: float | None = Field(default=None, gt=0, description="Length in passes over the training set.")
    context: int | None = Field(default=None, ge=8, description="Tokens the model looks back at most.")
    seed: int = Field(default=0, ge=0, description="Decides the first weights and the order of samples.")
    warm_start: bool = Field(
        default=False,
        description="Go on from the model of the newest earlier dump, where there is one, instead of from scratch. The "
        "optimizer begins anew, so the learning rate warms up to its peak again and then falls; a peak of a third or "
        "less of the first run's moves the weights less.",
    )
    global_batch: int | None = Field(default=None, ge=1, description="Sequences a step, over all processes.")
    micro_batch: int | None = Field(default=None, ge=1, description="Sequences a process holds in memory at a time.")
    learning_rate: float | None = Field(default=None, gt=0, description="The peak.")
    warmup_steps: int | None = Field(default=None, ge=0, description="Steps of linear warm-up, then cosine.")
    weight_decay: float = Field(default=0.1, ge=0, description="On matrices only.")
    gradient_clipping: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    dtype: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto: bf16 on a GPU, fp32 on a CPU.")
    zero_stage: int = Field(default=1, ge=0, le=3, description="DeepSpeed ZeRO stage.")
    activation_checkpointing: bool = Field(default=False, description="Less memory for a third more computing.")
    compile: bool = Field(default=False, description="Compile the model first (minutes), then go faster.")
    log_every: int = Field(default=10, ge=1, description="Steps between rows of metrics.")
    evaluate_every: int = Field(default=250, ge=1, description="Steps between validation losses.")
    checkpoint_every: int = Field(default=250, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(default=2, ge=1, description="Newest checkpoints that are kept.")
    keep_every: int | None = Field(default=None, ge=1, description="Keep those of steps that this divides as well.")


@dg.asset(
    group_name="model",
    kinds={"pytorch", "huggingface"},
    partitions_def=dump_partitions,
    deps=["training_set"],
    code_version=MODEL_CODE_VERSION,
    op_tags=GPU_TAGS,
    pool=GPU_POOL,
)
def pretrained_model(
    context: dg.AssetExecutionContext, config: PretrainingConfig, store: CorpusStore, launcher: TrainingLauncher
) -> dg.MaterializeResult:
    """The model that a DeepSpeed run made of the training set, with its loss curve.

    Checkpoints lie in the scratch directory; a run that was interrupted goes on from the newest whole one.
    """
    dump = context.partition_key
    target = store.model_directory("pretrained_model", dump)
    run = store.scratch_path / "pretrained_model" / f"dump={dump}" / f"model={store.model}"
    with failures_in_plain_words():
        data = store.directory("training_set", dump)
        data_manifest = data.verified()
        _require_token_files(store, data)
        given = config.model_dump(exclude={"force", "warm_start"}, exclude_none=True)
        recorded = {} if config.force else _recorded_inputs(target, run)
        initial = initial_model(context, store, recorded, data_manifest) if config.warm_start else None
        train_config = TrainConfig.model_validate(
            {
                **given,
                "training_set": data.path,
                "data_root": store.root.path,
                "output": run,
                "model": store.model,
                "initial_model": initial and initial.artifact.path / MODEL,
            }
        )
        recipe = Recipe(
            stage="pretrained_model",
            code_version=MODEL_CODE_VERSION,
            settings=json.loads(train_config.model_dump_json(exclude=_HARDWARE_SETTINGS | _PLACES)),
            inputs={
                data.label: data_manifest.data_sha256,
                **({initial.artifact.label: initial.sha256} if initial else {}),
            },
            libraries=library_versions("torch", "deepspeed", "transformers"),
        )

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            if initial:
                initial.require_unchanged()
            _prepare_run(run, recipe, config.force)
            _train(context, launcher, train_config)
            with target.writing(recipe) as out:
                shutil.copytree(run / MODEL, out.path / MODEL, copy_function=_link_or_copy)
                for name in (METRICS, RESULT):
                    shutil.copyfile(run / name, out.path / name)
                result = json.loads((run / RESULT).read_text())
                out.counts = result | {
                    "parameters": _parameters(run / MODEL / "model.safetensors"),
                    "warmup_steps": warmup_steps(train_config, result["steps"]),
                    "warm_start": train_config.initial_model is not None,
                }

        return materialize(
            context, store, target, recipe, make, force=config.force, describe=lambda _: _describe_run(target, run)
        )


class EvaluationConfig(StageConfig):
    """Run config of the evaluation."""

    max_tokens: int = Field(default=2_000_000, ge=1, description="Held-out tokens that are scored at most.")
    baseline_tokens: int = Field(
        default=100_000_000, ge=1, description="Training tokens that the unigram and bigram baselines are counted from."
    )
    batch: int = Field(default=8, ge=1, description="Windows of the model's context that are scored at a time.")
    prompts: list[str] = Field(
        default=["日本で一番高い山は", "早稲田大学で", "今日は朝から"], description="Texts that samples continue."
    )
    seed: int = Field(default=0, ge=0, description="Decides the samples.")


@dg.asset(
    group_name="model",
    kinds={"pytorch", "huggingface"},
    partitions_def=dump_partitions,
    deps=["pretrained_model", "training_set", "tokenizer"],
    code_version=EVALUATION_CODE_VERSION,
    op_tags=GPU_TAGS,
    pool=GPU_POOL,
)
def evaluation(context: dg.AssetExecutionContext, config: EvaluationConfig, store: CorpusStore) -> dg.MaterializeResult:
    """Perplexity, bits per character and per byte on the held-out documents, and texts that the model wrote.

    Beside the model's stand the bits of a unigram and a bigram model of the same training documents.
    """
    dump = context.partition_key
    target = store.model_directory("evaluation", dump)
    with failures_in_plain_words():
        model, data = store.model_directory("pretrained_model", dump), store.directory("training_set", dump)
        tokenizer = store.directory("tokenizer")
        recipe = Recipe(
            stage="evaluation",
            code_version=EVALUATION_CODE_VERSION,
            settings=config.model_dump(exclude={"force"}),
            inputs={input.label: input.verified().data_sha256 for input in (model, data, tokenizer)},
            libraries=library_versions("torch", "transformers"),
        )
        _require_token_files(store, data)

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            # Read when torch is imported: threads that wait for work would otherwise keep other processes from theirs.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            from jgpt_dagster.lm.evaluation import evaluate

            device = _device()
            result = evaluate(
                model.path / MODEL,
                data.path,
                store.root.path,
                max_tokens=config.max_tokens,
                baseline_tokens=config.baseline_tokens,
                batch=config.batch,
                device=device,
            ).to_dict()
            samples = [
                {
                    "prompt": prompt,
                    "text": continue_text(model.path / MODEL, tokenizer.path, prompt, seed=config.seed, device=device),
                }
                for prompt in config.prompts
            ]
            with target.writing(recipe) as out:
                write_json(out.path / EVALUATION, result)
                write_json(out.path / SAMPLES, samples)
                out.counts = result["total"]

        return materialize(
            context, store, target, recipe, make, force=config.force, describe=lambda _: _describe_evaluation(target)
        )


@dg.asset(
    group_name="model",
    kinds={"huggingface"},
    partitions_def=dump_partitions,
    deps=["pretrained_model", "evaluation", "tokenizer"],
    code_version=RELEASE_CODE_VERSION,
    op_tags={"dagster-celery/queue": "cpu"},
)
def release(context: dg.AssetExecutionContext, config: StageConfig, store: CorpusStore) -> dg.MaterializeResult:
    """The directory that `AutoModelForCausalLM` and `AutoTokenizer` open offline, with a model card."""
    dump = context.partition_key
    target = store.model_directory("release", dump)
    with failures_in_plain_words():
        model, scores = (store.model_directory(name, dump) for name in ("pretrained_model", "evaluation"))
        tokenizer = store.directory("tokenizer")
        recipe = Recipe(
            stage="release",
            code_version=RELEASE_CODE_VERSION,
            settings={"wiki": store.wiki, "corpora": store.corpora},
            inputs={input.label: input.verified().data_sha256 for input in (model, scores, tokenizer)},
        )

        def make(target: DirectoryArtifact, recipe: Recipe) -> None:
            with target.writing(recipe) as out:
                write_release(out.path, model.path / MODEL, tokenizer.path, _card(store, dump, model, scores))
                out.counts = {"bytes": sum(file.stat().st_size for file in out.path.iterdir())}

        return materialize(
            context, store, target, recipe, make, force=config.force, describe=lambda _: _describe_release(target)
        )


def _recorded_inputs(target: DirectoryArtifact, run: Path) -> Mapping[str, str]:
    """Return the inputs of a model that is finished or, where it is not, of its run as far as that has come."""
    manifest, record = target.manifest(), run / RECIPE
    if manifest is not None:
        return manifest.recipe.inputs
    begun: Mapping[str, str] = json.loads(record.read_text())["inputs"] if record.exists() else {}
    return begun


def _prepare_run(run: Path, recipe: Recipe, force: bool) -> None:
    """Make room for a run: one that goes on keeps its checkpoints, a finished one of another recipe is cleared away.

    An unfinished run of another recipe is left alone; the training program refuses it and says what differs.
    """
    record = run / RECIPE
    wanted = {"settings": dict(recipe.settings), "inputs": dict(recipe.inputs)}
    present = json.loads(record.read_text()) if record.exists() else None
    if force or (present not in (None, wanted) and (run / RESULT).exists()):
        shutil.rmtree(run)
        present = None
    if present is None:
        write_json(record, wanted)


def _train(context: dg.AssetExecutionContext, launcher: TrainingLauncher, config: TrainConfig) -> None:
    """Run the training program under the launcher, with its messages streamed into the Dagster run."""
    path, label = config.output / "config.json", f"pretrained_model {context.partition_key}"
    write_json(path, json.loads(config.model_dump_json()))
    processes = launcher.process_count()
    command = launch_command(launcher.kind(), processes, path, launcher.hostfile_path())
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesTempFileContextInjector(),
        message_reader=dg.PipesTempFileMessageReader(),
    ) as session:
        environment = {**training_environment(processes), **session.get_bootstrap_env_vars()}
        run_process_group(command, environment, on_line=lambda line: publish(ProgressEvent(label, line=line)))


def _require_token_files(store: CorpusStore, data: DirectoryArtifact) -> None:
    """Raise ArtifactError unless every token file that the training set lists is whole and the one it was made for."""
    for file in TrainingSet.open(data.path).token_files:
        store.root.labelled_directory(file.label).verified_file(TOKENS, file.sha256)


def _describe_run(target: DirectoryArtifact, run: Path) -> Mapping[str, Any]:
    points = [(row["step"], row["loss"]) for row in read_metrics(target.path)]
    picture = base64.b64encode(loss_curve_svg(points).encode()).decode()
    speeds = [json.loads(line)["tokens_per_second"] for line in _lines(run / TIMING)]
    return {
        "loss_curve": dg.MetadataValue.md(f"![loss](data:image/svg+xml;base64,{picture})"),
        **({"tokens_per_second": float(speeds[-1])} if speeds else {}),
    }


def _describe_evaluation(target: DirectoryArtifact) -> Mapping[str, Any]:
    scores = json.loads((target.path / EVALUATION).read_text())
    samples = json.loads((target.path / SAMPLES).read_text())
    rows = [
        [
            name,
            f"{score['documents']:,}",
            f"{score['perplexity']:.1f}",
            f"{score['bits_per_byte']:.3f}",
            _with_interval(score, places=3),
            f"{score['bigram_bits_per_character']:.3f}",
            f"{score['unigram_bits_per_character']:.3f}",
        ]
        for name, score in {**scores["corpora"], "total": scores["total"]}.items()
    ]
    return {
        "scores": table(
            ["corpus", "documents", "perplexity", "bits/byte", "bits/character (95 %)", "bigrams", "unigrams"], rows
        ),
        "samples": preview(
            [(sample["prompt"], sample["text"].removeprefix(sample["prompt"])) for sample in samples], longest=300
        ),
    }


def _with_interval(score: Mapping[str, Any], places: int) -> str:
    """Return bits per character with the interval in which they lie, where there are documents enough to know."""
    value, low, high = (score[f"bits_per_character{end}"] for end in ("", "_low", "_high"))
    return f"{value:.{places}f}" + ("" if low is None else f" ({low:.{places}f} to {high:.{places}f})")


def _describe_release(target: DirectoryArtifact) -> Mapping[str, Any]:
    return {"model_card": dg.MetadataValue.md((target.path / CARD).read_text())}


def _card(store: CorpusStore, dump: str, model: DirectoryArtifact, scores: DirectoryArtifact) -> str:
    config = json.loads((model.path / MODEL / "config.json").read_text())
    tokenizer, _ = open_tokenizer(store)
    model_manifest, scores_manifest = model.verified(), scores.verified()
    total = scores_manifest.counts
    data = {"wikipedia": f"{store.wiki}, dump of {dump}"}
    if "cc100" in store.corpora:
        source = store.directory("cc100_dump").verified()
        data["cc100"] = f"ja.txt.xz, sha256 {next(iter(source.files.values())).sha256}"
    return model_card(
        ModelCardFacts(
            name=f"jgpt-{store.model}-{dump}",
            parameters=model_manifest.counts["parameters"],
            context=config["n_positions"],
            segmenter=tokenizer.segmenter,
            profile=tokenizer.profile,
            data=data,
            settings={name: value for name, value in model_manifest.recipe.settings.items() if value is not None},
            figures={
                "held-out documents": f"{total['documents']:,}",
                "perplexity per token": f"{total['perplexity']:.2f}",
                "bits per character (95 % interval over documents)": _with_interval(total, places=4),
                "of a bigram model (Kneser-Ney) of the same training documents": (
                    f"{total['bigram_bits_per_character']:.4f}"
                ),
                "of a unigram model": f"{total['unigram_bits_per_character']:.4f}",
                "bits per byte": f"{total['bits_per_byte']:.4f}",
                "training tokens": f"{model_manifest.counts['tokens']:,}",
            },
        )
    )


def _parameters(weights: Path) -> int:
    """Count the numbers in a safetensors file from its header."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _link_or_copy(source: str, target: str) -> None:
    """Hard-link a file where scratch and data share a disk: weights are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
