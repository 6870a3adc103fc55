"""The bounds of a pydantic field in words, for errors: pydantic itself names only the one that a value breaks."""

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_BOUND_ERRORS = frozenset({"greater_than_equal", "greater_than", "less_than_equal", "less_than", "finite_number"})


def problem_text(problem: ErrorDetails, field: FieldInfo | None) -> str:
    """Return what is wrong with a value, with both bounds of the field if the value breaks one of them."""
    if field is not None and problem["type"] in _BOUND_ERRORS and (bounds := _bounds(field)):
        return f"{problem['msg']} (allowed: {bounds})"
    return problem["msg"].removeprefix("Value error, ")  # pydantic's label of a validator of this package


def _bounds(field: FieldInfo) -> str:
    found = [
        f"{words} {value:,}"
        for name, words in _WORDS.items()
        for part in field.metadata
        if (value := getattr(part, name, None)) is not None
    ]
    return " and ".join(found)
