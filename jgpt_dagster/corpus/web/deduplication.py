"""Deduplication: near-duplicate documents by MinHash LSH, and paragraphs that are exact repetitions.

It is one pass in source order: the first of several copies is kept. Only kept text enters the index.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jgpt_dagster.corpus.web.character_ngrams import code_points, ngram_hashes
from jgpt_dagster.corpus.web.quality_filters import DropReason
from jgpt_dagster.storage.disk_hash_set import DiskHashSet

_NGRAM = 5
_SEED = 1


@dataclass(frozen=True)
class Sketch:
    """The hashes (signed, 64 bits) of a document that are looked up in the index and added to it."""

    bands: list[int]
    """One for each band of the MinHash signature."""
    paragraphs: list[int | None]
    """One for each line; None for a line that is always kept."""

    @property
    def hashes(self) -> Iterator[int]:
        """All hashes of the document."""
        yield from self.bands
        yield from (value for value in self.paragraphs if value is not None)


class DeduplicationResult(NamedTuple):
    """The new and the repeated lines of a document, and why the document is dropped, if it is."""

    new_lines: list[str]
    repeated_lines: list[str]
    drop_reason: DropReason | None


class DeduplicationSettings(BaseModel):
    """The settings of deduplication, and the sketch of a document under them.

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

    def sketch(self, lines: Sequence[str]) -> Sketch:
        """Return the sketch of a document; it does not depend on other documents."""
        return Sketch(self._bands(lines) if self.near_duplicates else [], [self._paragraph(line) for line in lines])

    def _bands(self, lines: Sequence[str]) -> list[int]:
        from rensa import RMinHash

        bands, rows = self.minhash_bands, self.minhash_rows
        ngrams = ngram_hashes(code_points("\n".join(lines)), _NGRAM)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(ngrams, [0, len(ngrams)], bands * rows, _SEED)
        signature = np.array(matrix.to_rows()[0], "<u4").tobytes()
        width = len(signature) // bands
        return [_hash(signature[band * width : (band + 1) * width], b"band %d" % band) for band in range(bands)]

    def _paragraph(self, line: str) -> int | None:
        text = line.strip()
        long = self.duplicate_paragraphs and len(text) >= self.paragraph_characters
        return _hash(text.encode(), b"paragraph") if long else None


class Deduplicator:
    """Deduplicates documents in their order; adds the hashes of those it keeps to the index `seen`."""

    def __init__(self, settings: DeduplicationSettings, seen: DiskHashSet) -> None:
        self._settings, self._seen = settings, seen

    def deduplicate(self, lines: Sequence[str], minimum_characters: int) -> DeduplicationResult:
        """Return the result for the next document."""
        return self.deduplicate_batch([(lines, self._settings.sketch(lines))], minimum_characters)[0]

    def deduplicate_batch(
        self, documents: Sequence[tuple[Sequence[str], Sketch]], minimum_characters: int
    ) -> list[DeduplicationResult]:
        """Return the results for the next documents, with one query and one update of the index, which is faster.

        A document that loses lines and keeps fewer than `minimum_characters` is dropped. Dropped text does not enter
        the index.
        """
        before = self._seen.intersection([value for _, sketch in documents for value in sketch.hashes])
        new: list[int] = []
        results = [_deduplicate(lines, sketch, minimum_characters, before, new) for lines, sketch in documents]
        self._seen.add(new)
        return results


def _deduplicate(
    lines: Sequence[str], sketch: Sketch, minimum_characters: int, before: set[int], new: list[int]
) -> DeduplicationResult:
    """Deduplicate a document against the hashes `before` it; if it is kept, add its own to `before` and `new`."""
    if found := len(before.intersection(sketch.bands)):
        return DeduplicationResult([], [], ("near_duplicate", f"{found} of {len(sketch.bands)} bands seen before"))
    kept, repeated, own = list[str](), list[str](), set[int]()
    for line, value in zip(lines, sketch.paragraphs, strict=True):
        if value is not None and (value in before or value in own):
            repeated.append(line)
            continue
        kept.append(line)
        if value is not None:
            own.add(value)
    characters = sum(map(len, kept))
    if repeated and characters < max(minimum_characters, 1):
        detail = f"{characters} characters without the paragraphs seen before"
        return DeduplicationResult(kept, repeated, ("nothing_new", detail))
    own.update(sketch.bands)
    before |= own
    new += own
    return DeduplicationResult(kept, repeated, None)


def _hash(data: bytes, kind: bytes) -> int:
    """Return a signed 64-bit hash; equal data of different kinds has different hashes."""
    return int.from_bytes(blake2b(data, digest_size=8, person=kind).digest(), "big", signed=True)
