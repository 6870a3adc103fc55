"""How a training run ends before its last step."""

from jgpt_dagster.errors import JgptError


class TrainingError(JgptError):
    """A run that cannot start or continue."""


class TrainingInterrupted(Exception):
    """A process that received SIGTERM and saved a checkpoint before ending."""
