"""The group of processes that carries out a training run: how a process joins it, and on which device it computes.

Import this only after `train` has set up the environment: DeepSpeed reads it when it is imported.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar, cast

import deepspeed
import torch
import torch.distributed as dist

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.gpus import gpu_count
from jgpt_dagster.lm.training.deepspeed_engine import TrainingError

T = TypeVar("T")


def init_distributed(stall_seconds: float) -> torch.device:
    """Join the process group and return the device of this process.

    Communication gives up later than a watchdog of `stall_seconds`, which has more to say. Raises what
    `select_device` raises.
    """
    deepspeed.utils.logger.setLevel("WARNING")
    device = select_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        # DeepSpeed would compile its shared-memory transport now, which takes minutes; gloo does without.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    timeout = timedelta(seconds=2 * stall_seconds + 60)
    deepspeed.init_distributed(verbose=False, timeout=timeout)
    # DeepSpeed reduces over a group of its own, for which torch takes its default (NCCL: 10 minutes) and not that of
    # the first group.
    deepspeed.comm.comm.cdb.new_group = partial(dist.new_group, timeout=timeout)
    return device


def select_device() -> torch.device:
    """Return the device of this process, of the kind that `training_environment` has told DeepSpeed.

    Raises TrainingError where that is a GPU and PyTorch cannot use it.
    """
    if os.environ.get("DS_ACCELERATOR") == "cpu" or not (torch.cuda.is_available() or gpu_count()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TrainingError(_why_no_gpu())
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def broadcast_from_rank0(find: Callable[[], T]) -> T:
    """Let the first process find something, and tell the others. A JgptError there is raised in all of them."""
    found: list[T | JgptError | None] = [None]
    if dist.get_rank() == 0:
        try:
            found = [find()]
        except JgptError as error:
            found = [error]
    dist.broadcast_object_list(found)
    if isinstance(found[0], JgptError):
        raise found[0]
    return cast(T, found[0])


def _why_no_gpu() -> str:
    try:
        torch.cuda.init()
        reason = "no device answers"
    except Exception as error:
        reason = str(error)
    return (
        f"this host has GPUs, but PyTorch {torch.__version__} cannot use them: {reason.rstrip('.')}. Install a build "
        "of PyTorch for the driver that nvidia-smi shows, or a newer driver; CUDA_VISIBLE_DEVICES= trains on the CPU."
    )
