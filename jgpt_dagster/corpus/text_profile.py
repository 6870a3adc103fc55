"""The two text profiles: `seed`, the published recipe to the letter, and `clean`, the recipe with its known faults fixed."""

from typing import Literal

TextProfile = Literal["seed", "clean"]
