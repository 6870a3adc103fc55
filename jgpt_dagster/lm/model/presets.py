"""The model presets: the size of each GPT-2 and its recommended learning rate, batch and context."""

from dataclasses import dataclass
from typing import Literal

from jgpt_dagster.errors import JgptError

GPT2_INITIALIZER_RANGE = 0.02
"""Standard deviation of GPT-2's initial weights (Radford et al., 2019)."""

PresetName = Literal["tiny", "small", "medium", "large", "xl"]


class ModelError(JgptError):
    """A model preset or a saved model that does not exist."""


@dataclass(frozen=True)
class Preset:
    """The size of a model, and the default settings of its training.

    `context` is in tokens; `global_batch` (of a step, over all processes) and `micro_batch` (that a process holds at a
    time) are in sequences of `context` tokens. `initializer_range` is the standard deviation of the initial weights.
    `steps` is the length of a run; None is one epoch.
    """

    layers: int
    width: int
    heads: int
    context: int
    learning_rate: float
    global_batch: int
    micro_batch: int
    initializer_range: float = GPT2_INITIALIZER_RANGE
    steps: int | None = None


# Learning rates from Brown et al., "Language Models are Few-Shot Learners" (2020), table 2.1, for the nearest size.
# `xl` has the 20 heads of the published recipe; GPT-2's own 1.5B has 25. `tiny` was found by search on two CPU cores:
# of the sizes that see some four million tokens within ten minutes, it has the best held-out loss on a few megabytes.
# Its initial weights too (docs/speedrun.md): GPT-2's are for widths of 768 to 1600.
PRESETS = {
    "tiny": Preset(2, 128, 4, 128, 5e-3, 8, 8, initializer_range=0.06, steps=4000),
    "small": Preset(12, 768, 12, 1024, 6e-4, 512, 32),
    "medium": Preset(24, 1024, 16, 1024, 3e-4, 512, 16),
    "large": Preset(36, 1280, 20, 1024, 2.5e-4, 512, 16),
    "xl": Preset(48, 1600, 20, 1024, 2e-4, 512, 8),
}


def preset(name: str) -> Preset:
    """Return a preset. Raises ModelError, listing the names, if there is none of this name."""
    if name not in PRESETS:
        raise ModelError(f"there is no model {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
