"""An index of a token file: its suffix array, which finds any sequence of tokens by bisection.

`suffixes.bin` holds a little-endian uint32 for each token: the positions of the file in the order of the suffixes that
begin there. It is cut into parts of whole documents, each sorted by itself, so that memory is bounded; `parts.json`
lists where each ends. Manber and Myers, "Suffix Arrays: A New Method for On-Line String Searches", 1993.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.integer_tables import read_column_batches
from jgpt_dagster.lm.data.token_files import DOCUMENTS
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.manifest import parse_json

SUFFIXES = "suffixes.bin"
PARTS = "parts.json"
SUFFIX_DTYPE = np.dtype("<u4")

PART_TOKENS = 1 << 25
"""Tokens of a part, but for a longer document. Sorting takes 10 bytes for each: 340 MB."""

_MAX_TOKENS = 1 << 32
_ROWS = 1 << 16
_CHUNK = 1 << 20
# Tokens that are compared at once. Most comparisons are decided by the first few.
_BLOCK = 8


class SpanIndexError(JgptError):
    """A token file that cannot be indexed, or an index that does not belong to its token file."""


class Match(NamedTuple):
    """A longest match: the first token of the query that it begins with, and its length in tokens."""

    start: int
    length: int


def part_ends(directory: Path, limit: int = PART_TOKENS) -> list[int]:
    """Return where the parts of a token file end, in tokens: each after a whole document, at most `limit` long."""
    ends, start, last = list[int](), 0, 0
    for rows in read_column_batches(directory / DOCUMENTS, ["offset", "length"], _ROWS):
        for end in (rows["offset"] + rows["length"]).tolist():
            if end - start > limit and last > start:
                ends.append(last)
                start = last
            last = end
    return [*ends, last] if last > start else ends


def write_span_index(tokens: np.ndarray, ends: Sequence[int], directory: Path) -> Iterator[int]:
    """Write the index of a token file (uint16), part by part; yield the tokens of each part as it is done.

    Raises SpanIndexError if the file has 2**32 tokens or more, or if pydivsufsort is not installed.
    """
    if len(tokens) >= _MAX_TOKENS:
        raise SpanIndexError(f"a token file of {len(tokens):,} tokens is too large: use more shards (JGPT_SHARDS)")
    try:
        from pydivsufsort import divsufsort
    except ImportError as error:
        raise SpanIndexError(
            "An index of token files needs the package pydivsufsort. Install it with:\n"
            "  pip install 'jgpt-dagster[search]'"
        ) from error
    start = 0
    with open(directory / SUFFIXES, "wb") as stream:
        for end in ends:
            # Big-endian, so that bytes sort as tokens do; of the suffixes of bytes, every other one is one of tokens.
            order = divsufsort(np.ascontiguousarray(tokens[start:end]).astype(">u2").view(np.uint8))
            for first in range(0, len(order), _CHUNK):
                chunk = order[first : first + _CHUNK]
                whole = chunk[(chunk & 1) == 0] >> 1
                stream.write((whole.astype(np.int64) + start).astype(SUFFIX_DTYPE).tobytes())
            yield end - start
            start = end
    write_json(directory / PARTS, {"ends": list(ends)})


@dataclass(frozen=True)
class SpanIndex:
    """The index of a token file and its tokens, both memory-mapped."""

    tokens: np.ndarray
    suffixes: np.ndarray
    ends: tuple[int, ...]

    @classmethod
    def open(cls, directory: Path, tokens: np.ndarray) -> "SpanIndex":
        """Open the index in a directory. Raises SpanIndexError if it does not fit the tokens."""
        try:
            ends = tuple(parse_json((directory / PARTS).read_bytes())["ends"])
            size = (directory / SUFFIXES).stat().st_size
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpanIndexError(f"{directory} holds no index of tokens: {error}") from error
        if size != len(tokens) * SUFFIX_DTYPE.itemsize or (ends[-1:] or (0,)) != (len(tokens),):
            raise SpanIndexError(f"{directory} is the index of another token file than one of {len(tokens):,} tokens")
        empty = np.empty(0, SUFFIX_DTYPE)
        suffixes = np.memmap(directory / SUFFIXES, SUFFIX_DTYPE, mode="r") if len(tokens) else empty
        return cls(tokens, suffixes, ends)

    def longest_matches(self, query: np.ndarray) -> np.ndarray:
        """Return for each token of a query the length of the longest match that begins there, as int64."""
        lengths = np.zeros(len(query), np.int64)
        starts = np.arange(len(query))
        for first, end in self._parts():
            part = self.suffixes[first:end]
            place = self._bisect(part, query, starts, len(query) - starts, after=False)
            for neighbour in (place - 1, place):
                inside = (neighbour >= 0) & (neighbour < len(part))
                positions = part[np.where(inside, neighbour, 0)].astype(np.int64)
                common = self._common(query, starts, len(query) - starts, positions)
                lengths = np.maximum(lengths, np.where(inside, common, 0))
        return lengths

    def count(self, query: np.ndarray) -> int:
        """Return how often a sequence of tokens occurs."""
        return sum(last - first for first, last, _ in self._intervals(query))

    def positions(self, query: np.ndarray, at_most: int) -> list[int]:
        """Return up to `at_most` positions in the file at which a sequence of tokens occurs, in no particular order."""
        found = list[int]()
        for first, last, part in self._intervals(query):
            found += part[first : min(last, first + at_most - len(found))].tolist()
            if len(found) >= at_most:
                break
        return found

    def _parts(self) -> Iterator[tuple[int, int]]:
        start = 0
        for end in self.ends:
            yield start, end
            start = end

    def _intervals(self, query: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield for each part the places of the suffixes that begin with a query: the first, the last + 1."""
        starts, limits = np.zeros(1, np.int64), np.array([len(query)])
        for first, end in self._parts():
            part = self.suffixes[first:end]
            low, high = (int(self._bisect(part, query, starts, limits, after=after)[0]) for after in (False, True))
            yield low, high, part

    def _bisect(
        self, part: np.ndarray, query: np.ndarray, starts: np.ndarray, limits: np.ndarray, *, after: bool
    ) -> np.ndarray:
        """Return for each query `query[start : start + limit]` the number of suffixes of a part that come before it.

        With `after`, those that begin with the query count too.
        """
        low, high = np.zeros(len(starts), np.int64), np.full(len(starts), len(part), np.int64)
        while len(open_ := np.flatnonzero(low < high)):
            middle = (low[open_] + high[open_]) // 2
            positions = part[middle].astype(np.int64)
            common = self._common(query, starts[open_], limits[open_], positions)
            whole = common == limits[open_]
            mine = query[np.minimum(starts[open_] + common, len(query) - 1)].astype(np.int64)
            before = np.where(whole, after, self._token(positions + common) < mine)
            low[open_] = np.where(before, middle + 1, low[open_])
            high[open_] = np.where(before, high[open_], middle)
        return low

    def _common(self, query: np.ndarray, starts: np.ndarray, limits: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return how many tokens, at most `limit`, a query and the file have in common from a start and a position."""
        common = np.zeros(len(starts), np.int64)
        alive = np.arange(len(starts))
        steps = np.arange(_BLOCK)
        while len(alive):
            places = common[alive, None] + steps
            inside = places < limits[alive, None]
            mine = query[np.minimum(starts[alive, None] + places, len(query) - 1)].astype(np.int64)
            equal = inside & (mine == self._token(positions[alive, None] + places))
            run = np.argmin(np.c_[equal, np.zeros(len(alive), bool)], axis=1)
            common[alive] += run
            alive = alive[(run == _BLOCK) & (common[alive] < limits[alive])]
        return common

    def _token(self, positions: np.ndarray) -> np.ndarray:
        """Return the tokens at positions; beyond the end, one that equals no other. It counts as none, so as first."""
        inside = positions < len(self.tokens)
        return np.where(inside, self.tokens[np.where(inside, positions, 0)].astype(np.int64), -1)


def maximal_matches(lengths: np.ndarray, minimum: int) -> list[Match]:
    """Return the matches of at least `minimum` tokens that do not lie within a longer one, in order."""
    found, reached = list[Match](), 0
    for start, length in enumerate(lengths.tolist()):
        if length >= minimum and start + length > reached:
            found.append(Match(start, length))
        reached = max(reached, start + length)
    return found
