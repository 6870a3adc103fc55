"""Text that was there before: near-duplicate documents by MinHash LSH, and paragraphs that are repeated exactly.

One pass in the order of the source: of several copies the first is kept. Only what is kept enters the index.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jgpt_dagster.corpus.filters import Fault
from jgpt_dagster.corpus.ngrams import code_points, ngram_hashes
from jgpt_dagster.storage.seen import SeenHashes

_NGRAM = 5
_SEED = 1


class Deduplication(BaseModel):
    """Its settings.

    A document of Jaccard similarity s to one that was kept, over the sets of their character 5-grams, is found with
    the probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4). 14 bands
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
        default=20, ge=1, description="Shorter paragraphs are kept however often they come: they may mean something."
    )


class Deduplicator:
    """Decides on documents one after the other; remembers those that it keeps in `seen`."""

    def __init__(self, settings: Deduplication, seen: SeenHashes) -> None:
        self._settings, self._seen = settings, seen

    def examine(self, lines: Sequence[str], minimum_characters: int) -> tuple[list[str], list[str], Fault | None]:
        """Return the lines of a document that are new, those that are not, and why it is to be dropped, if it is.

        A document that loses lines and has fewer than `minimum_characters` left is dropped. What is dropped is not
        remembered.
        """
        bands = self._bands(lines) if self._settings.near_duplicates else []
        if found := len(self._seen.among(bands)):
            return [], [], ("near_duplicate", f"{found} of {len(bands)} bands seen before")
        kept, repeated, paragraphs = self._new_lines(lines)
        characters = sum(map(len, kept))
        if repeated and characters < max(minimum_characters, 1):
            return kept, repeated, ("nothing_new", f"{characters} characters without the paragraphs seen before")
        self._seen.add([*bands, *paragraphs])
        return kept, repeated, None

    def _bands(self, lines: Sequence[str]) -> list[int]:
        """Return a hash of each band of the MinHash signature."""
        from rensa import RMinHash

        bands, rows = self._settings.minhash_bands, self._settings.minhash_rows
        ngrams = ngram_hashes(code_points("\n".join(lines)), _NGRAM)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(ngrams, [0, len(ngrams)], bands * rows, _SEED)
        signature = np.array(matrix.to_rows()[0], "<u4").tobytes()
        width = len(signature) // bands
        return [_hash(signature[band * width : (band + 1) * width], b"band %d" % band) for band in range(bands)]

    def _new_lines(self, lines: Sequence[str]) -> tuple[list[str], list[str], list[int]]:
        """Return the lines that are new, those that are not, and the hashes of the new ones that are long enough."""
        if not self._settings.duplicate_paragraphs:
            return list(lines), [], []
        stripped = [line.strip() for line in lines]
        hashes = [
            _hash(text.encode(), b"paragraph") if len(text) >= self._settings.paragraph_characters else None
            for text in stripped
        ]
        before = self._seen.among([value for value in hashes if value is not None])
        kept, repeated, new = list[str](), list[str](), list[int]()
        for line, value in zip(lines, hashes, strict=True):
            if value is not None and value in before:
                repeated.append(line)
                continue
            kept.append(line)
            if value is not None:
                before.add(value)
                new.append(value)
        return kept, repeated, new


def _hash(data: bytes, kind: bytes) -> int:
    """Return a signed hash of 64 bits; equal data of another kind has another."""
    return int.from_bytes(blake2b(data, digest_size=8, person=kind).digest(), "big", signed=True)
