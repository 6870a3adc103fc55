"""A training program that carries out several runs one after the other, so that libraries are imported only once.

What is wrong with one is printed, and the next one begins.

`python -m jgpt_dagster_tests.support.train_many CONFIG.json …`, under a launcher or plain python.
"""

import os
import sys
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.training.train_config import read_config

if __name__ == "__main__":
    os.environ.update(training_environment(processes=1))
    from jgpt_dagster.lm.training.distributed import init_distributed
    from jgpt_dagster.lm.training.trainer import StopRequest, train_distributed

    configs = [read_config(Path(path)) for path in sys.argv[1:]]
    device = init_distributed(configs[0].stall_seconds)
    for config in configs:
        try:
            train_distributed(config, device, StopRequest())
        except JgptError as error:
            print(f"{config.output.name}: {error}")
