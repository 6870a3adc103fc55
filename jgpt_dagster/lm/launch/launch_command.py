"""The command line that starts the training program: under DeepSpeed's launcher, torchrun or plain python."""

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from jgpt_dagster.lm.launch.environment import free_port
from jgpt_dagster.lm.launch.gpus import has_gpu, visible_gpus
from jgpt_dagster.lm.launch.process_group import LaunchError

TRAINING_MODULE = "jgpt_dagster.lm.train"


def launch_command(
    launcher: Literal["deepspeed", "torchrun", "python"], processes: int, config: Path, hostfile: Path | None = None
) -> list[str]:
    """Return the command that trains with a configuration file in `processes` processes (on each host of `hostfile`).

    Launchers are started as modules of the running interpreter, so that they are found even if its `bin` directory is
    not on PATH. The `deepspeed` command is not used: given a number of processes, it ignores CUDA_VISIBLE_DEVICES and
    takes the first GPUs of the machine. Raises LaunchError if the launcher cannot do what is asked.
    """
    program = [TRAINING_MODULE, str(config)]
    if hostfile is not None:
        if launcher != "deepspeed":
            raise LaunchError(f"a hostfile needs the deepspeed launcher, not {launcher}")
        _require_first_gpus(processes)
        return [sys.executable, "-m", "jgpt_dagster.lm.launch.multi_node", str(hostfile), str(processes), *program]
    if launcher == "deepspeed":
        devices = {"localhost": _local_devices(processes)}
        return [sys.executable, "-u", *deepspeed_launcher_arguments(devices, 0, "127.0.0.1", free_port()), *program]
    if launcher == "torchrun":
        options = ["--standalone", f"--nproc-per-node={processes}"]
        return [sys.executable, "-m", "torch.distributed.run", *options, "-m", *program]
    if processes != 1:
        raise LaunchError(f"launcher python runs one process, not {processes}; use deepspeed or torchrun")
    return [sys.executable, "-m", *program]


def deepspeed_launcher_arguments(
    devices: Mapping[str, Sequence[int | str]], node_rank: int, address: str, port: int | str
) -> list[str]:
    """Return the interpreter's arguments that start one host's part of a run under DeepSpeed's launcher.

    `devices` lists those of the processes of each host; processes meet at `address` and `port`. The module to run and
    its arguments follow.
    """
    world_info = json.dumps({host: list(ids) for host, ids in devices.items()})
    return [
        "-m",
        "deepspeed.launcher.launch",
        f"--world_info={base64.urlsafe_b64encode(world_info.encode()).decode()}",
        f"--node_rank={node_rank}",
        f"--master_addr={address}",
        f"--master_port={port}",
        "--no_local_rank",
        "--quiet",
        "--module",
    ]


def _local_devices(processes: int) -> Sequence[int | str]:
    """Return the devices of the processes on this host. Raises LaunchError if too few GPUs are visible."""
    visible = visible_gpus()
    if visible is None or not has_gpu():
        return range(processes)
    if len(visible) < processes:
        raise LaunchError(
            f"CUDA_VISIBLE_DEVICES={','.join(visible)} names {len(visible)} GPUs for {processes} processes. Name as "
            "many GPUs, or set JGPT_PROCESSES to fewer."
        )
    return visible[:processes]


def _require_first_gpus(processes: int) -> None:
    """Raise LaunchError if CUDA_VISIBLE_DEVICES names other GPUs than the first, which every host of a run takes."""
    visible = visible_gpus()
    if visible and visible[:processes] != [str(gpu) for gpu in range(processes)]:
        raise LaunchError(
            f"CUDA_VISIBLE_DEVICES={','.join(visible)} selects GPUs of this host only; on each host of a hostfile a "
            f"run takes the first {processes}. Unset it and list only hosts whose first GPUs are yours; JGPT_PROCESSES "
            "sets how many a host uses."
        )
