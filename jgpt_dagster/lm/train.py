"""The training program: `python -m jgpt_dagster.lm.train CONFIG.json`, under deepspeed, torchrun or plain python.

CONFIG.json is a `TrainConfig`. The same command resumes an interrupted run. Exit codes: 0 finished, 1 failed with a
message, 143 ended by SIGTERM after saving a checkpoint.
"""

import os
import sys
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.process_group import EXIT_INTERRUPTED, die_with_launcher
from jgpt_dagster.lm.training.train_config import read_config


def main(arguments: list[str]) -> int:
    """Train with the configuration file that is the only argument; return the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    die_with_launcher()
    os.environ.update(training_environment(processes=1))
    try:
        config = read_config(Path(arguments[0]))
        # Only now: torch and DeepSpeed read the environment when they are imported.
        from jgpt_dagster.lm.training.errors import TrainingInterrupted
        from jgpt_dagster.lm.training.trainer import train

        try:
            train(config)
        except TrainingInterrupted as interruption:
            _print_error(str(interruption))
            return EXIT_INTERRUPTED
    except JgptError as error:
        _print_error(f"error: {error}")
        return 1
    return 0


def _print_error(message: str) -> None:
    """Print a message with the rank of its process: some errors occur in one process only."""
    prefix = "" if os.environ["RANK"] == "0" else f"process {os.environ['RANK']}: "
    print(prefix + message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
