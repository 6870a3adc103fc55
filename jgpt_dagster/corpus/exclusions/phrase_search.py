"""Which of many phrases stand in a text: one pass over the text, however many there are.

The hash of each window of characters is looked up in a table of one bit; only where that says yes are phrases compared.
Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

_WINDOW = 8
_TABLE_BITS = 20
# An odd number near 2**64 divided by the golden ratio, whose products are spread evenly (Knuth, TAOCP 3, 6.4).
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class PhraseSearch:
    """Finds phrases, each with a number. Phrases are compared character for character."""

    def __init__(self, phrases: Iterable[tuple[int, str]]) -> None:
        """Raises ValueError for an empty phrase."""
        self._phrases: dict[int, dict[int, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
        for number, phrase in phrases:
            if not phrase:
                raise ValueError(f"phrase {number} is empty")
            window = min(len(phrase), _WINDOW)
            self._phrases[window][int(_hashes(_codes(phrase[:window]), window)[0])].append((number, phrase))
        self._tables = {window: _table(found) for window, found in self._phrases.items()}

    def first(self, text: str) -> int | None:
        """Return the lowest number of the phrases in a text; None if it holds none."""
        return min(self._found(text), default=None)

    def _found(self, text: str) -> Iterator[int]:
        codes = _codes(text)
        for window, table in self._tables.items():
            hashes = _hashes(codes, window)
            phrases = self._phrases[window]
            for start in np.flatnonzero(table[_slots(hashes)]).tolist():
                for number, phrase in phrases.get(int(hashes[start]), ()):
                    if text.startswith(phrase, start):
                        yield number


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _hashes(codes: np.ndarray, window: int) -> np.ndarray:
    """Return the hash of each window of characters, as uint64; none if the text is shorter."""
    count = max(len(codes) - window + 1, 0)
    hashes = np.zeros(count, np.uint64)
    for place in range(window):
        hashes = (hashes + codes[place : place + count]) * _FACTOR
    return hashes


def _slots(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(64 - _TABLE_BITS)).astype(np.intp)


def _table(hashes: Iterable[int]) -> np.ndarray:
    table = np.zeros(1 << _TABLE_BITS, bool)
    table[_slots(np.array([*hashes], np.uint64))] = True
    return table
