"""The training plan: the steps, memory, hours and cost of a training run, before it starts."""

from dataclasses import dataclass

from jgpt_dagster.lm.planning.hardware import GB, GIB, Hardware
from jgpt_dagster.lm.planning.memory import ProcessMemory, estimate_memory
from jgpt_dagster.lm.planning.training_layout import TrainingLayout
from jgpt_dagster.lm.planning.workload import Workload
from jgpt_dagster.lm.training.train_config import TrainConfig, total_steps, uses_bf16

# Reported for models of this size on such GPUs: 40 % (llm-foundry, H100) to 60 % (llm-foundry, A100).
DEFAULT_MFU = 0.4


# A GPU starts kernels one after the other: in less time than this, a model of two layers is not through. Below it, the
# peak FLOP/s say nothing about the speed.
_SHORTEST_MICRO_STEP = 0.01


@dataclass(frozen=True)
class TrainingPlan:
    """A training run laid out on a machine.

    `train_tokens` is the size of the training set. `mfu` is the expected share of the peak FLOP/s, `price` is per
    GPU-hour.
    """

    config: TrainConfig
    hardware: Hardware
    layout: TrainingLayout
    vocab_size: int
    train_tokens: int
    mfu: float = DEFAULT_MFU
    price: float | None = None

    @property
    def workload(self) -> Workload:
        """The sizes of the model and the batch."""
        return Workload.of(self.config, self.vocab_size)

    @property
    def memory(self) -> ProcessMemory:
        """Bytes that one process needs."""
        return estimate_memory(self.workload, self.hardware, self.layout)

    @property
    def bf16(self) -> bool:
        """Whether the run computes in bf16 rather than fp32."""
        return uses_bf16(self.config.dtype, gpu=self.hardware.device.gpu)

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return total_steps(self.config, max(0, self.train_tokens - 1) // self.config.context)

    @property
    def tokens(self) -> int:
        """Tokens over all steps."""
        return self.steps * self.config.global_batch * self.config.context

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes on disk of the checkpoints that are kept and the one that is being written."""
        # Weights in the dtype of the run, a master copy in fp32 and two moments.
        bytes_per_parameter = (2 if self.bf16 else 4) + 3 * 4
        return (self.config.keep_checkpoints + 1) * bytes_per_parameter * self.workload.parameters

    @property
    def peak_tokens_per_second(self) -> float | None:
        """Tokens per second over all processes at the peak FLOP/s, an MFU of 1; None if the peak is unknown."""
        peak = self.hardware.device.peak(bf16=self.bf16)
        return None if peak is None else peak * self.hardware.world / self.workload.flops_per_token

    @property
    def tokens_per_second(self) -> float | None:
        """Expected tokens per second over all processes; None if the peak is unknown."""
        peak = self.peak_tokens_per_second
        return None if peak is None else self.mfu * peak

    @property
    def hours(self) -> float | None:
        """Hours of training steps, without start-up, validation and checkpoints; None if the peak is unknown."""
        speed = self.tokens_per_second
        return None if speed is None else self.tokens / speed / 3600

    def rows(self) -> list[tuple[str, str]]:
        """Return the plan as rows of a table: quantity and figure."""
        workload, memory = self.workload, self.memory
        rows = [
            ("model", f"{self.config.model}, {workload.parameters:,} parameters"),
            ("hardware", self.hardware.name),
            ("layout", str(self.layout)),
            ("tokens", f"{self.tokens:,}"),
            ("steps", f"{self.steps:,}"),
            ("FLOP a token", f"{workload.flops_per_token:.4g}"),
            *((f"GiB a process: {part}", _figure(size / GIB)) for part, size in vars(memory).items()),
            ("GiB a process", f"{_figure(memory.total / GIB)} of {self.hardware.device.memory / GIB:.2f}"),
            ("checkpoints on disk", f"{_figure(self.checkpoint_bytes / GB, 1)} GB"),
        ]
        if self.layout.offload:
            # Weights in fp32, two moments and gradients.
            rows.append(("optimizer on disk", f"{_figure(4 * 4 * workload.parameters / GB, 1)} GB"))
        if self.hours is None or self.tokens_per_second is None:
            device = self.hardware.device.name if self.bf16 else f"{self.hardware.device.name} in fp32"
            return [*rows, ("time", f"unknown: no peak FLOP/s of {device} is in the table")]
        micro_step = self.layout.micro_batch * self.config.context * self.hardware.world / self.tokens_per_second
        if micro_step < _SHORTEST_MICRO_STEP:
            why = f"arithmetic would take {1000 * micro_step:.2g} ms a micro step, starting it takes longer"
            return [*rows, ("time", f"unknown: {why}; measure some steps")]
        gpu_hours = self.hours * self.hardware.world
        cost = [] if self.price is None else [("cost", f"{gpu_hours * self.price:,.2f} at {self.price:g} a GPU-hour")]
        return [
            *rows,
            ("tokens/s", f"{_count(self.tokens_per_second)} at an MFU of {100 * self.mfu:.3g}%"),
            ("time", duration_words(3600 * self.hours)),
            ("GPU-hours", _count(gpu_hours, 1)),
            *cost,
        ]


def duration_words(seconds: float) -> str:
    """Return a time in the unit that suits it, such as `40 s`, `12 min`, `7.5 hours` or `9.1 days`."""
    for size, unit, places in ((86_400, "days", 1), (3_600, "hours", 1), (60, "min", 0)):
        # Two days are easier to think of as hours.
        if seconds >= size * (2 if unit == "days" else 1):
            return f"{seconds / size:,.{places}f} {unit}"
    return f"{max(1, round(seconds))} s"


def _count(value: float, places: int = 0) -> str:
    """Return a number with separators of thousands, or with two digits if that would say less."""
    return f"{value:,.{places}f}" if value >= 1 else f"{value:.2g}"


def _figure(value: float, places: int = 2) -> str:
    """Return a number with some decimals, or with two digits if that would say less."""
    return f"{value:.{places}f}" if value >= 0.1 else f"{value:.2g}"
