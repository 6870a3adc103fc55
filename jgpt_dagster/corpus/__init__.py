"""The corpus: from dumps and archives to segmented sentences. Imports neither Dagster nor torch.

From Python: `from jgpt_dagster import corpus`, then `corpus.clean_wikitext`, `corpus.sentences`, `corpus.segment`,
`corpus.join_words` and `corpus.read_dump` (see `public`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jgpt_dagster.corpus.public import Article, clean_wikitext, join_words, read_dump, segment, sentences

__all__ = ["Article", "clean_wikitext", "join_words", "read_dump", "segment", "sentences"]


def __getattr__(name: str) -> Any:
    """Return what is public, which is imported when it is first used: stages import parts of this package alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jgpt_dagster.corpus import public

    return getattr(public, name)
