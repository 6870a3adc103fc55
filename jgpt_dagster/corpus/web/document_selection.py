"""Selection of web documents: quality filters, then deduplication, with counts and samples of what is dropped.

It is one pass in source order, so the result depends neither on the number of shards nor on which of them are written.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

from jgpt_dagster.corpus.web.cc100 import DocumentRow, shard_of
from jgpt_dagster.corpus.web.deduplication import DeduplicationSettings, Deduplicator, Sketch
from jgpt_dagster.corpus.web.quality_filters import DropReason, QualityFilters
from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.runtime.worker_pool import OrderedMap, map_in_process
from jgpt_dagster.storage.disk_hash_set import DiskHashSet

DROP_REASONS = ("too_short", "not_japanese", "repetitive", "near_duplicate", "nothing_new")
PARAGRAPH_REASON = "duplicate_paragraph"

# Enough to judge a reason by; at most 50 MB of text with 99 shards.
_SAMPLES = 20
_SAMPLE_CHARACTERS = 1000

# Documents for each query of the hash index: one at a time, the selection took a third more time.
_BATCH_DOCUMENTS = 128
_BATCH_CHARACTERS = 256 << 10


class SelectionSettings(DeduplicationSettings, QualityFilters):
    """All settings that determine which documents are kept."""


@dataclass
class ShardCounts:
    """Counts of one shard: text kept, documents dropped by reason, paragraphs dropped from kept documents; samples."""

    lines: int = 0
    characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_paragraphs: int = 0
    _samples: dict[str, list[tuple[int, int, dict[str, Any]]]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return all counts by name."""
        dropped = {f"dropped_{reason}": self.dropped[reason] for reason in DROP_REASONS}
        return {
            "lines": self.lines,
            "characters": self.characters,
            **dropped,
            "dropped_paragraphs": self.dropped_paragraphs,
        }

    def keep(self, lines: Sequence[str]) -> None:
        """Count a document that is kept."""
        self.lines += len(lines)
        self.characters += sum(map(len, lines))

    def drop(self, document_id: int, reason: str, detail: str, lines: Sequence[str]) -> None:
        """Count a dropped document and perhaps keep it as a sample."""
        self.dropped[reason] += 1
        self._sample(document_id, reason, detail, lines)

    def drop_paragraphs(self, document_id: int, paragraphs: Sequence[str]) -> None:
        """Count paragraphs that are dropped from a kept document."""
        self.dropped_paragraphs += len(paragraphs)
        self._sample(document_id, PARAGRAPH_REASON, f"{len(paragraphs)} paragraphs seen before", paragraphs)

    def samples(self) -> list[dict[str, Any]]:
        """Return up to 20 samples of each reason: {reason, document_id, detail, text}, cut to 1,000 characters.

        They have the smallest hashes of their ids: spread evenly over the source, the same in every run.
        """
        rows = [row for samples in self._samples.values() for _, _, row in samples]
        return sorted(rows, key=lambda row: (row["reason"], row["document_id"]))

    def _sample(self, document_id: int, reason: str, detail: str, lines: Sequence[str]) -> None:
        samples = self._samples.setdefault(reason, [])
        rank = -int.from_bytes(blake2b(document_id.to_bytes(8, "big"), digest_size=8).digest(), "big")
        if len(samples) == _SAMPLES and rank < samples[0][0]:
            return
        text = "\n".join(lines)[:_SAMPLE_CHARACTERS]
        row = {"reason": reason, "document_id": document_id, "detail": detail, "text": text}
        (heapq.heappushpop if len(samples) == _SAMPLES else heapq.heappush)(samples, (rank, document_id, row))


def select_documents(
    documents: Iterable[DocumentRow],
    selection: SelectionSettings,
    seen: DiskHashSet,
    counts_by_shard: Mapping[int, ShardCounts],
    shards: int,
    ordered_map: OrderedMap = map_in_process,
) -> Iterator[DocumentRow]:
    """Yield the kept documents with their kept lines, and count what is dropped in `counts_by_shard`.

    A shard without counts is not written, but its documents enter the index `seen` all the same. `ordered_map` runs
    what depends on a single document, which is half of the work; the index belongs to this process.
    """
    deduplicator = Deduplicator(selection, seen)
    document_batches = batches(documents, max_items=_BATCH_DOCUMENTS, max_size=_BATCH_CHARACTERS, size=_characters)
    for batch, sketches_or_reasons in ordered_map(partial(_filter_or_sketch, selection), document_batches):
        sketched = [
            (lines, sketch)
            for (_, lines), sketch in zip(batch, sketches_or_reasons, strict=True)
            if isinstance(sketch, Sketch)
        ]
        deduplicated = iter(deduplicator.deduplicate_batch(sketched, selection.minimum_characters))
        for (document_id, lines), outcome in zip(batch, sketches_or_reasons, strict=True):
            kept, repeated, drop_reason = next(deduplicated) if isinstance(outcome, Sketch) else (lines, [], outcome)
            shard_counts = counts_by_shard.get(shard_of(document_id, shards))
            if shard_counts and drop_reason:
                shard_counts.drop(document_id, *drop_reason, lines)
            elif shard_counts and repeated:
                shard_counts.drop_paragraphs(document_id, repeated)
            if drop_reason is None:
                yield document_id, kept


def _filter_or_sketch(selection: SelectionSettings, documents: Sequence[DocumentRow]) -> list[DropReason | Sketch]:
    """Return for each document why the quality filters drop it, or its sketch if they do not."""
    return [selection.drop_reason(lines) or selection.sketch(lines) for _, lines in documents]


def _characters(document: DocumentRow) -> int:
    return sum(map(len, document[1]))
