"""Sketches of documents: the hashes by which near duplicates (MinHash LSH) and repeated paragraphs are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jgpt_dagster.corpus.duplicates.character_ngrams import code_points, ngram_hashes

NGRAM = 5
"""Documents are compared as sets of their character n-grams of this length."""

_SEED = 1


@dataclass(frozen=True, eq=False)
class Sketch:
    """The hashes (int64) of a document, and what is needed to decide without its text."""

    characters: int
    """The characters of all lines, without line ends."""
    bands: np.ndarray
    """One hash for each band of the MinHash signature."""
    lines: np.ndarray
    """The numbers (int32, from 0) of the lines that may count as repetitions: the paragraphs."""
    paragraphs: np.ndarray
    """The hash of each paragraph."""
    lengths: np.ndarray
    """The characters (int32) of each paragraph."""


class DeduplicationSettings(BaseModel):
    """The settings of deduplication, and the sketches of documents under them.

    A document with Jaccard similarity s to a kept one, over the sets of their character 5-grams, is found with
    probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4). 14 bands
    of 8 rows, as in FineWeb (Penedo et al. 2024): 0.5: 5 %, 0.6: 21 %, 0.7: 56 %, 0.8: 92 %, 0.9: 99.96 %.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    near_duplicates: bool = Field(
        default=True, description="Drop documents nearly equal to an earlier one, by MinHash LSH: near_duplicate."
    )
    minhash_bands: int = Field(default=14, ge=1, le=100, description="Bands of the MinHash LSH; more find more.")
    minhash_rows: int = Field(default=8, ge=1, le=100, description="Rows of a band; more ask for more likeness.")
    duplicate_paragraphs: bool = Field(
        default=True, description="Drop paragraphs (lines) that an earlier document or line has exactly."
    )
    paragraph_characters: int = Field(
        default=20,
        ge=1,
        le=1_000_000_000,
        description="Shorter paragraphs are kept however often they come: they may mean something.",
    )

    @property
    def bands_of_document(self) -> int:
        """The number of bands that a sketch has."""
        return self.minhash_bands if self.near_duplicates else 0

    def sketches(self, documents: Sequence[Sequence[str]]) -> list[Sketch]:
        """Return the sketch of each document. It does not depend on the others: many at once take less time."""
        all_bands = self._bands(documents) if self.near_duplicates else [np.empty(0, np.int64)] * len(documents)
        return [self._sketch(lines, bands) for lines, bands in zip(documents, all_bands, strict=True)]

    def _bands(self, documents: Sequence[Sequence[str]]) -> list[np.ndarray]:
        from rensa import RMinHash

        bands, rows = self.minhash_bands, self.minhash_rows
        ngrams = [ngram_hashes(code_points("\n".join(lines)), NGRAM) for lines in documents]
        offsets = [0, *np.cumsum([len(hashes) for hashes in ngrams]).tolist()]
        flat = np.concatenate([np.empty(0, np.uint64), *ngrams])
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, bands * rows, _SEED)
        kinds = [b"band %d" % band for band in range(bands)]
        return [_band_hashes(np.array(row, "<u4").tobytes(), kinds) for row in matrix.to_rows()]

    def _sketch(self, lines: Sequence[str], bands: np.ndarray) -> Sketch:
        lengths = [len(line) for line in lines]
        paragraphs: list[tuple[int, int, bytes]] = []
        for number, line in enumerate(lines if self.duplicate_paragraphs else ()):
            if lengths[number] >= self.paragraph_characters:
                text = line.strip()
                if len(text) >= self.paragraph_characters:
                    paragraphs.append((number, lengths[number], _digest(text.encode(), b"paragraph")))
        return Sketch(
            characters=sum(lengths),
            bands=bands,
            lines=np.array([number for number, _, _ in paragraphs], np.int32),
            paragraphs=_signed(b"".join([digest for _, _, digest in paragraphs])),
            lengths=np.array([length for _, length, _ in paragraphs], np.int32),
        )


def _band_hashes(signature: bytes, kinds: Sequence[bytes]) -> np.ndarray:
    width = len(signature) // len(kinds)
    bands = [signature[start : start + width] for start in range(0, len(signature), width)]
    return _signed(b"".join([_digest(band, kind) for band, kind in zip(bands, kinds, strict=True)]))


def _digest(data: bytes, kind: bytes) -> bytes:
    """Return a hash of 64 bits; equal data of different kinds has different hashes."""
    return blake2b(data, digest_size=8, person=kind).digest()


def _signed(digests: bytes) -> np.ndarray:
    """Return digests of 64 bits, which follow each other, as int64."""
    return np.frombuffer(digests, ">i8").astype(np.int64)
