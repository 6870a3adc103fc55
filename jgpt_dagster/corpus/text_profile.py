"""The two text profiles: `seed`, the published recipe to the letter, and `clean`, which fixes its known faults."""

from typing import Literal, get_args

TextProfile = Literal["seed", "clean"]


def require_profile(name: str) -> None:
    """Raise ValueError unless there is a text profile of this name."""
    if name not in get_args(TextProfile):
        raise ValueError(f"no text profile is called {name!r}, only {' and '.join(get_args(TextProfile))}")
