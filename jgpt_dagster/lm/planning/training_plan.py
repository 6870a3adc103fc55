"""What a training run will cost before it starts, and how a run that has ended compares with that."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jgpt_dagster.lm.model.presets import PRESETS, Preset
from jgpt_dagster.lm.planning.hardware import GB, GIB, Hardware
from jgpt_dagster.lm.planning.memory import LAYOUT_FIELDS, Layout, Memory, fit_layout, memory, parameter_count
from jgpt_dagster.lm.training.metrics_files import RESULT, total_throughput
from jgpt_dagster.lm.training.train_config import TrainConfig, total_steps, uses_bf16

# Seen with models of this size on such GPUs: 40 % (llm-foundry, H100) to 60 % (llm-foundry, A100).
MFU = 0.4


@dataclass(frozen=True)
class Plan:
    """A run on a machine, in bf16 or fp32. `mfu` is the share of the peak that is expected; `price` is per GPU-hour."""

    model: str
    hardware: Hardware
    bf16: bool
    layout: Layout
    memory: Memory
    parameters: int
    flops_per_token: float
    tokens: int
    steps: int
    checkpoint_bytes: int
    mfu: float
    price: float | None

    @property
    def tokens_per_second(self) -> float | None:
        """Over all processes; None where the peak is not known."""
        peak = self.peak_tokens_per_second
        return None if peak is None else self.mfu * peak

    @property
    def peak_tokens_per_second(self) -> float | None:
        """What the peak FLOP/s of all devices would do, which is the speed at an MFU of 1."""
        peak = self.hardware.device.peak(bf16=self.bf16)
        return None if peak is None else peak * self.hardware.world / self.flops_per_token

    @property
    def hours(self) -> float | None:
        """Hours of training, without start, validation and checkpoints."""
        speed = self.tokens_per_second
        return None if speed is None else self.tokens / speed / 3600

    def rows(self) -> list[tuple[str, str]]:
        """Return the plan as lines of a table: what, and how much."""
        rows = [
            ("model", f"{self.model}, {self.parameters:,} parameters"),
            ("hardware", self.hardware.name),
            ("layout", str(self.layout)),
            ("tokens", f"{self.tokens:,}"),
            ("steps", f"{self.steps:,}"),
            ("FLOP a token", f"{self.flops_per_token:.4g}"),
            *((f"GiB a process: {part}", f"{size / GIB:.2f}") for part, size in vars(self.memory).items()),
            ("GiB a process", f"{self.memory.total / GIB:.2f} of {self.hardware.device.memory / GIB:.2f}"),
            ("checkpoints on disk", f"{self.checkpoint_bytes / GB:.1f} GB"),
        ]
        if self.layout.offload:
            # Weights in fp32, two moments and gradients.
            rows.append(("optimizer on disk", f"{16 * self.parameters / GB:.1f} GB"))
        if self.hours is None or self.tokens_per_second is None:
            of = self.hardware.device.name if self.bf16 else f"{self.hardware.device.name} in fp32"
            return [*rows, ("hours", f"unknown: no peak FLOP/s of {of} is in the table")]
        gpu_hours = self.hours * self.hardware.world
        cost = [] if self.price is None else [("cost", f"{gpu_hours * self.price:,.2f} at {self.price:g} a GPU-hour")]
        return [
            *rows,
            ("tokens/s", f"{self.tokens_per_second:,.0f} at an MFU of {self.mfu:.0%}"),
            ("hours", f"{self.hours:,.2f}"),
            ("GPU-hours", f"{gpu_hours:,.2f}"),
            *cost,
        ]


def make_training_plan(
    config: TrainConfig,
    hardware: Hardware,
    layout: Layout,
    *,
    vocab_size: int,
    train_tokens: int,
    mfu: float = MFU,
    price: float | None = None,
) -> Plan:
    """Plan a run of `config` over a training set of `train_tokens` tokens."""
    shape = PRESETS[config.model]
    steps = total_steps(config, max(0, train_tokens - 1) // config.context)
    parameters = parameter_count(shape, vocab_size, config.context)
    bf16 = uses_bf16(config.dtype, gpu=hardware.device.gpu)
    numbers = 4 * 3 + (2 if bf16 else 4)
    return Plan(
        model=config.model,
        hardware=hardware,
        bf16=bf16,
        layout=layout,
        memory=memory(shape, vocab_size, config.context, hardware, layout, config.dtype),
        parameters=parameters,
        flops_per_token=flops_per_token(shape, parameters, config.context),
        tokens=steps * config.global_batch * config.context,
        steps=steps,
        # The one that is being written lies beside those that are kept.
        checkpoint_bytes=(config.keep_checkpoints + 1) * numbers * parameters,
        mfu=mfu,
        price=price,
    )


def choose_layout(config: TrainConfig, hardware: Hardware, vocab_size: int, given: Mapping[str, object]) -> Layout:
    """Return the layout of a run on a machine; raises HardwareError where it does not fit. `given` is not changed."""
    choices: dict[str, Any] = {name: given.get(name) for name in LAYOUT_FIELDS}
    shape = PRESETS[config.model]
    return fit_layout(shape, vocab_size, config.context, config.global_batch, hardware, dtype=config.dtype, **choices)


def flops_per_token(shape: Preset, parameters: int, context: int) -> float:
    """Return the FLOPs of forward and backward a token: 6N + 12LHT.

    Chowdhery et al., "PaLM" (2022), appendix B; what activation checkpointing computes twice is not counted.
    """
    return 6 * parameters + 12 * shape.layers * shape.width * context


def actual_rows(plan: Plan, run: Path) -> list[tuple[str, str, str]]:
    """Return plan and outcome of a run that has ended, side by side; no rows where the run left no timings.

    Hours and speed are over all its starts.
    """
    timing = total_throughput(run)
    if timing is None:
        return []
    seconds, speed = timing
    result = json.loads((run / RESULT).read_text())
    written = sum(file.stat().st_size for file in (run / "checkpoints").rglob("*") if file.is_file())
    peak = plan.peak_tokens_per_second
    return [
        ("tokens", f"{plan.tokens:,}", f"{result['tokens']:,}"),
        ("steps", f"{plan.steps:,}", f"{result['steps']:,}"),
        ("tokens/s", _figure(plan.tokens_per_second, ",.0f"), f"{speed:,.0f}"),
        *([] if peak is None else [("MFU", f"{plan.mfu:.1%}", f"{speed / peak:.1%}")]),
        ("hours", _figure(plan.hours, ",.2f"), f"{seconds / 3600:,.2f}"),
        ("checkpoints, GB", f"{plan.checkpoint_bytes / GB:.2f}", f"{written / GB:.2f}"),
    ]


def actual_speed(plan: Plan, run: Path) -> dict[str, float]:
    """Return tokens_per_second and, where the peak is known, mfu over all starts of a run; empty without timings."""
    timing, peak = total_throughput(run), plan.peak_tokens_per_second
    if timing is None:
        return {}
    _, speed = timing
    return {"tokens_per_second": round(speed, 1), **({} if peak is None else {"mfu": round(speed / peak, 4)})}


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
