"""Language model: planning, tokenizer, token files, model, training, evaluation and release. Imports no Dagster.

From Python: `from jgpt_dagster import lm`, then `lm.Tokenizer.open` and `lm.Release.open` (see `public`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jgpt_dagster.lm.public import Release, Tokenizer

__all__ = ["Release", "Tokenizer"]


def __getattr__(name: str) -> Any:
    """Return what is public, which is imported when it is first used: stages import parts of this package alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jgpt_dagster.lm import public

    return getattr(public, name)
