"""Quality filters: the per-document thresholds of length, script and repetition that a web document must meet.

The rules on length and repetition are those of Gopher (Rae et al. 2021, appendix A.1), the rule on script that of the
NINJAL Web Japanese Corpus (nwc-toolkit), with milder thresholds: what a person reads as ordinary text stays.
"""

import sys
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jgpt_dagster.corpus.duplicates.character_ngrams import code_points, distinct, ngram_hashes

DropReason = tuple[str, str]
"""Why a document is dropped: the name of the reason, and the figure behind it."""

# Gopher's longest rule uses 10-grams of words; a word of the JUMAN standard averages two characters.
_NGRAM = 20

_OTHER, _HIRAGANA, _OTHER_JAPANESE = range(3)


def _scripts() -> np.ndarray:
    """Return the script of each code point."""
    scripts = np.full(sys.maxunicode + 1, _OTHER, np.uint8)
    # CJK punctuation and kana, han with extensions A, B and later, compatibility forms, full- and half-width forms.
    for first, last in ((0x3000, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF)):
        scripts[first : last + 1] = _OTHER_JAPANESE
    scripts[0x20000:0x30000] = _OTHER_JAPANESE
    scripts[0x3041:0x30A0] = _HIRAGANA
    return scripts


_SCRIPTS = _scripts()


class QualityFilters(BaseModel):
    """The thresholds, in the order of checking. The first one that a document fails is its drop reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_characters: int = Field(
        default=50,
        ge=0,
        le=1_000_000_000,
        description="Shorter documents are dropped as too_short; line ends do not count.",
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

    def drop_reason(self, lines: Sequence[str]) -> DropReason | None:
        """Return why a document is dropped, or None. Spaces at the ends of its lines count as characters."""
        points = code_points("".join(lines))
        characters = len(points)
        if characters < self.minimum_characters:
            return "too_short", f"{characters} characters"
        scripts = np.bincount(_SCRIPTS[points], minlength=3) / max(characters, 1)
        if (share := scripts[_HIRAGANA] + scripts[_OTHER_JAPANESE]) < self.minimum_japanese:
            return "not_japanese", f"{share:.3f} of its characters are Japanese"
        if (share := scripts[_HIRAGANA]) < self.minimum_hiragana:
            return "not_japanese", f"{share:.3f} of its characters are hiragana"
        if (share := 1 - len(set(lines)) / len(lines)) > self.maximum_repeated_lines:
            return "repetitive", f"{share:.3f} of its lines repeat an earlier one"
        ngrams = ngram_hashes(points, _NGRAM)
        if (share := 1 - distinct(ngrams) / len(ngrams)) > self.maximum_repeated_ngrams:
            return "repetitive", f"{share:.3f} of its {_NGRAM}-grams repeat an earlier one"
        return None
