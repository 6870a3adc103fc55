"""Text that was there before: near-duplicate documents by MinHash LSH, and paragraphs that are repeated exactly.

One pass in the order of the source: of several copies the first is kept. Only what is kept enters the index.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from jgpt_dagster.corpus.web.character_ngrams import code_points, ngram_hashes
from jgpt_dagster.corpus.web.quality_filters import Fault
from jgpt_dagster.storage.disk_hash_set import DiskHashSet

_NGRAM = 5
_SEED = 1


@dataclass(frozen=True)
class Sketch:
    """What is looked up and remembered of a document: signed hashes of 64 bits."""

    bands: list[int]
    """Of each band of its MinHash signature."""
    paragraphs: list[int | None]
    """Of each line; None of one that is always kept."""

    @property
    def hashes(self) -> Iterator[int]:
        """All of them."""
        yield from self.bands
        yield from (value for value in self.paragraphs if value is not None)


Examined = tuple[list[str], list[str], Fault | None]
"""The lines of a document that are new, those that are not, and why it is to be dropped, if it is."""


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

    def sketch(self, lines: Sequence[str]) -> Sketch:
        """Return the sketch of a document; it depends on no other."""
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
    """Decides on documents in their order; remembers those that it keeps in `seen`."""

    def __init__(self, settings: Deduplication, seen: DiskHashSet) -> None:
        self._settings, self._seen = settings, seen

    def examine(self, lines: Sequence[str], minimum_characters: int) -> Examined:
        """Decide on the next document alone."""
        return self.examine_batch([(lines, self._settings.sketch(lines))], minimum_characters)[0]

    def examine_batch(
        self, documents: Sequence[tuple[Sequence[str], Sketch]], minimum_characters: int
    ) -> list[Examined]:
        """Decide on the next documents, with the index asked and told once for all, which takes less time.

        A document that loses lines and has fewer than `minimum_characters` left is dropped. What is dropped is not
        remembered.
        """
        before = self._seen.intersection([value for _, sketch in documents for value in sketch.hashes])
        new: list[int] = []
        examined = [_examined(lines, sketch, minimum_characters, before, new) for lines, sketch in documents]
        self._seen.add(new)
        return examined


def _examined(
    lines: Sequence[str], sketch: Sketch, minimum_characters: int, before: set[int], new: list[int]
) -> Examined:
    """Decide on a document by the hashes that were `before`, which get its own, as `new` does, if it is kept."""
    if found := len(before.intersection(sketch.bands)):
        return [], [], ("near_duplicate", f"{found} of {len(sketch.bands)} bands seen before")
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
        return kept, repeated, ("nothing_new", f"{characters} characters without the paragraphs seen before")
    own.update(sketch.bands)
    before |= own
    new += own
    return kept, repeated, None


def _hash(data: bytes, kind: bytes) -> int:
    """Return a signed hash of 64 bits; equal data of another kind has another."""
    return int.from_bytes(blake2b(data, digest_size=8, person=kind).digest(), "big", signed=True)
