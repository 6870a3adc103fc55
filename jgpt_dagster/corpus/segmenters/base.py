"""What a segmenter promises, and the part of the promise that all engines share.

An engine module says only how its engine splits pieces of text; cutting lines into pieces, checking the answers and
putting lines together again is done once, here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from jgpt_dagster.corpus.segmenters.pieces import (
    is_single_piece,
    is_standalone,
    split_by_character_class,
    split_into_pieces,
)
from jgpt_dagster.errors import JgptError


class SegmenterError(JgptError):
    """An engine is not there, does not work, or broke its promise."""


class Segmenter(Protocol):
    """Splits lines into words, any line whatever: `"".join(words) == line`, and one list of words for each line."""

    fallbacks: int
    """The number of pieces, since opening, that `split_by_character_class` split in place of the engine."""

    @property
    def fingerprint(self) -> str:
        """Name and version of the engine and sha256 of its model: equal on every machine that gives the same words."""
        ...

    def segment(self, lines: Sequence[str]) -> list[list[str]]: ...

    def segment_joined(self, lines: Sequence[str]) -> list[str]:
        """The words of each line with a space between them, without the words that are white space."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class PieceSegmenter(ABC):
    """A `Segmenter` whose engine is given only pieces that it survives (see `pieces.split_into_pieces`)."""

    def __init__(self) -> None:
        self.fallbacks = 0

    @property
    @abstractmethod
    def fingerprint(self) -> str: ...

    @abstractmethod
    def _split(self, pieces: Sequence[str]) -> list[str]:
        """The engine's words for each piece, a space between them, in order; empty for one that it has no answer to."""

    @abstractmethod
    def close(self) -> None:
        """Gives back what the engine holds. The segmenter cannot be used afterwards."""

    def segment(self, lines: Sequence[str]) -> list[list[str]]:
        """The words of each line, joining to exactly that line. A space or control character is a word of its own."""
        cut_lines = [split_into_pieces(line) for line in lines]
        answers = self._answers([piece for line in cut_lines for piece in line if not is_standalone(piece)])
        return [
            [word for piece in line for word in ((piece,) if is_standalone(piece) else next(answers).split(" "))]
            for line in cut_lines
        ]

    def segment_joined(self, lines: Sequence[str]) -> list[str]:
        """The same as text, a space between two words, without the words that are white space."""
        pieces: list[str] = []
        cut_lines: list[list[str] | None] = []
        for line in lines:
            if is_single_piece(line):  # most are
                cut_lines.append(None)
                pieces.append(line)
            else:
                parts = split_into_pieces(line)
                cut_lines.append(parts)
                pieces.extend(piece for piece in parts if not is_standalone(piece))
        answers = self._answers(pieces)
        return [
            next(answers)
            if parts is None
            else " ".join([piece if is_standalone(piece) else next(answers) for piece in parts if not piece.isspace()])
            for parts in cut_lines
        ]

    def _answers(self, pieces: Sequence[str]) -> Iterator[str]:
        """The words of each piece; the fallback's where the engine's are not its text."""
        answers = self._split(pieces)
        if len(answers) != len(pieces):
            raise SegmenterError(f"{self.fingerprint}: {len(pieces)} pieces of text went in, {len(answers)} came out.")
        # No piece holds a line feed, so that each is its answer where all are.
        if "\n".join(answers).replace(" ", "") == "\n".join(pieces):
            return iter(answers)
        return iter(
            [
                words if words.replace(" ", "") == piece else self._fallback(piece)
                for piece, words in zip(pieces, answers, strict=True)
            ]
        )

    def _fallback(self, piece: str) -> str:
        self.fallbacks += 1
        return " ".join(split_by_character_class(piece))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
