"""The training program: `python -m jgpt_dagster.lm.train CONFIG.json`, under deepspeed, torchrun or plain python.

CONFIG.json is a `TrainConfig`. The same command resumes an interrupted run. Exit codes: 0 finished, 1 failed with a
message, 143 ended by SIGTERM after saving a checkpoint.
"""

import os
import sys
import threading
import traceback
from pathlib import Path

from jgpt_dagster.causes import cause_of
from jgpt_dagster.causes.libraries import LOST_PEER
from jgpt_dagster.causes.report import Kind, Report
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.process_group import EXIT_INTERRUPTED, die_with_launcher
from jgpt_dagster.lm.training.errors import TrainingInterrupted
from jgpt_dagster.lm.training.train_config import read_config


def main(arguments: list[str]) -> int:
    """Train with the configuration file that is the only argument; return the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    die_with_launcher()
    threading.excepthook = _tell_of_thread
    os.environ.update(training_environment(processes=1))
    try:
        config = read_config(Path(arguments[0]))
        # Only now: torch and DeepSpeed read the environment when they are imported.
        from jgpt_dagster.lm.training.trainer import train

        train(config)
    except TrainingInterrupted as interruption:
        _report("interrupted", str(interruption))
        return EXIT_INTERRUPTED
    except Exception as error:
        cause = cause_of(error)
        if cause is None:
            traceback.print_exc()
            _report("crashed", "".join(traceback.format_exception_only(error)).strip())
        else:
            _report("lost peer" if cause == LOST_PEER else "failed", cause)
        return 1
    return 0


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Print why a thread of a library has ended, such as a tracker's that writes to a full disk."""
    cause = ended.exc_value and cause_of(ended.exc_value)
    if cause is None:
        threading.__excepthook__(ended)
    else:
        print(f"warning: {cause}", file=sys.stderr, flush=True)


def _report(kind: Kind, cause: str) -> None:
    """Print why this process ends, with its rank (some errors occur in one process only), and report it."""
    rank = int(os.environ["RANK"])
    error = "" if kind == "interrupted" else "error: "
    print(f"{f'process {rank}: ' if rank else ''}{error}{cause}", file=sys.stderr, flush=True)
    Report(kind, cause, rank).send()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
