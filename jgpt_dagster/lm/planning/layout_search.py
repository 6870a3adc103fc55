"""The choice of a training layout: the fastest one that fits the memory of a machine."""

from collections.abc import Iterator

from jgpt_dagster.lm.planning.hardware import GIB, Hardware, HardwareError
from jgpt_dagster.lm.planning.memory import estimate_memory
from jgpt_dagster.lm.planning.training_layout import LayoutConstraints, TrainingLayout
from jgpt_dagster.lm.planning.workload import Workload
from jgpt_dagster.lm.training.train_config import require_fp32_gradient_sums, uses_bf16

# Share of a device's memory that a run may use. The rest is for the CUDA context, NCCL and fragmentation.
USABLE_MEMORY = 0.9

_UNCONSTRAINED = LayoutConstraints()


def fastest_layout(
    workload: Workload, hardware: Hardware, constraints: LayoutConstraints = _UNCONSTRAINED
) -> TrainingLayout:
    """Return the fastest layout that meets the constraints and fits.

    Recomputing activations costs a third more compute, ZeRO-2 and 3 cost communication, and a small micro batch leaves
    units idle: the search gives up speed in the reverse order. Optimizer states go to disk only if the constraints say
    so.

    Raises HardwareError if no layout fits, with the arithmetic of the smallest one, or if the batch cannot be divided,
    and TrainConfigError for bf16 without ZeRO.
    """
    if workload.global_batch % hardware.world:
        raise HardwareError(
            f"global_batch {workload.global_batch} cannot be divided over the {hardware.world} processes of "
            f"{hardware.name}: make it a multiple of {hardware.world}"
        )
    if constraints.offload and constraints.zero_stage not in (None, 3):
        raise HardwareError(f"offload needs zero_stage 3, not {constraints.zero_stage}")
    require_fp32_gradient_sums(constraints.zero_stage, workload.dtype, gpu=hardware.device.gpu)
    usable = _usable_memory(hardware)
    for layout in _candidates(workload, hardware, constraints):
        memory = estimate_memory(workload, hardware, layout)
        if memory.total <= usable:
            return layout
    raise HardwareError(
        f"the model does not fit {hardware.name}, even with {layout}: each process needs {memory}, and may use "
        f"{usable / GIB:.2f} GiB ({USABLE_MEMORY:.0%} of its memory). "
        + (
            "Use more or larger GPUs, a smaller model or a shorter context."
            if hardware.device.gpu
            else "Use a GPU, a smaller model, a shorter context, or offload: true."
        )
    )


def _candidates(workload: Workload, hardware: Hardware, constraints: LayoutConstraints) -> Iterator[TrainingLayout]:
    """Yield the layouts that meet the constraints, from the fastest to the smallest."""
    stages, micro_batches, checkpointing = (
        _zero_stages(workload, hardware, constraints),
        _micro_batches(workload, hardware, constraints),
        (False, True) if constraints.activation_checkpointing is None else (constraints.activation_checkpointing,),
    )
    compiled = hardware.device.gpu if constraints.compile is None else constraints.compile
    for recompute in checkpointing:
        for stage in stages:
            for micro_batch in micro_batches:
                yield TrainingLayout(stage, micro_batch, recompute, compiled and stage < 3, bool(constraints.offload))


def _zero_stages(workload: Workload, hardware: Hardware, constraints: LayoutConstraints) -> list[int]:
    if constraints.zero_stage is not None:
        return [constraints.zero_stage]
    if constraints.offload:
        return [3]
    # Without ZeRO there is one copy of the weights less. A CPU has the memory for that, and is spared ZeRO's overhead.
    on_cpu_in_fp32 = not hardware.device.gpu and not uses_bf16(workload.dtype, gpu=False)
    return [0, 1, 2, 3] if on_cpu_in_fp32 else [1, 2, 3]


def _micro_batches(workload: Workload, hardware: Hardware, constraints: LayoutConstraints) -> list[int]:
    """Return the micro batches that divide a process's part of the global batch, the largest first."""
    if constraints.micro_batch:
        return [constraints.micro_batch]
    sequences = workload.global_batch // hardware.world
    largest = min(sequences, workload.max_micro_batch)
    return [size for size in range(largest, 0, -1) if sequences % size == 0]


def _usable_memory(hardware: Hardware) -> int:
    """Return the bytes that one process may use. The processes of a host share the memory of its CPU."""
    sharing = 1 if hardware.device.gpu else hardware.processes
    return int(USABLE_MEMORY * hardware.device.memory / sharing)
