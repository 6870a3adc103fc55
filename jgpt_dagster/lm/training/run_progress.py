"""How far a training run is, from the names in its directory alone: which checkpoints there are, without PyTorch."""

from pathlib import Path

from jgpt_dagster.lm.training.metrics_files import RESULT

CHECKPOINTS = "checkpoints"
CHECKPOINT_PREFIX = "step="

FINAL_CHECKPOINT = "checkpoint"
"""Key among the counts of a model: `step` of the checkpoint that its weights come from, and `sha256` of its data."""


def checkpoint_directories(root: Path) -> list[Path]:
    """Return the checkpoints below `root`, oldest first, unverified."""
    return sorted(path for path in root.glob(f"{CHECKPOINT_PREFIX}*") if path.is_dir())


def step_of(path: Path) -> int:
    """Return the step of a checkpoint's directory."""
    return int(path.name.removeprefix(CHECKPOINT_PREFIX))


def interruption(run: Path, command: str) -> str:
    """Return what to know of an unfinished run: at which step it was interrupted, and the command that goes on.

    Empty if it has finished or not begun.
    """
    if not run.is_dir() or (run / RESULT).exists():
        return ""
    found = checkpoint_directories(run / CHECKPOINTS)
    if not found:
        return f"interrupted before its first checkpoint, starts again with: {command}"
    return f"interrupted at step {step_of(found[-1]):,}, goes on with: {command}"
