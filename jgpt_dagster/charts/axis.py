"""A linear axis: where a value lies in pixels, and the round values that label it."""

import math

_SMALLEST = 1e-100
"""What is smaller is nothing: its quotients would be 0."""


class Axis:
    """A scale from values to pixels over all values from `low` to `high`; `first` and `last` are their pixels.

    The axis reaches the next round value below `low`, and above `high` unless it ends with its data. Equal ends get a
    span.
    """

    def __init__(
        self, low: float, high: float, first: int, last: int, ticks: int = 4, *, ends_with_data: bool = False
    ) -> None:
        """`ticks` is about how many round values are labelled; an axis that ends with its data ends at `high`."""
        largest = max(abs(low), abs(high))
        if high - low <= max(1e-9 * largest, _SMALLEST):
            margin = largest / 2 if largest > _SMALLEST else 0.5
            low, high = low - margin, high + margin
        self._spacing = _round_up((high - low) / ticks)
        self._low = math.floor(low / self._spacing + 1e-9) * self._spacing
        self._high = high if ends_with_data else math.ceil(high / self._spacing - 1e-9) * self._spacing
        self._first, self._last = first, last

    def place(self, value: float) -> int:
        """Return the pixel of a value."""
        share = (value - self._low) / (self._high - self._low)
        return round(self._first + share * (self._last - self._first))

    def ticks(self) -> list[float]:
        """Return the round values of the axis, ends included that are round."""
        count = math.floor((self._high - self._low) / self._spacing + 1e-9)
        # Rounded, because 3 * 0.1 is not 0.3.
        return [float(f"{self._low + number * self._spacing:.12g}") for number in range(count + 1)]


def in_words(top: float) -> tuple[float, str]:
    """Return by what to divide the values of an axis up to `top`, and the word that its title then needs."""
    for divisor, word in ((1e9, "billions"), (1e6, "millions")):
        if top >= divisor:
            return divisor, f", {word}"
    return 1.0, ""


def tick_text(value: float, divisor: float = 1.0) -> str:
    """Return a value of an axis as text, with separators between thousands."""
    shown = f"{value / divisor:,.10g}"
    return "0" if shown == "-0" else shown


def _round_up(span: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is at least `span`."""
    unit = 10.0 ** math.floor(math.log10(span))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= span * (1 - 1e-9))
