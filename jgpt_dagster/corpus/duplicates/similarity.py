"""The exact Jaccard similarity of two texts, and the texts of kept documents that later ones are compared with."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from jgpt_dagster.corpus.duplicates.character_ngrams import code_points
from jgpt_dagster.corpus.duplicates.decisions import DiskArray
from jgpt_dagster.corpus.duplicates.sketches import NGRAM
from jgpt_dagster.storage.disk_space import as_disk_full_error

_LENGTH_BYTES = 8


def jaccard_similarity(first: str, second: str) -> float:
    """Return the Jaccard similarity of the sets of character 5-grams of two texts; a shorter text is one n-gram."""
    if min(len(first), len(second)) < NGRAM:
        return float(first == second)
    one, other = map(np.unique, _numbered_ngrams(code_points(first), code_points(second)))
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def _numbered_ngrams(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a number (uint64) for each n-gram of two texts: equal ones have the same number, and no others."""
    signs, ranks = np.unique(np.concatenate((first, second)), return_inverse=True)
    ranks = ranks.astype(np.uint64)
    numbers, size = ranks, len(signs)
    for step in range(1, NGRAM):
        if size * len(signs) >= 1 << 64:
            distinct, numbers = np.unique(numbers, return_inverse=True)
            numbers, size = numbers.astype(np.uint64), len(distinct)
        numbers = numbers[:-1] * np.uint64(len(signs)) + ranks[step:]
        size *= len(signs)
    return numbers[: len(first) - NGRAM + 1], numbers[len(first) :]


class KeptTexts:
    """The texts of the documents that others are compared with, in an unnamed temporary file.

    Use it as a context manager, which frees the disk space at its end.
    """

    def __init__(self, folder: Path, wanted: DiskArray) -> None:
        """Start empty, on the disk of `folder`. `wanted` has 1 for the key of each such document, and is changed."""
        self._folder, self._places = folder, wanted.values
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115  # it lives as long as this object
        self._end = 0

    def __enter__(self) -> "KeptTexts":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # closing flushes, which fails on a full disk; the texts are no longer needed
            self._file.close()

    def add(self, key: int, lines: Sequence[str]) -> None:
        """Store the text of a document if it is wanted. Raises DiskFullError."""
        if self._places[key] != 1:
            return
        text = "\n".join(lines).encode()
        with as_disk_full_error(self._folder):
            self._file.seek(self._end)
            self._file.write(len(text).to_bytes(_LENGTH_BYTES, "big") + text)
        self._places[key] = self._end + 2
        self._end += _LENGTH_BYTES + len(text)

    def similarity(self, key: int, lines: Sequence[str]) -> float:
        """Return the Jaccard similarity of a document to the stored one with this key. Raises DiskFullError."""
        with as_disk_full_error(self._folder):
            self._file.seek(self._places[key] - 2)
            length = int.from_bytes(self._file.read(_LENGTH_BYTES), "big")
            return jaccard_similarity(self._file.read(length).decode(), "\n".join(lines))
