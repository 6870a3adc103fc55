"""The text in which phrases are looked for: what the tokens of a document stand for, line by line.

A phrase is normalised as the text is. It does not cross the end of a line, unless it has a line end there itself.
"""

from collections.abc import Iterable, Sequence

from jgpt_dagster.corpus.text.segment import restore_text, split_document
from jgpt_dagster.corpus.text_profile import TextProfile


def searched_text(lines: Iterable[str], profile: TextProfile) -> str:
    """Return the normalised text of a document, given its cleaned lines, each line ending in a line feed.

    Under `seed` it has no spaces, as its tokens have none.
    """
    return searched_segmented(split_document(lines, profile), profile)


def searched_segmented(lines: Sequence[Sequence[str]], profile: TextProfile) -> str:
    """Return the same for a document that is split into sentences, or sentences and words."""
    if profile == "clean":
        return restore_text([list(line) for line in lines])
    return "".join("".join(line).replace(" ", "") + "\n" for line in lines)


def searched_phrase(phrase: str, profile: TextProfile) -> str:
    """Return a phrase as it stands in a searched text; empty if nothing of it is left."""
    return searched_text(phrase.splitlines(), profile).removesuffix("\n")
