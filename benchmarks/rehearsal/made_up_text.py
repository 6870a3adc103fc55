"""Text of any length from a few real pages, in which distinct words grow as they do in real text.

Blocks of the source are drawn at random, and each of their katakana words is exchanged for a made-up one, whose rank is
drawn from the Zipf-Mandelbrot law p(r) ~ (r + q)^-a. With a = 1/beta, the distinct words of N drawn ones grow as N^beta
(Heaps' law; https://doi.org/10.1371/journal.pone.0014139 gives the relation).

beta and K of Heaps' law V(N) = K N^beta are those of the articles of jawiki 2025-08-01 that come first in its dump, in
random order, with the default segmenter: 1,095,852 words, 57,144 of them distinct (`heaps.py` prints the fit). q makes
the made-up words, a share of `_SLOTS` of all words, give that K: the number of distinct words among n draws is
Gamma(1 - beta) ((a - 1) q^(a - 1) n)^beta.
"""

import re
from collections.abc import Iterable
from math import gamma

import numpy as np

HEAPS_BETA, HEAPS_K = 0.674, 4.90
_SLOTS = 0.059
"""The share of katakana words in all words of the articles named above."""

_A = 1 / HEAPS_BETA
_Q = ((HEAPS_K / gamma(1 - HEAPS_BETA)) ** _A / ((_A - 1) * _SLOTS)) ** (1 / (_A - 1))

_KANA = (
    "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロ"
    "ガギグゲゴザジズゼゾダデドバビブベボパピプペポ"
)

# Names of templates, files and categories are not text: another name would be another thing.
_WORD_OR_NAME = re.compile(r"\{\{[^|{}]*|\[\[[^|\[\]:]{1,12}:[^|\[\]]*|<[^>]*>|([ァ-ヺー]{3,})")


class TextBlock:
    """A piece of text whose katakana words can be exchanged."""

    def __init__(self, text: str) -> None:
        self._parts = [""]
        end = 0
        for match in _WORD_OR_NAME.finditer(text):
            if match[1]:
                self._parts[-1] += text[end : match.start()]
                self._parts.append("")
            else:
                self._parts[-1] += text[end : match.end()]
            end = match.end()
        self._parts[-1] += text[end:]
        self.size = len(text.encode())
        """Bytes of the text as it was read."""

    def disguised(self, random: np.random.Generator) -> str:
        """Return the text with words drawn from `random` in the places of its katakana words."""
        text = [self._parts[0]]
        for rank, part in zip(draw_ranks(random, len(self._parts) - 1), self._parts[1:], strict=True):
            text += (made_up_word(rank), part)
        return "".join(text)


class TextBlocks:
    """Blocks to draw from."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._blocks = [TextBlock(text) for text in texts]
        self._mean_size = sum(block.size for block in self._blocks) / len(self._blocks)

    def draw(self, random: np.random.Generator, size: float) -> list[TextBlock]:
        """Return randomly drawn blocks, at least one, that have `size` bytes together or a little more."""
        drawn: list[TextBlock] = []
        while size > 0:
            for index in random.integers(len(self._blocks), size=max(1, int(size / self._mean_size))):
                drawn.append(self._blocks[index])
                size -= drawn[-1].size
                if size <= 0:
                    break
        return drawn


def draw_ranks(random: np.random.Generator, count: int) -> list[int]:
    """Return `count` ranks, 0 or more, drawn from the Zipf-Mandelbrot law by inversion of its distribution."""
    ranks: list[int] = (_Q * (random.random(count) ** (-1 / (_A - 1)) - 1)).clip(max=2**53).astype(np.int64).tolist()
    return ranks


def made_up_word(rank: int) -> str:
    """Return a katakana word of three signs or more, another one for each rank."""
    signs, number = "", rank + len(_KANA) ** 2
    while number:
        number, sign = divmod(number, len(_KANA))
        signs += _KANA[sign]
    return signs


def log_normal(random: np.random.Generator, mean: float, median: float, maximum: float) -> float:
    """Return a length in bytes from a log-normal distribution of this mean and median, cut at `maximum`."""
    return float(min(maximum, median * np.exp(np.sqrt(2 * np.log(mean / median)) * random.standard_normal())))
