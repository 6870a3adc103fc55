"""The process group of a training run: how a process joins it, and on which device it computes.

Import this only after `train` has set up the environment: DeepSpeed reads it when it is imported.
"""

import os
from collections.abc import Callable
from datetime import timedelta

import deepspeed
import torch

from jgpt_dagster.lm.launch.gpus import gpu_count
from jgpt_dagster.lm.training import deepspeed_internals
from jgpt_dagster.lm.training.errors import TrainingError
from jgpt_dagster.lm.training.rendezvous import choose_rendezvous


def init_distributed(stall_seconds: float) -> torch.device:
    """Join the process group and return the device of this process.

    Communication times out later than a watchdog of `stall_seconds`, whose message is more helpful. Raises
    TrainingError if PyTorch cannot use this host's GPUs or DeepSpeed lacks internals that training uses.
    """
    deepspeed.utils.logger.setLevel("WARNING")
    device = select_device()
    deepspeed_internals.require_internals(gpu=device.type == "cuda")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        deepspeed_internals.disable_shared_memory_transport()
    timeout = timedelta(seconds=2 * stall_seconds + 60)
    deepspeed.init_distributed(verbose=False, timeout=timeout, init_method=choose_rendezvous())
    deepspeed_internals.set_group_timeout(timeout)
    return device


def select_device() -> torch.device:
    """Return the device of this process, of the type that `training_environment` set for DeepSpeed.

    Raises TrainingError if that is a GPU which PyTorch cannot use.
    """
    if os.environ.get("DS_ACCELERATOR") == "cpu" or not (torch.cuda.is_available() or gpu_count()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TrainingError(_gpu_error_message())
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def _gpu_error_message() -> str:
    try:
        initialize: Callable[[], None] = torch.cuda.init  # untyped
        initialize()
        reason = "no device answers"
    except Exception as error:
        reason = str(error)
    return (
        f"this host has GPUs, but PyTorch {torch.__version__} cannot use them: {reason.rstrip('.')}. Install a build "
        "of PyTorch for the driver that nvidia-smi shows, or a newer driver; CUDA_VISIBLE_DEVICES= trains on the CPU."
    )
