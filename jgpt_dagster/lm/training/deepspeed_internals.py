"""Every private attribute of DeepSpeed that training reads or replaces, and the check that they exist.

Nothing else in the package touches DeepSpeed's internals: a new release is checked against this module alone.
"""

import io
import pkgutil
from argparse import Namespace
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from jgpt_dagster.lm.training.errors import TrainingError

CHECKED_VERSIONS = ">=0.19,<0.20"
"""The releases whose internals are known to be as used here; the package requires the same."""

_ENGINE = "deepspeed.runtime.engine.DeepSpeedEngine"
_ZERO3 = "deepspeed.runtime.zero.stage3.DeepSpeedZeroOptimizer_Stage3"
_SWAPPER = "deepspeed.runtime.swap_tensor.partitioned_optimizer_swapper.PartitionedOptimizerSwapper"
# All in modules that `import deepspeed` has imported anyway.
REQUIRED = (
    "deepspeed.comm.comm.cdb",
    "deepspeed.comm.torch.TorchBackend.new_group",
    "deepspeed.checkpoint.ds_to_universal.main",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    f"{_ENGINE}._get_zero_ckpt_name",
    f"{_ENGINE}.load_universal_checkpoint",
    f"{_ENGINE}.zero_nvme_offload_optimizer",
    f"{_ZERO3}._swappable_optimizer_subgroup",
    f"{_ZERO3}._reassign_or_swap_out_partitioned_parameters",
    f"{_SWAPPER}._get_param_swap_info",
    f"{_SWAPPER}.release_swap_buffers",
)
# Asking for it makes DeepSpeed try every operator it could compile, which only a run on a CPU does anyway.
REQUIRED_ON_CPU = ("deepspeed.ops.__compatible_ops__",)
# Attributes that only objects have, not their classes.
_OF_ENGINE = ("enable_backward_allreduce",)
_OF_OFFLOADED_OPTIMIZER = (
    "sub_group_to_group_id",
    "fp32_partitioned_groups_flat",
    "fp16_partitioned_groups_flat_numel",
    "optimizer_swapper",
)


def require_internals(*, gpu: bool) -> None:
    """Raise TrainingError, naming them, if the installed DeepSpeed lacks attributes that training uses."""
    _require(name for name in REQUIRED + (() if gpu else REQUIRED_ON_CPU) if not _exists(name))


def require_engine_internals(engine: Any, *, offload: bool) -> None:
    """Raise TrainingError, naming them, if a new engine or its optimizer lacks attributes that training uses."""
    missing = [f"{_ENGINE}().{name}" for name in _OF_ENGINE if not hasattr(engine, name)]
    if offload:
        missing += [f"{_ZERO3}().{name}" for name in _OF_OFFLOADED_OPTIMIZER if not hasattr(engine.optimizer, name)]
    _require(missing)


def disable_shared_memory_transport() -> None:
    """Let CPU processes communicate through gloo: DeepSpeed would compile a transport of its own, for minutes."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def set_group_timeout(timeout: timedelta) -> None:
    """Give the process groups that DeepSpeed creates this timeout, instead of torch's default (NCCL: 10 minutes)."""
    import deepspeed

    deepspeed.comm.comm.cdb.new_group = partial(dist.new_group, timeout=timeout)


def skip_gradient_reduction(engine: Any) -> None:
    """Leave out the sum of gradients over processes, for which one process would copy them to a buffer and back."""
    engine.enable_backward_allreduce = False


def whole_shape(parameter: torch.nn.Parameter) -> torch.Size:
    """Return the shape of a parameter, which ZeRO-3 may have divided among the processes."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape


def whole_parameter_count(module: torch.nn.Module) -> int:
    """Return the number of parameters of a module, which ZeRO-3 may have divided among the processes."""
    return sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in module.parameters())


def convert_to_universal(source: Path, target: Path) -> None:
    """Convert a checkpoint's engine files, whose hashes are known to match, to DeepSpeed's universal format."""
    from deepspeed.checkpoint import ds_to_universal

    options = Namespace(
        input_folder=str(source),
        output_folder=str(target),
        # One worker: each process of a pool would import torch again.
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        ds_to_universal.main(options)


def restore_offloaded_states(engine: Any, checkpoint: Path, tag: str) -> None:
    """Complete what `engine.load_checkpoint` restored of a valid checkpoint whose optimizer states were on disk.

    DeepSpeed 0.19 copies the files of offloaded tensors back, then skips this process's file of optimizer states.
    Without it, Adam's step counters and moments would start at zero (nothing says that the moments are in files), and
    tensors too small for a file would stay as initialized.
    """
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum

    zero, states = engine.optimizer, engine._get_zero_ckpt_name(str(checkpoint), tag)
    with torch.serialization.safe_globals([LossScaler, ZeroStageEnum]):
        saved = torch.load(states, map_location="cpu", weights_only=True)["optimizer_state_dict"]
    masters, adam = saved["fp32_flat_groups"], saved["optimizer_state_dict"]["state"]
    # The optimizer numbers its parameters group by group.
    by_group = sorted(range(len(masters)), key=lambda sub_group: zero.sub_group_to_group_id[sub_group])
    for index, sub_group in enumerate(by_group):
        master = zero.fp32_partitioned_groups_flat[sub_group]
        if not zero._swappable_optimizer_subgroup(sub_group):
            master.data.copy_(masters[sub_group])
            zero.optimizer.state[master] = adam[index]
            # Updates the weights that the model computes with; those of swapped sub-groups are up to date.
            zero._reassign_or_swap_out_partitioned_parameters(sub_group)
            continue
        size = int(zero.fp16_partitioned_groups_flat_numel[sub_group])
        zero.optimizer.state[master] = {
            name: value if name == "step" else torch.zeros(size) for name, value in adam[index].items()
        }
        # Registers the moments under the names of their copied files, and releases the zeros.
        zero.optimizer_swapper._get_param_swap_info(master)
        zero.optimizer_swapper.release_swap_buffers(master)


def _exists(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def _require(missing: Iterable[str]) -> None:
    if names := ", ".join(missing):
        raise TrainingError(
            f"DeepSpeed {version('deepspeed')} lacks {names}, which training uses; it works with DeepSpeed "
            f"{CHECKED_VERSIONS}. Run: pip install 'deepspeed{CHECKED_VERSIONS}'"
        )
