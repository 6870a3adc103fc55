"""How a model is laid out on a machine, and the bytes that each process needs for it, by part.

The arithmetic is checked against DeepSpeed's estimators and against what PyTorch was seen to keep.
"""

from dataclasses import dataclass, fields

from jgpt_dagster.lm.model.presets import Preset
from jgpt_dagster.lm.planning.hardware import GIB, Hardware, HardwareError
from jgpt_dagster.lm.training import optimizer_offload
from jgpt_dagster.lm.training.train_config import Dtype, require_fp32_gradient_sums, uses_bf16

# Of a device's memory, what a plan may use: the rest is for the CUDA context, NCCL and fragmentation.
USABLE = 0.9
# DeepSpeed's default for the gradients that it reduces at a time; two of them where communication overlaps, and one
# of fp32 where ZeRO-1 computes in bf16.
BUCKET = 500_000_000


@dataclass(frozen=True)
class Layout:
    """What the hardware decides about a run; it moves results by rounding errors alone."""

    zero_stage: int
    micro_batch: int
    activation_checkpointing: bool
    compile: bool
    offload: bool = False

    def __str__(self) -> str:
        switches = {
            "activation checkpointing": self.activation_checkpointing,
            "torch.compile": self.compile,
            "optimizer on disk": self.offload,
        }
        named = "".join(f", {name}" for name, on in switches.items() if on)
        return f"ZeRO-{self.zero_stage}, micro batch {self.micro_batch}{named}"


LAYOUT_FIELDS = tuple(field.name for field in fields(Layout))


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at the peak of a step, by part."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    buffers: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        parts = " + ".join(f"{field.name} {getattr(self, field.name) / GIB:.2f}" for field in fields(self))
        return f"{parts} = {self.total / GIB:.2f} GiB"


def parameter_count(shape: Preset, vocab_size: int, context: int) -> int:
    """Return the parameters of a GPT-2 with tied embeddings: those, L blocks of 12H² + 13H, the last layer norm."""
    width = shape.width
    return (vocab_size + context) * width + shape.layers * (12 * width**2 + 13 * width) + 2 * width


def memory(
    shape: Preset, vocab_size: int, context: int, hardware: Hardware, layout: Layout, dtype: Dtype = "auto"
) -> Memory:
    """Return the bytes that one process needs.

    Weights, gradients and optimizer states: Rajbhandari et al., "ZeRO" (2020), with the fp32 sums of gradients that
    DeepSpeed keeps in bf16 training. Activations: Korthikanti et al., "Reducing Activation Recomputation in Large
    Transformer Models" (2022), equations 1 and 4 without dropout masks and, since attention is fused, without T² terms.
    """
    count = parameter_count(shape, vocab_size, context)
    bf16 = uses_bf16(dtype, gpu=hardware.device.gpu)
    number = 2 if bf16 else 4
    stage, world = layout.zero_stage, hardware.world
    share = -(-count // world) if stage else count
    if bf16:
        gathered = 4 * vocab_size * shape.width
        states = {
            "weights": 2 * count if stage < 3 else 2 * share + gathered,
            "gradients": 6 * count if stage < 2 else 6 * share,
            "optimizer": 12 * share,
        }
    else:
        states = {
            "weights": 4 * (count if stage < 3 else share),
            "gradients": 4 * count + (4 * share if stage else 0) if stage < 3 else 8 * share,
            "optimizer": (12 if stage else 8) * share,
        }
    if layout.offload:
        largest = max(optimizer_offload.SUB_GROUP_SIZE, vocab_size * shape.width)
        states |= {"gradients": 4 * share, "optimizer": optimizer_offload.BUFFER_COUNT * 4 * largest}
    tokens = layout.micro_batch * context
    buckets = min(BUCKET, count) * number * (2 if hardware.device.gpu or bf16 else 1)
    return Memory(
        **states,
        activations=number * tokens * shape.width * _kept_of_a_token(shape.layers, layout),
        # The logits in the dtype of the model, and in fp32: themselves, their softmax, and the gradient of both.
        logits=tokens * vocab_size * ((2 + 2) if bf16 else 0) + 12 * tokens * vocab_size,
        buffers=number * (optimizer_offload.MAX_LIVE_PARAMETERS + optimizer_offload.REDUCE_BUCKET_SIZE)
        if layout.offload
        else buckets
        if stage and world > 1
        else 0,
    )


def _kept_of_a_token(layers: int, layout: Layout) -> int:
    """Return how many vectors of the model's width are kept of each token for the backward pass.

    A block keeps 16: the inputs of two layer norms, of query/key/value, of the projection, of the MLP (1 + 4 + 4 for
    its activation function and second layer), query, key and value. With
    checkpointing only a block's input is kept, and one block is computed again at a time.
    """
    block = 16
    return layers + block if layout.activation_checkpointing else layers * block


def fit_layout(
    shape: Preset,
    vocab_size: int,
    context: int,
    global_batch: int,
    hardware: Hardware,
    *,
    zero_stage: int | None = None,
    micro_batch: int | None = None,
    activation_checkpointing: bool | None = None,
    compile: bool | None = None,
    offload: bool | None = None,
    dtype: Dtype = "auto",
) -> Layout:
    """Return the fastest layout that fits, with what is given taken as it is.

    Recomputing activations costs a third more computing, ZeRO-2 and 3 more communication, a small micro batch idle
    units: they are taken in that order of reluctance. Optimizer states go to disk only where that is given. Raises
    HardwareError with the arithmetic of the smallest layout where none fits, or where the batch cannot be divided, and
    TrainConfigError for bf16 without ZeRO.
    """
    share, rest = divmod(global_batch, hardware.world)
    if rest:
        raise HardwareError(
            f"global_batch {global_batch} cannot be divided over the {hardware.world} processes of {hardware.name}: "
            f"make it a multiple of {hardware.world}"
        )
    micros = [micro_batch] if micro_batch else _divisors(share, shape.micro_batch)
    if offload and zero_stage not in (None, 3):
        raise HardwareError(f"offload needs zero_stage 3, not {zero_stage}")
    require_fp32_gradient_sums(zero_stage, dtype, gpu=hardware.device.gpu)
    # Without ZeRO there is one copy of the weights less, and on a CPU, whose memory is large, none of its overhead.
    without_zero = not hardware.device.gpu and not uses_bf16(dtype, gpu=False)
    by_need = [3] if offload else [0, 1, 2, 3] if without_zero else [1, 2, 3]
    stages = by_need if zero_stage is None else [zero_stage]
    checkpointing = [False, True] if activation_checkpointing is None else [activation_checkpointing]
    compiled = hardware.device.gpu if compile is None else compile
    room = int(USABLE * hardware.device.memory / (1 if hardware.device.gpu else hardware.processes))
    for recompute in checkpointing:
        for stage in stages:
            for micro in micros:
                layout = Layout(stage, micro, recompute, compiled and stage < 3, bool(offload))
                needed = memory(shape, vocab_size, context, hardware, layout, dtype)
                if needed.total <= room:
                    return layout
    raise HardwareError(
        f"the model does not fit {hardware.name}, even with {layout}: each process needs {needed}, and may use "
        f"{room / GIB:.2f} GiB ({USABLE:.0%} of its memory). "
        + (
            "Take more or larger GPUs, a smaller model or a shorter context."
            if hardware.device.gpu
            else "Take a GPU, a smaller model, a shorter context, or offload: true."
        )
    )


def _divisors(share: int, most: int) -> list[int]:
    """Return the micro batches that divide a process's share of the batch, the largest first."""
    return [size for size in range(min(share, most), 0, -1) if share % size == 0]
