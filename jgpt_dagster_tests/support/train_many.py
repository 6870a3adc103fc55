"""A training program that trains several runs one after the other, so that libraries are imported only once.

`python -m jgpt_dagster_tests.support.train_many CONFIG.json …`, under a launcher or plain python. Before each run it
prints `run NAME`; the error of a run is printed too, and the next one starts. `output_of` finds what a run printed.
"""

import os
import re
import sys
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.training.train_config import read_config


def output_of(run: str, output: str) -> str:
    """Return what the runs of a name printed, of the output of this program."""
    parts = re.split(r"^run (\S+)$", output, flags=re.MULTILINE)
    return "".join(text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name == run)


if __name__ == "__main__":
    os.environ.update(training_environment(processes=1))
    from jgpt_dagster.lm.training.distributed import init_distributed
    from jgpt_dagster.lm.training.stop_request import StopRequest
    from jgpt_dagster.lm.training.trainer import train_distributed

    configs = [read_config(Path(path)) for path in sys.argv[1:]]
    device = init_distributed(configs[0].stall_seconds)
    for config in configs:
        if os.environ["RANK"] == "0":
            print(f"run {config.output.name}", flush=True)
        try:
            train_distributed(config, device, StopRequest())
        except JgptError as error:
            if os.environ["RANK"] == "0":
                print(f"error: {error}", flush=True)
