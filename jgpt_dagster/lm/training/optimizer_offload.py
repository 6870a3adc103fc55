"""Optimizer states on disk: DeepSpeed's settings for it, and what DeepSpeed leaves out when it resumes.

Weights in fp32, moments and gradients lie in files and are in memory in turn, a portion at a time (ZeRO-Infinity). It
is for a machine whose memory does not hold a model's states: each step reads and writes them all.
"""

from pathlib import Path
from typing import Any

from jgpt_dagster.errors import JgptError

DIRECTORY = "offload"
"""Directory of a run in which the states lie."""

# Numbers whose states are in memory at a time, each with four buffers: weight, two moments and gradient.
PORTION = 50_000_000
BUFFERS = 4
# Numbers of the model's weights that DeepSpeed gathers ahead and keeps, beside the weights themselves, and of gradients
# that it reduces at a time.
LIVE = 100_000_000
BUCKET = 50_000_000


class OffloadError(JgptError):
    """States that cannot be kept on disk here."""


def zero_settings(run: Path) -> dict[str, Any]:
    """Return the part of DeepSpeed's `zero_optimization` settings that keeps states on disk, below a run directory."""
    place = {"device": "nvme", "nvme_path": str(run / DIRECTORY), "pin_memory": False, "buffer_count": BUFFERS}
    return {
        "offload_optimizer": place,
        "sub_group_size": PORTION,
        "stage3_max_live_parameters": LIVE,
        "stage3_max_reuse_distance": LIVE,
        "reduce_bucket_size": BUCKET,
    }


def require_async_io() -> None:
    """Raise OffloadError where DeepSpeed's reader and writer of files cannot be built."""
    from deepspeed.ops.op_builder import AsyncIOBuilder

    if not AsyncIOBuilder().is_compatible(verbose=False):
        raise OffloadError(
            "offload needs libaio's headers and a C++ compiler, with which DeepSpeed builds its async_io once (some "
            "minutes): install libaio-dev (Debian) or libaio-devel, and g++"
        )


def restore(engine: Any, states: Path) -> None:
    """Complete what `engine.load_checkpoint` restored of a checkpoint whose states were on disk.

    `states` is this process's file of optimizer states, known to be whole. DeepSpeed 0.19 copies the files of
    offloaded tensors back and then skips this file. So without this, Adam's step counters begin at zero, its moments
    too, since nothing says that they are in files, and what is too small for a file stays as it was initialised.
    """
    import torch
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum

    zero = engine.optimizer
    with torch.serialization.safe_globals([LossScaler, ZeroStageEnum]):
        saved = torch.load(states, map_location="cpu", weights_only=True)["optimizer_state_dict"]
    masters, adam = saved["fp32_flat_groups"], saved["optimizer_state_dict"]["state"]
    # The optimizer counts its parameters group by group.
    by_group = sorted(range(len(masters)), key=lambda portion: zero.sub_group_to_group_id[portion])
    for index, portion in enumerate(by_group):
        master = zero.fp32_partitioned_groups_flat[portion]
        if not zero._swappable_optimizer_subgroup(portion):
            master.data.copy_(masters[portion])
            zero.optimizer.state[master] = adam[index]
            # The weights that the model computes with follow; those of the others have.
            zero._reassign_or_swap_out_partitioned_parameters(portion)
            continue
        numbers = int(zero.fp16_partitioned_groups_flat_numel[portion])
        zero.optimizer.state[master] = {
            name: value if name == "step" else torch.zeros(numbers) for name, value in adam[index].items()
        }
        # Registers the moments, by the names under which their files were copied, and lets go of the zeros.
        zero.optimizer_swapper._get_param_swap_info(master)
        zero.optimizer_swapper.release_swap_buffers(master)
