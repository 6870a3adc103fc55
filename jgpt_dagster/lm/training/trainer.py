"""The training loop: a DeepSpeed engine, the same on CPU and GPU, that resumes after being killed at any moment.

Import this only after `train` has set up the environment: DeepSpeed reads it when it is imported.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from jgpt_dagster.lm.data.data_loader import PackedDataset
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.data.validation_data import validation_blocks
from jgpt_dagster.lm.training import checkpoint, optimizer_offload
from jgpt_dagster.lm.training.checkpoint_compatibility import PARALLELISM_SETTINGS, needs_conversion, training_recipe
from jgpt_dagster.lm.training.collectives import broadcast_from_rank0
from jgpt_dagster.lm.training.deepspeed_engine import build_engine, write_model
from jgpt_dagster.lm.training.deepspeed_internals import whole_parameter_count
from jgpt_dagster.lm.training.distributed import init_distributed
from jgpt_dagster.lm.training.errors import TrainingError, TrainingInterrupted
from jgpt_dagster.lm.training.learning_rate_schedule import LearningRateSchedule
from jgpt_dagster.lm.training.loss_monitor import MARGIN, LossMonitor
from jgpt_dagster.lm.training.metrics_files import RESULT, TIMING, read_metrics
from jgpt_dagster.lm.training.metrics_logger import MetricsLogger
from jgpt_dagster.lm.training.rendezvous import describe_ports
from jgpt_dagster.lm.training.run_progress import CHECKPOINTS, step_of
from jgpt_dagster.lm.training.stall_watchdog import Watchdog
from jgpt_dagster.lm.training.step_runner import StepRunner
from jgpt_dagster.lm.training.stop_request import StopRequest
from jgpt_dagster.lm.training.train_config import BatchSizes, TrainConfig, batch_sizes, total_steps
from jgpt_dagster.storage.manifest import Recipe

MODEL = "model"


def train(config: TrainConfig) -> None:
    """Carry out a training run, or the rest of one, and write its metrics, checkpoints, model and result.

    Every process of the run calls this. Raises TrainingError if the loss is not finite or has diverged, CheckpointError
    if the run directory holds another run or only damaged checkpoints, TrainingInterrupted after SIGTERM, and whatever
    opening the training set raises. Ends the process if the run makes no progress for `stall_seconds`.
    """
    stop = StopRequest()
    device = init_distributed(config.stall_seconds)
    train_distributed(config, device, stop)
    dist.destroy_process_group()


def train_distributed(config: TrainConfig, device: torch.device, stop: StopRequest) -> None:
    """Carry out a run in the process group that `init_distributed` joined; see `train`."""
    run, resumed = _set_up(config, device)
    rank, world_size = dist.get_rank(), dist.get_world_size()
    try:
        run.announce(_start_message(run, resumed))
        run.announce(describe_ports())
        with Watchdog(config.output, rank, world_size, config.stall_seconds, run.newest_checkpoint) as watchdog:
            for step in range(resumed.step + 1 if resumed else 1, run.steps + 1):
                if run.monitor.should_stop_early:
                    break
                watchdog.report_progress(step)
                run.step(step, stop)
        write_model(run.runner.engine, config.output / MODEL)
        if run.logger is not None:
            run.logger.finish()
    finally:
        if run.logger is not None:
            run.logger.close()
    dist.barrier()
    if rank == 0:
        _remove_offloaded_states(config.output)


@dataclass
class _Run:
    """A run with all that its loop needs. Only rank 0 has a logger."""

    config: TrainConfig
    steps: int
    recipe: Recipe
    schedule: LearningRateSchedule
    runner: StepRunner
    monitor: LossMonitor
    logger: MetricsLogger | None

    def step(self, step: int, stop: StopRequest) -> None:
        """Take one optimizer step, then log, validate and save as is due."""
        config, is_last = self.config, step == self.steps
        learning_rate = self.schedule.rate(step)
        result = self.runner.train(step, learning_rate, stop)
        if not result.finite:
            raise self._divergence_error(
                f"at step {step:,}: loss {result.loss}, gradient norm {result.gradient_norm}",
                "If it was the hardware, another run gets over it: run it again to resume from there.",
            )
        row: dict[str, Any] = {
            "step": step,
            "tokens": step * config.global_batch * config.context,
            "loss": result.loss,
            "learning_rate": learning_rate,
            "gradient_norm": result.gradient_norm,
        }
        validates = step % config.evaluate_every == 0 or is_last
        if validates:
            row["validation_loss"] = self.runner.validation_loss()
        if validates or step == 1 or step % config.log_every == 0:
            self._log(row)
        is_last = is_last or self.monitor.should_stop_early
        if step % config.checkpoint_every == 0 or is_last or result.stop_requested:
            self._save(step)
        if result.stop_requested and not is_last:
            raise TrainingInterrupted(f"interrupted: saved a checkpoint at step {step:,} of {self.steps:,}")

    def announce(self, message: str) -> None:
        """Log a message, in the process that has a logger."""
        if self.logger is not None:
            self.logger.announce(message)

    def newest_checkpoint(self, before: int | None = None) -> str:
        """Return path and step of the newest checkpoint (of a step before `before`), unverified, for a message."""
        newest = checkpoint.newest(self.config.output / CHECKPOINTS, before)
        return f"{newest} (step {step_of(newest):,})" if newest else "none"

    def _log(self, row: dict[str, Any]) -> None:
        """Log a row of metrics. Raises TrainingError if the loss has diverged."""
        monitor, step = self.monitor, row["step"]
        monitor.add(row)
        if self.logger is not None:
            self.logger.log_step(row)
        if monitor.should_stop_early:
            self.announce(
                f"early stop after step {step:,}: the validation loss has not fallen below "
                f"{monitor.best_validation_loss:.4f} (step {monitor.best_validation_step:,}) since"
            )
        if monitor.diverged:
            raise self._divergence_error(
                f"at step {step:,}: the loss is {row['loss']:.3f} and has been over {MARGIN:g} above its lowest level "
                f"of {monitor.lowest_smoothed_loss:.3f} since step {monitor.diverging_since:,}",
                "To resume from there anyway, delete the later ones and set divergence_steps to 0.",
                before=monitor.diverging_since,
            )

    def _save(self, step: int) -> None:
        if self.logger is not None:
            self.logger.flush()
        checkpoint.save(
            self.runner.engine,
            self.config.output / CHECKPOINTS,
            step,
            step * self.config.global_batch,
            self.recipe,
            self.config.data_root,
            keep=self.config.keep_checkpoints,
            keep_every=self.config.keep_every,
            diverging_since=self.monitor.diverging_since,
        )

    def _divergence_error(self, problem: str, advice: str, before: int | None = None) -> TrainingError:
        """Return the error of a diverged run, which only rank 0 explains in full.

        It names the newest checkpoint of a step before `before`, without the minutes that verifying it would take.
        """
        told = f"the run has diverged {problem}"
        if self.logger is None:
            return TrainingError(told)
        config = self.config
        remedy = (
            f"Start a new run (`force: true`, or `jgpt run --retrain`) with a lower learning rate (now "
            f"{config.learning_rate:g}), a longer warm-up or a lower gradient_clipping (now "
            f"{config.gradient_clipping:g})."
        )
        which = "Newest checkpoint" if before is None else "Newest checkpoint before that"
        return TrainingError(f"{told}. {remedy} {which}: {self.newest_checkpoint(before)}. {advice}")


def _set_up(config: TrainConfig, device: torch.device) -> tuple[_Run, checkpoint.Checkpoint | None]:
    """Return a run that is ready for its next step, and the checkpoint that it resumes from, if any."""
    batch = batch_sizes(config, dist.get_world_size())
    training_set = TrainingSet.open(config.training_set)
    data = PackedDataset(config.training_set, config.data_root, config.context)
    steps = total_steps(config, len(data))
    recipe = training_recipe(config, batch, training_set, steps, gpu=device.type == "cuda")
    if config.offload:
        optimizer_offload.require_async_io()
    resumed = _find_checkpoint(config, recipe)
    engine = _start_engine(config, batch, training_set, device, recipe, resumed)
    logger = _open_logger(config, resumed, steps) if dist.get_rank() == 0 else None
    monitor = LossMonitor(config.early_stop, config.divergence_steps)
    for row in broadcast_from_rank0(lambda: read_metrics(config.output)):
        monitor.add(row)
    tokens = training_set.open_tokens(config.data_root)
    validation = validation_blocks(training_set, tokens, config.context, config.evaluation_blocks)
    runner = StepRunner(config, batch, engine, data, torch.from_numpy(validation), device)
    return _Run(config, steps, recipe, LearningRateSchedule.of(config, steps), runner, monitor, logger), resumed


def _find_checkpoint(config: TrainConfig, recipe: Recipe) -> checkpoint.Checkpoint | None:
    """Return the checkpoint to resume from; if there is none, clear the run directory for a new run."""
    root, rank = config.output / CHECKPOINTS, dist.get_rank()
    if rank == 0:
        # The checkpoints of a killed run hold its offloaded states too.
        _remove_offloaded_states(config.output)
        checkpoint.remove_leftovers(root)
    resumed = broadcast_from_rank0(lambda: checkpoint.find_resumable(root, config.data_root, _warn))
    if resumed is not None:
        checkpoint.require_same_training(resumed, {**recipe.settings, **recipe.inputs})
    elif rank == 0:
        _clear(config.output)
    return resumed


def _start_engine(
    config: TrainConfig,
    batch: BatchSizes,
    training_set: TrainingSet,
    device: torch.device,
    recipe: Recipe,
    resumed: checkpoint.Checkpoint | None,
) -> Any:
    convert = resumed is not None and needs_conversion(recipe.settings, resumed.recipe)
    engine = build_engine(config, batch, training_set, device, load_universal=convert)
    if resumed is not None:
        checkpoint.load(engine, resumed, config.seed)
    return engine


def _open_logger(config: TrainConfig, resumed: checkpoint.Checkpoint | None, steps: int) -> MetricsLogger:
    return MetricsLogger(
        config.output,
        done=resumed.step if resumed else 0,
        steps=steps,
        peak_speed=config.peak_tokens_per_second,
        planned_mfu=config.planned_mfu,
        wandb_project=config.wandb_project,
    )


def _start_message(run: _Run, resumed: checkpoint.Checkpoint | None) -> str:
    config, settings, start = run.config, run.recipe.settings, "training for"
    if resumed is not None:
        changes = ", ".join(
            f"{name} {resumed.recipe.get(name)} → {settings[name]}"
            for name in PARALLELISM_SETTINGS
            if resumed.recipe.get(name) != settings[name]
        )
        note = f" (losses are the same up to rounding: {changes})" if changes else ""
        start = f"resuming after step {resumed.step:,}{note} of"
    return (
        f"{config.model}: {whole_parameter_count(run.runner.engine.module):,} parameters, {start} {run.steps:,} steps "
        f"of {config.global_batch} x {config.context} tokens on {run.runner.batch.world_size} {run.runner.device.type} "
        "process(es)"
    )


def _clear(output: Path) -> None:
    """Remove the results of a run that cannot be resumed, so that they are not taken for those of the new one."""
    (output / RESULT).unlink(missing_ok=True)
    (output / TIMING).unlink(missing_ok=True)
    shutil.rmtree(output / MODEL, ignore_errors=True)


def _remove_offloaded_states(output: Path) -> None:
    shutil.rmtree(output / optimizer_offload.DIRECTORY, ignore_errors=True)


def _warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
