"""Experiment trackers: TensorBoard and, on request, Weights & Biases.

Both get each step once, however often a run is resumed.
"""

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from jgpt_dagster.errors import JgptError

TENSORBOARD = "tensorboard"
_TENSORBOARD_SECONDS = 10
_WANDB_RUN = "wandb-run"
# Figures only: no output, no code, nothing about the machine.
_WANDB_SETTINGS: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "disable_code": True,
    "disable_git": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class TrackerError(JgptError):
    """A requested tracker is unavailable."""


class Tracker(Protocol):
    """Something that plots figures over steps."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Record the figures of one step."""

    def close(self) -> None:
        """Write out what is buffered, and close."""


def open_trackers(run: Path, done: int, wandb_project: str | None) -> list[Tracker]:
    """Return the trackers of a run that continues after step `done`, 0 for a new one.

    Raises TrackerError if a Weights & Biases project is given but W&B is unavailable.
    """
    wandb = [_Wandb(run, done, wandb_project)] if wandb_project else []  # first, since it may fail
    return [*wandb, _TensorBoard(run / TENSORBOARD, done)]


class _TensorBoard:
    """Event files that make readers discard what earlier files have after step `done`."""

    def __init__(self, directory: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if not done:
            shutil.rmtree(directory, ignore_errors=True)
        self._writer = SummaryWriter(str(directory), purge_step=done + 1, flush_secs=_TENSORBOARD_SECONDS)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """One run of a W&B project, which a resumed training continues. Only figures leave the machine.

    W&B ignores steps that it already has; a resumed training repeats them with the same figures.
    """

    def __init__(self, run: Path, done: int, project: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise TrackerError(
                f"wandb_project is {project}, but wandb is not installed. Run: pip install 'jgpt-dagster[wandb]'"
            ) from error
        id_file = run / _WANDB_RUN
        if not (done and id_file.exists()):
            id_file.write_text(uuid.uuid4().hex)
        try:
            self._run = wandb.init(
                project=project,
                id=id_file.read_text(),
                name=f"{run.parent.name} {run.name}",
                resume="allow",
                dir=run,
                settings=wandb.Settings(**_WANDB_SETTINGS),
            )
        except wandb.Error as error:
            raise TrackerError(
                f"W&B project {project}: {error}. Log in with `wandb login`, set WANDB_MODE=offline and upload with "
                "`wandb sync` later, or leave wandb_project out."
            ) from error

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        import wandb

        self._run.finish()
        # Otherwise its service process would outlive the training.
        wandb.teardown()
