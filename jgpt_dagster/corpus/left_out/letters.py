"""Counting letters and digits, which tidying of blanks, brackets and punctuation leaves as they are."""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise

import numpy as np

# Letters beyond these two planes are the ideographs of planes 2 and 3.
_FIRST_PLANES, _IDEOGRAPHS_END = 0x20000, 0x323B0


@cache
def _is_letter() -> np.ndarray:
    """Return a table by code point. Its last entry stands for all code points beyond it."""
    table = np.ones(_IDEOGRAPHS_END + 1, np.bool_)
    table[:_FIRST_PLANES] = [*map(str.isalnum, map(chr, range(_FIRST_PLANES)))]
    table[-1] = False
    return table


def count_letters(texts: Sequence[str]) -> list[int]:
    """Return the number of letters and digits, of any script, in each text."""
    if not texts:
        return []
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    letters = _is_letter().take(codes, mode="clip")
    ends = [*accumulate(map(len, texts))]
    return [int(np.count_nonzero(letters[start:end])) for start, end in pairwise([0, *ends])]
