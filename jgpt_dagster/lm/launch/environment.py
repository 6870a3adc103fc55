"""The environment variables of training processes."""

import os
import socket

from jgpt_dagster.lm.launch.gpus import has_gpu
from jgpt_dagster.runtime.resource_limits import available_cores


def training_environment(processes: int, *, on_cpu: bool = False) -> dict[str, str]:
    """Return the environment of `processes` training processes a host: this process's own, plus missing defaults.

    `on_cpu` keeps training off the GPUs of this host.
    """
    defaults = {
        # For plain python, which DeepSpeed would otherwise take for an MPI job. Launchers set them for each process.
        **{"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())},
        **({} if has_gpu() else {"DS_ACCELERATOR": "cpu"}),
        "OMP_NUM_THREADS": str(max(1, available_cores() // processes)),
        # A thread that spins while it waits takes the core that another one needs: ten times slower on a machine that
        # has other work too.
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **os.environ, **({"DS_ACCELERATOR": "cpu"} if on_cpu else {})}


def free_port() -> int:
    """Return a TCP port of this host that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
