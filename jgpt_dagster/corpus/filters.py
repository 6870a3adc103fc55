"""What a web document must be like to be kept, told from the document alone: its length, its script, its repetition.

The rules are those of Gopher (Rae et al. 2021, appendix A.1) on length and repetition and of the NINJAL Web Japanese
Corpus (nwc-toolkit) on script, with milder thresholds: what a person would read as ordinary text stays.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jgpt_dagster.corpus.ngrams import code_points, distinct, ngram_hashes

Fault = tuple[str, str]
"""The reason to drop a document, in a word, and the figure that led to it."""

# Ten words of Gopher's longest rule: a word of the JUMAN standard has two characters on average.
_NGRAM = 20

# Inclusive ranges of code points: CJK punctuation and kana, han (with extension A), full- and half-width forms.
_HIRAGANA = ((0x3041, 0x309F),)
_JAPANESE = ((0x3000, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xFF00, 0xFFEF))


class DocumentFilters(BaseModel):
    """The thresholds. A document is dropped by the first that it fails, in this order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_characters: int = Field(
        default=50, ge=0, description="Shorter documents are dropped as too_short; line ends do not count."
    )
    minimum_japanese: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Least share of kana, kanji, Japanese punctuation and full-width signs; below: not_japanese.",
    )
    minimum_hiragana: float = Field(
        default=0.05, ge=0, le=1, description="Least share of hiragana, of which Chinese has none; below: not_japanese."
    )
    maximum_repeated_lines: float = Field(
        default=0.3, ge=0, le=1, description="Greatest share of lines that repeat an earlier one; above: repetitive."
    )
    maximum_repeated_ngrams: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description=f"Greatest share of {_NGRAM}-grams of characters that repeat an earlier one; above: repetitive.",
    )

    def fault(self, lines: Sequence[str]) -> Fault | None:
        """Return why a document is to be dropped, or None. Spaces at the ends of its lines count as characters."""
        points = code_points("".join(lines))
        characters = len(points)
        if characters < self.minimum_characters:
            return "too_short", f"{characters} characters"
        if characters and (share := _share(points, _JAPANESE)) < self.minimum_japanese:
            return "not_japanese", f"{share:.3f} of its characters are Japanese"
        if characters and (share := _share(points, _HIRAGANA)) < self.minimum_hiragana:
            return "not_japanese", f"{share:.3f} of its characters are hiragana"
        if (share := 1 - len(set(lines)) / len(lines)) > self.maximum_repeated_lines:
            return "repetitive", f"{share:.3f} of its lines repeat an earlier one"
        ngrams = ngram_hashes(points, _NGRAM)
        if (share := 1 - distinct(ngrams) / len(ngrams)) > self.maximum_repeated_ngrams:
            return "repetitive", f"{share:.3f} of its {_NGRAM}-grams repeat an earlier one"
        return None


def _share(points: np.ndarray, ranges: Sequence[tuple[int, int]]) -> float:
    """Return the share of code points within any of the ranges."""
    within = sum(np.count_nonzero((points >= first) & (points <= last)) for first, last in ranges)
    return float(within / len(points))
