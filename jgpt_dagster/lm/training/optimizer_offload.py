"""DeepSpeed's settings for optimizer states on disk (ZeRO-Infinity), for models whose states do not fit in memory.

The fp32 weights, moments and gradients are in files, and one sub-group at a time in memory: each step reads and writes
them all.
"""

from pathlib import Path
from typing import Any

from jgpt_dagster.errors import JgptError

DIRECTORY = "offload"
"""Directory of the states, below the run directory."""

# Parameters whose states are in memory at a time, in four buffers: weight, two moments and gradient.
SUB_GROUP_SIZE = 50_000_000
BUFFER_COUNT = 4
# Parameters that DeepSpeed gathers ahead and keeps, beside the model's own, and gradients that it reduces at a time.
MAX_LIVE_PARAMETERS = 100_000_000
REDUCE_BUCKET_SIZE = 50_000_000


class OffloadError(JgptError):
    """This host cannot keep optimizer states on disk."""


def zero_settings(run: Path) -> dict[str, Any]:
    """Return the `zero_optimization` settings of DeepSpeed that keep states on disk, below a run directory."""
    target = {"device": "nvme", "nvme_path": str(run / DIRECTORY), "pin_memory": False, "buffer_count": BUFFER_COUNT}
    return {
        "offload_optimizer": target,
        "sub_group_size": SUB_GROUP_SIZE,
        "stage3_max_live_parameters": MAX_LIVE_PARAMETERS,
        "stage3_max_reuse_distance": MAX_LIVE_PARAMETERS,
        "reduce_bucket_size": REDUCE_BUCKET_SIZE,
    }


def require_async_io() -> None:
    """Raise OffloadError if DeepSpeed's asynchronous file access cannot be built."""
    from deepspeed.ops.op_builder import AsyncIOBuilder

    if not AsyncIOBuilder().is_compatible(verbose=False):
        raise OffloadError(
            "offload needs libaio's headers and a C++ compiler, with which DeepSpeed builds its async_io once (some "
            "minutes): install libaio-dev (Debian) or libaio-devel, and g++"
        )
