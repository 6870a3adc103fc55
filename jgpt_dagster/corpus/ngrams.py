"""Character n-grams of a text as numbers, for counting and sketching them without making a string of each."""

import numpy as np

# Knuth's multiplicative constant for 64 bits, 2^64 divided by the golden ratio.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def code_points(text: str) -> np.ndarray:
    """Return the code points of a text, uint32."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def ngram_hashes(points: np.ndarray, n: int) -> np.ndarray:
    """Return a 64-bit hash of each n-gram of code points, in order; of the whole where it is shorter. Never empty."""
    n = min(n, len(points))
    hashes = np.zeros(len(points) - n + 1, np.uint64)
    for offset in range(n):
        hashes *= _MULTIPLIER
        hashes += points[offset : offset + len(hashes)]
    # A polynomial's low bits know the low bits of the characters alone; its high bits know all.
    return hashes ^ (hashes >> np.uint64(32))
