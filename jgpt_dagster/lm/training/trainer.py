"""The training loop: a DeepSpeed engine, the same on CPU and GPU, that can be killed at any moment and go on.

Import this only after `train` has set up the environment: DeepSpeed reads it when it is imported.
"""

import math
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy

from jgpt_dagster.lm.data.data_loader import PackedDataset, document_positions, samples_of_step
from jgpt_dagster.lm.data.training_set import MANIFEST, TRAIN, VALIDATION, TrainingSet
from jgpt_dagster.lm.data.validation_data import validation_blocks
from jgpt_dagster.lm.model.presets import preset
from jgpt_dagster.lm.training import checkpoint, optimizer_offload
from jgpt_dagster.lm.training.deepspeed_config import clips_itself
from jgpt_dagster.lm.training.deepspeed_engine import WEIGHTS, TrainingError, build_engine, write_model
from jgpt_dagster.lm.training.distributed import broadcast_from_rank0, init_distributed
from jgpt_dagster.lm.training.loss_monitor import MARGIN, LossMonitor
from jgpt_dagster.lm.training.metrics import RESULT, TIMING, MetricsLogger, read_metrics
from jgpt_dagster.lm.training.stall_watchdog import Watchdog
from jgpt_dagster.lm.training.train_config import (
    Geometry,
    TrainConfig,
    geometry,
    learning_rate,
    total_steps,
    uses_bf16,
    warmup_steps,
)
from jgpt_dagster.storage.hashing import sha256_value
from jgpt_dagster.storage.manifest import FileEntry, Recipe

MODEL = "model"
CHECKPOINTS = "checkpoints"
_CURE = "start a new run with a lower learning rate, a longer warm-up or a lower gradient_clipping."


class Interrupted(Exception):
    """The process was asked to end, and saved a checkpoint first."""


class StopRequest:
    """Whether this process received SIGTERM."""

    def __init__(self) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, number: int, frame: object) -> None:
        self.received = True


def train(config: TrainConfig) -> None:
    """Carry out a training run, or what is left of it, and write its metrics, checkpoints, model and result.

    Every process of the group calls this. Raises TrainingError where the loss is not finite or has diverged,
    CheckpointError where the run directory holds another run, or checkpoints that are all damaged, Interrupted after a
    SIGTERM, and what opening the training set raises. Ends the process where the run stands still for `stall_seconds`.
    """
    stop = StopRequest()
    device = init_distributed(config.stall_seconds)
    train_distributed(config, device, stop)
    dist.destroy_process_group()


def train_distributed(config: TrainConfig, device: torch.device, stop: StopRequest) -> None:
    """Carry out a run in the process group that `init_distributed` joined; see `train`."""
    rank, world = dist.get_rank(), dist.get_world_size()
    shape = geometry(config, world)
    training_set = TrainingSet.open(config.training_set)
    data = PackedDataset(config.training_set, config.data_root, config.context)
    steps = total_steps(config, len(data))
    recipe = _recipe(config, shape, training_set, steps, device)
    root = config.output / CHECKPOINTS
    if config.offload:
        optimizer_offload.require_async_io()
    if rank == 0:
        # Those of a run that was killed are in its checkpoints too.
        shutil.rmtree(config.output / optimizer_offload.DIRECTORY, ignore_errors=True)
        checkpoint.sweep(root)
    resumed = broadcast_from_rank0(lambda: checkpoint.find_resumable(root, _warn))
    if resumed is not None:
        checkpoint.require_same_training(resumed, {**recipe.settings, **recipe.inputs})
    elif rank == 0:
        _clear(config.output)
    convert = resumed is not None and resumed.needs_conversion(recipe.settings)
    engine = build_engine(config, shape, training_set, device, load_universal=convert)
    if resumed is not None:
        checkpoint.load(engine, resumed, config.seed)
    done = resumed.step if resumed else 0
    reporter = _reporter(config, done, steps) if rank == 0 else None
    course = LossMonitor(config.early_stop, config.divergence_steps)
    for row in broadcast_from_rank0(lambda: read_metrics(config.output)):
        course.add(row)
    validation = _validation(config, training_set)
    run = _Run(config, shape, steps, recipe, engine, data, validation, course, reporter, device)
    try:
        if reporter is not None:
            reporter.announce(_opening(run, resumed))
        with Watchdog(config.output, rank, world, config.stall_seconds, run.newest_checkpoint) as watchdog:
            for step in range(done + 1, steps + 1):
                if course.should_stop_early:
                    break
                watchdog.beat(step)
                run.step(step, stop)
        write_model(engine, config.output / MODEL)
        if reporter is not None:
            reporter.finish()
    finally:
        if reporter is not None:
            reporter.close()
    dist.barrier()
    if rank == 0:
        shutil.rmtree(config.output / optimizer_offload.DIRECTORY, ignore_errors=True)


@dataclass
class _Run:
    config: TrainConfig
    shape: Geometry
    steps: int
    recipe: Recipe
    engine: Any
    data: PackedDataset
    validation: torch.Tensor
    course: LossMonitor
    reporter: MetricsLogger | None
    device: torch.device

    @property
    def clips(self) -> bool:
        """Whether the gradients are clipped here, and not by DeepSpeed."""
        return clips_itself(self.config, gpu=self.device.type == "cuda")

    def step(self, step: int, stop: StopRequest) -> None:
        """Take one optimizer step with all that is due after it."""
        config, last = self.config, step == self.steps
        rate = learning_rate(
            step,
            self.steps,
            warmup_steps(config, self.steps),
            config.learning_rate,
            config.minimum_learning_rate_ratio,
        )
        loss, norm, asked_to_stop = self._optimize(step, rate, stop)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged(
                f"step {step:,}: loss {loss}, gradient norm {norm}",
                f"Run it again to go on from there; where it fails at the same step, {_CURE}",
            )
        row = self._row(step, loss, rate, norm)
        evaluated = step % config.evaluate_every == 0 or last
        if evaluated:
            row["validation_loss"] = self._validate()
        if evaluated or step == 1 or step % config.log_every == 0:
            self._record(row)
        last = last or self.course.should_stop_early
        if step % config.checkpoint_every == 0 or last or asked_to_stop:
            self._save(step)
        if asked_to_stop and not last:
            raise Interrupted(f"asked to end: saved a checkpoint at step {step:,} of {self.steps:,}")

    def _record(self, row: dict[str, Any]) -> None:
        """Report a row of metrics and judge the run's course by it."""
        course, step = self.course, row["step"]
        course.add(row)
        if self.reporter is not None:
            self.reporter.log_step(row)
            if course.should_stop_early:
                self.reporter.announce(
                    f"early stop after step {step:,}: the validation loss has not fallen below "
                    f"{course.best_validation_loss:.4f} (step {course.best_validation_step:,}) since"
                )
        if course.diverged:
            raise self._diverged(
                f"step {step:,}: the loss is {row['loss']:.3f} and has been over {MARGIN:g} above its lowest level of "
                f"{course.lowest_smoothed_loss:.3f} since step {course.diverging_since:,}",
                "To go on from there all the same, delete the later ones and set divergence_steps to 0; better, "
                f"{_CURE}",
                before=course.diverging_since,
            )

    def _diverged(self, what: str, advice: str, before: int | None = None) -> TrainingError:
        """Return the error of a run that has diverged; one process explains it for all.

        It names the newest checkpoint, of a step before `before`, without the minutes that hashing it would take.
        """
        if self.reporter is None:
            return TrainingError(f"{what}: the run has diverged")
        which = "Newest checkpoint" if before is None else "Newest checkpoint before that"
        return TrainingError(f"{what}: the run has diverged. {which}: {self.newest_checkpoint(before)}. {advice}")

    def _optimize(self, step: int, rate: float, stop: StopRequest) -> tuple[float, float, bool]:
        """Return the mean loss over the global batch, the norm of its gradient, and whether any process is to stop."""
        config, shape, engine = self.config, self.shape, self.engine
        for group in engine.optimizer.param_groups:
            group["lr"] = rate
        samples = samples_of_step(step - 1, shape.global_batch, dist.get_rank(), shape.world)
        loss_sum = torch.zeros((), device=self.device)
        norm = None
        for first in range(0, len(samples), shape.micro_batch):
            tokens = torch.from_numpy(self.data.batch(samples[first : first + shape.micro_batch], config.seed))
            loss = self._loss(tokens)
            engine.backward(loss)
            loss_sum += loss.detach().float()
            if self.clips and engine.is_gradient_accumulation_boundary():
                norm = torch.nn.utils.clip_grad_norm_(engine.module.parameters(), config.gradient_clipping)
            engine.step()
        shared = torch.stack([loss_sum / shape.accumulation, torch.tensor(float(stop.received), device=self.device)])
        dist.all_reduce(shared)
        mean_loss, stops = (shared / shape.world).tolist()
        return mean_loss, float(engine.get_global_grad_norm() if norm is None else norm), stops > 0

    def _loss(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of blocks (batch, context + 1): every token but the first is a target."""
        positions = None
        if self.config.document_masking:
            eos_id = self.data.training_set.eos_id
            positions = torch.from_numpy(document_positions(tokens[:, :-1].numpy(), eos_id)).to(self.device)
        tokens = tokens.to(self.device)
        logits = self.engine(input_ids=tokens[:, :-1], position_ids=positions, use_cache=False).logits
        return cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())

    def _validate(self) -> float:
        """Return the mean loss of the fixed held-out blocks. Every process computes it, to the same value."""
        self.engine.eval()
        with torch.no_grad():
            losses = [
                self._loss(tokens).item() * len(tokens) for tokens in self.validation.split(self.shape.micro_batch)
            ]
        self.engine.train()
        return sum(losses) / len(self.validation)

    def _row(self, step: int, loss: float, rate: float, norm: float) -> dict[str, Any]:
        tokens = step * self.shape.global_batch * self.config.context
        return {"step": step, "tokens": tokens, "loss": loss, "learning_rate": rate, "gradient_norm": norm}

    def _save(self, step: int) -> None:
        if self.reporter is not None:
            self.reporter.flush()
        samples = step * self.shape.global_batch
        root = self.config.output / CHECKPOINTS
        checkpoint.save(
            self.engine,
            root,
            step,
            samples,
            self.recipe,
            keep=self.config.keep_checkpoints,
            keep_every=self.config.keep_every,
            diverging_since=self.course.diverging_since,
        )

    def newest_checkpoint(self, before: int | None = None) -> str:
        """Name the newest checkpoint (of a step before `before`) in a message. Whoever goes on from it checks it."""
        newest = checkpoint.newest(self.config.output / CHECKPOINTS, before)
        return f"{newest} (step {checkpoint.step_of(newest):,})" if newest else "none"


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _clear(output: Path) -> None:
    """Remove what a run that cannot be gone on with has left, so that nothing of it is taken for the new one's."""
    (output / RESULT).unlink(missing_ok=True)
    (output / TIMING).unlink(missing_ok=True)
    shutil.rmtree(output / MODEL, ignore_errors=True)


def _recipe(
    config: TrainConfig, shape: Geometry, training_set: TrainingSet, steps: int, device: torch.device
) -> Recipe:
    """Return what decides the weights of a run."""
    names = (
        "learning_rate",
        "minimum_learning_rate_ratio",
        "weight_decay",
        "betas",
        "gradient_clipping",
        "seed",
        "document_masking",
    )
    settings = {
        **{name: getattr(config, name) for name in names},
        "betas": list(config.betas),
        "model": config.model,
        **{name: getattr(preset(config.model), name) for name in ("layers", "width", "heads")},
        "context": config.context,
        "vocab_size": training_set.vocab_size,
        "dtype": "bf16" if uses_bf16(config.dtype, gpu=device.type == "cuda") else "fp32",
        "zero_stage": config.zero_stage,
        "offload": config.offload,
        "steps": steps,
        "warmup_steps": warmup_steps(config, steps),
        "global_batch": shape.global_batch,
        "micro_batch": shape.micro_batch,
        "processes": shape.world,
    }
    inputs = {"training_set": _digest(training_set.directory, MANIFEST, TRAIN, VALIDATION)}
    inputs["tokenizer"] = training_set.tokenizer_sha256
    if config.initial_model is not None:
        inputs["initial_model"] = _digest(config.initial_model, WEIGHTS, "config.json")
    return checkpoint.run_recipe(settings, inputs)


def _digest(directory: Path, *names: str) -> str:
    return sha256_value({name: FileEntry.of(directory / name).sha256 for name in names})


def _validation(config: TrainConfig, training_set: TrainingSet) -> torch.Tensor:
    files = training_set.open_tokens(config.data_root)
    return torch.from_numpy(validation_blocks(training_set, files, config.context, config.evaluation_blocks))


def _reporter(config: TrainConfig, done: int, steps: int) -> MetricsLogger:
    return MetricsLogger(
        config.output,
        done=done,
        steps=steps,
        peak_speed=config.peak_tokens_per_second,
        planned_mfu=config.planned_mfu,
        wandb_project=config.wandb_project,
    )


def _opening(run: _Run, resumed: checkpoint.Checkpoint | None) -> str:
    config, parameters = run.config, sum(getattr(p, "ds_numel", p.numel()) for p in run.engine.module.parameters())
    start = "training for"
    if resumed is not None:
        changed = [
            f"{name} {resumed.identity.get(name)} → {run.recipe.settings[name]}"
            for name in checkpoint.PARALLELISM_SETTINGS
            if resumed.identity.get(name) != run.recipe.settings[name]
        ]
        note = f" (losses are the same up to rounding: {', '.join(changed)})" if changed else ""
        start = f"resuming after step {resumed.step:,}{note} of"
    return (
        f"{config.model}: {parameters:,} parameters, {start} {run.steps:,} steps of {config.global_batch} x "
        f"{config.context} tokens on {run.shape.world} {run.device.type} process(es)"
    )
