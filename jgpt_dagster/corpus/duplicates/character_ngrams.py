"""Hashes of character n-grams, for counting and sketching them without a string object for each."""

import numpy as np

# Knuth's multiplicative constant for 64 bits, 2^64 divided by the golden ratio.
_MULTIPLIER = 0x9E3779B97F4A7C15
_MODULUS = 1 << 64


def code_points(text: str) -> np.ndarray:
    """Return the code points of a text, uint32."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def ngram_hashes(points: np.ndarray, n: int) -> np.ndarray:
    """Return a 64-bit hash of each n-gram of code points, in order; of the whole text if it is shorter. Never empty.

    The hash is a polynomial in _MULTIPLIER, modulo 2^64. The hash of a concatenation follows from those of its parts,
    so n-grams of twice the length take one step: the steps are the binary digits of n.
    """
    if not len(points):
        return np.zeros(1, np.uint64)
    n = min(n, len(points))
    ones = points.astype(np.uint64)
    hashes, length, power = ones, 1, _MULTIPLIER
    for digit in f"{n:b}"[1:]:
        hashes = hashes[:-length] * np.uint64(power) + hashes[length:]
        length, power = 2 * length, power * power % _MODULUS
        if digit == "1":
            hashes = hashes[:-1] * np.uint64(_MULTIPLIER) + ones[length:]
            length, power = length + 1, power * _MULTIPLIER % _MODULUS
    # The low bits of a polynomial depend on the low bits of the characters only, its high bits on all of them.
    return hashes ^ (hashes >> np.uint64(32))


def distinct(hashes: np.ndarray) -> int:
    """Return the number of distinct values. Several times as fast as len(numpy.unique(...))."""
    ordered = np.sort(hashes)
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1])) if len(ordered) else 0
