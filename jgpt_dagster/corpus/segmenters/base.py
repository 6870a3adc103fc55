"""What a segmenter promises, and the part of the promise that all engines share.

An engine module says only how its engine splits pieces of text; cutting lines into pieces, checking the answers and
putting lines together again is done once, here.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from jgpt_dagster.corpus.segmenters.pieces import cut, is_apart, words_by_class
from jgpt_dagster.errors import JgptError


class SegmenterError(JgptError):
    """An engine is not there, does not work, or broke its promise."""


class Segmenter(Protocol):
    """Splits lines into words, any line whatever: `"".join(words) == line`, and one list of words for each line."""

    fallbacks: int
    """Pieces of text, since opening, that the engine did not split and that `words_by_class` split instead."""

    @property
    def fingerprint(self) -> str:
        """Name and version of the engine and sha256 of its model: equal on every machine that gives the same words."""
        ...

    def segment(self, lines: Sequence[str]) -> list[list[str]]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class PieceSegmenter(ABC):
    """A `Segmenter` whose engine is given only pieces that it survives (see `pieces.cut`)."""

    def __init__(self) -> None:
        self.fallbacks = 0

    @property
    @abstractmethod
    def fingerprint(self) -> str: ...

    @abstractmethod
    def _split(self, pieces: Sequence[str]) -> list[list[str]]:
        """The engine's words for each piece, in order; an empty list for a piece that it has no answer to."""

    @abstractmethod
    def close(self) -> None:
        """Gives back what the engine holds. The segmenter cannot be used afterwards."""

    def segment(self, lines: Sequence[str]) -> list[list[str]]:
        """The words of each line, joining to exactly that line. A space or control character is a word of its own."""
        cut_lines = [cut(line) for line in lines]
        pieces = [piece for line in cut_lines for piece in line if not is_apart(piece)]
        answers = self._split(pieces)
        if len(answers) != len(pieces):
            raise SegmenterError(f"{self.fingerprint}: {len(pieces)} pieces of text went in, {len(answers)} came out.")
        checked = iter([self._checked(piece, words) for piece, words in zip(pieces, answers, strict=True)])
        return [
            [word for piece in line for word in ((piece,) if is_apart(piece) else next(checked))] for line in cut_lines
        ]

    def _checked(self, piece: str, words: list[str]) -> list[str]:
        if "".join(words) == piece:
            return words
        self.fallbacks += 1
        return words_by_class(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
