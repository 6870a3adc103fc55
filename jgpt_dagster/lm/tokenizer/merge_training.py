"""Training of a byte-pair encoding from the counts of distinct words, in a few dozen bytes for each.

The merges are those of the trainer of the tokenizers library: in each step the most frequent pair of neighbouring
symbols becomes a symbol of its own; of equally frequent pairs it is the one with the lowest ids (algorithm 1 of
https://aclanthology.org/P16-1162, counting again only around what was merged). That trainer keeps maps of words and of
the places of each pair, counts pairs in 32 bits, and has no way in for counts.

All occurrences of a pair come into being in one step, the one that makes the later of its two symbols; from then on the
pair can only become rarer. So the pairs of a step and their places are a few sorted arrays.
"""

import heapq
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from jgpt_dagster.lm.tokenizer.merge_table import Merge

_BORDER, _HOLE = 0xFFFF, 0xFFFE
_MAX_TOKENS = _HOLE
_SEPARATOR = "\n"
_CODE_POINTS = 0x110000
# Places whose words are looked up at once.
_PIECE = 1 << 20

_BYTES_A_CHARACTER = 24
"""Memory of training at its highest, when the first pairs are found: of each character, its symbol (2 bytes), and of
the pair that it begins, place, key (4 each) and both as one number (8). The rest are counts and ends of words.
"""


def memory_of(characters: int) -> int:
    """Return the bytes that learning merges from distinct words with so many characters takes, rounded up a little."""
    return _BYTES_A_CHARACTER * characters


class MergeTrainer:
    """Distinct words with their counts, of which merges are learned.

    `alphabet` are the characters that are tokens from the start. Others are left out of the words, as the tokenizers
    library does, so that their neighbours become neighbours.
    """

    def __init__(self, alphabet: Sequence[str]) -> None:
        self._tokens = sorted(alphabet)
        self._symbol_of = np.full(_CODE_POINTS, _HOLE, dtype=np.uint16)
        self._symbol_of[[ord(char) for char in self._tokens]] = np.arange(len(self._tokens))
        self._symbol_of[ord(_SEPARATOR)] = _BORDER
        self._symbols: list[np.ndarray] = [np.array([_BORDER], dtype=np.uint16)]
        self._counts: list[np.ndarray] = []

    def add(self, words: Sequence[str], counts: Sequence[int]) -> None:
        """Add words, which hold no line end, and how often each occurs."""
        codes = np.frombuffer((_SEPARATOR.join(words) + _SEPARATOR).encode("utf-32-le"), dtype="<u4")
        symbols = self._symbol_of[codes]
        self._symbols.append(symbols[symbols != _HOLE])
        self._counts.append(np.array(counts, dtype=np.int64))

    def learn(self, size: int, min_frequency: int) -> list[Merge]:
        """Return merges, best first, until there are `size` tokens or no pair occurs `min_frequency` times.

        Counts are 64 bits wide. The words are used up. Raises ValueError for more tokens than 16 bits can number.
        """
        if size > _MAX_TOKENS:
            raise ValueError(f"{size:,} tokens, of which 16 bits can number {_MAX_TOKENS:,} at most")
        words = _Words(np.concatenate(self._symbols), np.concatenate(self._counts or [np.zeros(0, np.int64)]))
        self._symbols, self._counts = [], []
        pairs = _Pairs(words, len(self._tokens), max(1, min_frequency))
        merges: list[Merge] = []
        while len(self._tokens) < size and (best := pairs.pop_best()):
            merges.append((self._tokens[best.left], self._tokens[best.right]))
            pairs.replace(*words.merge(best, len(self._tokens)))
            self._tokens.append("".join(merges[-1]))
        return merges


class _Pair(NamedTuple):
    """Two symbols, and the places of the first one wherever they have been neighbours."""

    left: int
    right: int
    places: np.ndarray


class _Words:
    """The symbols of all words, one after the other with a border on both sides of each. Merges leave holes."""

    def __init__(self, symbols: np.ndarray, counts: np.ndarray) -> None:
        self.symbols = symbols
        self._counts = counts
        self._ends = np.flatnonzero(symbols == _BORDER)[1:].astype(np.uint32)

    def counts_at(self, places: np.ndarray) -> np.ndarray:
        """Return the counts of the words that these places are in."""
        return self._counts[np.searchsorted(self._ends, places)]

    def occurrences(self) -> np.ndarray:
        """Return all occurrences of pairs before the first merge."""
        inside = self.symbols != _BORDER
        places = np.flatnonzero(inside[:-1] & inside[1:]).astype(np.uint32)
        return _occurrences(_keys(self.symbols[places], self.symbols[places + np.uint32(1)]), places)

    def merge(self, pair: _Pair, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Make a pair the symbol `new`; return the keys and counts of what is gone, and the new occurrences."""
        symbols = self.symbols
        places = pair.places[symbols[pair.places] == pair.left]
        seconds = self._next(places, 1)
        present = symbols[seconds] == pair.right
        places, seconds = places[present], seconds[present]
        if pair.left == pair.right:
            places, seconds = _without_overlaps(places, seconds)
        befores, afters = self._next(places, -1), self._next(seconds, 1)
        before, after = symbols[befores], symbols[afters]
        symbols[places], symbols[seconds] = new, _HOLE

        has_before = before != _BORDER
        # Between two merged pairs, the later one tells what is gone and new.
        has_after = (after != _BORDER) & (symbols[afters] != new)
        within_merged = np.flatnonzero(symbols[befores] == _HOLE)
        befores[within_merged] = self._next(befores[within_merged], -1)
        counts = self.counts_at(places)
        gone = np.concatenate([_keys(before[has_before], pair.left), _keys(pair.right, after[has_after])])
        born = np.concatenate([_keys(symbols[befores[has_before]], new), _keys(new, after[has_after])])
        born_places = np.concatenate([befores[has_before], places[has_after]])
        return gone, np.concatenate([counts[has_before], counts[has_after]]), _occurrences(born, born_places)

    def _next(self, places: np.ndarray, step: int) -> np.ndarray:
        """Return the nearest places in the direction of `step`, 1 or -1, that are no holes."""
        offset = np.uint32(step % (1 << 32))  # wraps around
        found = places + offset
        holes = np.flatnonzero(self.symbols[found] == _HOLE)
        while len(holes):
            found[holes] += offset
            holes = holes[self.symbols[found[holes]] == _HOLE]
        return found


class _PairGroup:
    """The pairs that came into being in one step: sorted keys, present counts, and the places of each."""

    def __init__(self, words: _Words, occurrences: np.ndarray) -> None:
        occurrences.sort()
        places, keys = occurrences.astype("<u8", copy=False).view("<u4").reshape(-1, 2).T
        self._places = places.copy()
        self._starts = (
            np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, int)
        )
        self.keys = keys[self._starts]
        self.counts = self._count(words)
        by_count = np.lexsort((self.keys, -self.counts))
        self.by_count = zip(by_count, self.counts[by_count], strict=True)
        """The index and the first count of each pair, the most frequent ones first, of several the lowest key."""

    def _count(self, words: _Words) -> np.ndarray:
        """Return how often each pair occurs. Piece by piece: the index and the count of a word take memory."""
        counts = np.zeros(len(self._starts), dtype=np.int64)
        for first in range(0, len(self._places), _PIECE):
            piece = words.counts_at(self._places[first : first + _PIECE])
            low = np.searchsorted(self._starts, first, side="right") - 1
            high = np.searchsorted(self._starts, first + len(piece))
            counts[low:high] += np.add.reduceat(piece, np.maximum(self._starts[low:high] - first, 0))
        return counts

    def pair(self, index: int) -> _Pair:
        end = self._starts[index + 1] if index + 1 < len(self._starts) else len(self._places)
        key = int(self.keys[index])
        return _Pair(key >> 16, key & 0xFFFF, self._places[self._starts[index] : end])


class _Pairs:
    """All pairs, of which the most frequent one is asked for.

    The queue holds the next pair of each group in the order of first counts, and those that have become rarer since.
    """

    def __init__(self, words: _Words, alphabet: int, min_frequency: int) -> None:
        self._words, self._alphabet, self._min_frequency = words, alphabet, min_frequency
        self._groups: list[_PairGroup] = []
        self._queue: list[tuple[int, int, int, int, bool]] = []
        self._add_group(words.occurrences())

    def pop_best(self) -> _Pair | None:
        """Return the most frequent pair, of several the one with the lowest ids; None if none is frequent enough."""
        while self._queue:
            negative, key, number, index, in_order = heapq.heappop(self._queue)
            if in_order:
                self._push_next(number)
            group = self._groups[number]
            count = int(group.counts[index])
            if -negative == count:
                return group.pair(index)
            if count >= self._min_frequency:
                heapq.heappush(self._queue, (-count, key, number, index, False))
        return None

    def replace(self, gone: np.ndarray, counts: np.ndarray, occurrences: np.ndarray) -> None:
        """Count what a merge has left, and add what it has made."""
        later = np.maximum(gone >> np.uint32(16), gone & np.uint32(0xFFFF)).astype(np.int64)
        numbers = np.maximum(later - self._alphabet + 1, 0)
        order = np.argsort(numbers, kind="stable")
        numbers, gone, counts = numbers[order], gone[order], counts[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for start, end in pairwise([*starts, len(numbers)]):
            group = self._groups[numbers[start]]
            np.subtract.at(group.counts, np.searchsorted(group.keys, gone[start:end]), counts[start:end])
        self._add_group(occurrences)

    def _add_group(self, occurrences: np.ndarray) -> None:
        self._groups.append(_PairGroup(self._words, occurrences))
        self._push_next(len(self._groups) - 1)

    def _push_next(self, number: int) -> None:
        index, count = next(self._groups[number].by_count, (0, 0))
        if count >= self._min_frequency:
            heapq.heappush(self._queue, (-int(count), int(self._groups[number].keys[index]), number, int(index), True))


def _keys(left: np.ndarray | int, right: np.ndarray | int) -> np.ndarray:
    """Return the keys of pairs, which sort as pairs do."""
    return np.asarray(np.asarray(left, dtype=np.uint32) << np.uint32(16) | np.asarray(right, dtype=np.uint32))


def _occurrences(keys: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return keys and places as one number each, which sort by key."""
    numbers = keys.astype(np.uint64)
    numbers <<= np.uint64(32)
    numbers |= places
    return numbers


def _without_overlaps(places: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every other occurrence of a run such as `aaaa`, from its first one on."""
    order = np.argsort(places)
    places, seconds = places[order], seconds[order]
    follows = np.concatenate([[False], places[1:] == seconds[:-1]])
    positions = np.arange(len(places))
    starts = np.maximum.accumulate(np.where(follows, 0, positions))
    chosen = (positions - starts) % 2 == 0
    return places[chosen], seconds[chosen]
