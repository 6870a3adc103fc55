"""The segmenter interface, and the base class that all engines share.

An engine module only splits pieces of text into words; splitting lines into pieces, checking the answers and
reassembling the lines is done once, here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from jgpt_dagster.corpus.segmenters.piece_splitting import (
    is_single_piece,
    is_standalone,
    split_by_character_class,
    split_into_pieces,
)
from jgpt_dagster.errors import JgptError


class SegmenterError(JgptError):
    """An engine is missing, does not work, or violates the interface."""


class Segmenter(Protocol):
    """Splits any line into words: `"".join(words) == line`, and one list of words for each line."""

    fallbacks: int
    """The number of pieces, since opening, that `split_by_character_class` split in place of the engine."""

    @property
    def fingerprint(self) -> str:
        """Name and version of the engine and sha256 of its model: equal fingerprints mean equal words anywhere."""
        ...

    def segment(self, lines: Sequence[str]) -> list[list[str]]: ...

    def segment_joined(self, lines: Sequence[str]) -> list[str]:
        """Return the words of each line joined by one space, without words that are white space."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class PieceSegmenter(ABC):
    """A `Segmenter` whose engine only receives pieces that are safe for it (see `piece_splitting`)."""

    def __init__(self) -> None:
        self.fallbacks = 0

    @property
    @abstractmethod
    def fingerprint(self) -> str: ...

    @abstractmethod
    def _split(self, pieces: Sequence[str]) -> list[str]:
        """Return the engine's words for each piece, joined by one space, in order; empty if it has no answer."""

    @abstractmethod
    def close(self) -> None:
        """Release the resources of the engine. The segmenter cannot be used afterwards."""

    def segment(self, lines: Sequence[str]) -> list[list[str]]:
        """Return the words of each line, which join to exactly that line. A space or control character is one word."""
        pieces_of_lines = [split_into_pieces(line) for line in lines]
        answers = self._answers([piece for line in pieces_of_lines for piece in line if not is_standalone(piece)])
        return [
            [word for piece in line for word in ((piece,) if is_standalone(piece) else next(answers).split(" "))]
            for line in pieces_of_lines
        ]

    def segment_joined(self, lines: Sequence[str]) -> list[str]:
        """Return the words of each line joined by one space, without words that are white space."""
        pieces: list[str] = []
        pieces_of_lines: list[list[str] | None] = []
        for line in lines:
            if is_single_piece(line):  # like most lines
                pieces_of_lines.append(None)
                pieces.append(line)
            else:
                parts = split_into_pieces(line)
                pieces_of_lines.append(parts)
                pieces.extend(piece for piece in parts if not is_standalone(piece))
        answers = self._answers(pieces)
        return [
            next(answers)
            if parts is None
            else " ".join([piece if is_standalone(piece) else next(answers) for piece in parts if not piece.isspace()])
            for parts in pieces_of_lines
        ]

    def _answers(self, pieces: Sequence[str]) -> Iterator[str]:
        """Return the words of each piece: the engine's, or the fallback's if these do not join to the piece."""
        answers = self._split(pieces)
        if len(answers) != len(pieces):
            raise SegmenterError(f"{self.fingerprint}: {len(pieces)} pieces of text went in, {len(answers)} came out.")
        # No piece holds a line feed, so if all match together, each matches.
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
