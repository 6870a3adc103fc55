"""The training layout: how a run is spread over a machine's devices, and which parts of that may be prescribed."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class TrainingLayout:
    """The settings that the hardware decides. They change results by rounding errors only."""

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
        enabled = "".join(f", {name}" for name, on in switches.items() if on)
        return f"ZeRO-{self.zero_stage}, micro batch {self.micro_batch}{enabled}"


LAYOUT_FIELDS = tuple(field.name for field in fields(TrainingLayout))


@dataclass(frozen=True)
class LayoutConstraints:
    """The fields of a `TrainingLayout` that are prescribed; None leaves the choice to `fastest_layout`."""

    zero_stage: int | None = None
    micro_batch: int | None = None
    activation_checkpointing: bool | None = None
    compile: bool | None = None
    offload: bool | None = None
