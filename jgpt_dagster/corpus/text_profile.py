"""The two text profiles: `seed`, the published recipe to the letter, and `clean`, which fixes its known faults."""

from typing import Literal

TextProfile = Literal["seed", "clean"]
