"""Which documents of a web corpus are kept, with what of them, and an account of the others for each shard.

Decided in one pass in the order of the source, so that it depends neither on the number of shards nor on which of them
are written.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

from jgpt_dagster.corpus.web.cc100 import DocumentRow, shard_of
from jgpt_dagster.corpus.web.deduplication import Deduplication, Deduplicator, Sketch
from jgpt_dagster.corpus.web.quality_filters import DocumentFilters, Fault
from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.runtime.worker_pool import OrderedMap, map_in_process
from jgpt_dagster.storage.disk_hash_set import DiskHashSet

DROP_REASONS = ("too_short", "not_japanese", "repetitive", "near_duplicate", "nothing_new")
PARAGRAPH_REASON = "duplicate_paragraph"

# Enough to judge a reason by; with 99 shards at most some 50 MB of text.
_SAMPLES = 20
_SAMPLE_CHARACTERS = 1000

# For how many documents the index is asked at once: one by one the selection took a third more time.
_BATCH_DOCUMENTS = 128
_BATCH_CHARACTERS = 256 << 10


class Selection(Deduplication, DocumentFilters):
    """All settings that decide which documents are kept."""


@dataclass
class ShardCounts:
    """What one shard got and did not get: documents dropped by reason, and paragraphs that kept documents lost."""

    lines: int = 0
    characters: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_paragraphs: int = 0
    _samples: dict[str, list[tuple[int, int, dict[str, Any]]]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return all that is counted, by name."""
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
        """Count a document that is dropped."""
        self.dropped[reason] += 1
        self._sample(document_id, reason, detail, lines)

    def drop_paragraphs(self, document_id: int, paragraphs: Sequence[str]) -> None:
        """Count paragraphs that a kept document loses."""
        self.dropped_paragraphs += len(paragraphs)
        self._sample(document_id, PARAGRAPH_REASON, f"{len(paragraphs)} paragraphs seen before", paragraphs)

    def samples(self) -> list[dict[str, Any]]:
        """Return up to 20 samples of each reason: {reason, document_id, detail, text}, the text cut at 1,000 signs.

        They are those whose id has the least hash: evenly spread over the source, and the same in every run.
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


def select(
    documents: Iterable[DocumentRow],
    selection: Selection,
    seen: DiskHashSet,
    tallies: Mapping[int, ShardCounts],
    shards: int,
    ordered_map: OrderedMap = map_in_process,
) -> Iterator[DocumentRow]:
    """Yield the documents that are kept, with those of their lines that are; the tallies of their shards get the rest.

    A shard without a tally is not written, but what it would hold counts as seen. `ordered_map` does what
    can be told of a document alone, which is half of the work; the index is this process's.
    """
    deduplicator = Deduplicator(selection, seen)
    document_batches = batches(documents, max_items=_BATCH_DOCUMENTS, max_size=_BATCH_CHARACTERS, size=_characters)
    for batch, findings in ordered_map(partial(_findings, selection), document_batches):
        sketched = [
            (lines, sketch) for (_, lines), sketch in zip(batch, findings, strict=True) if isinstance(sketch, Sketch)
        ]
        examined = iter(deduplicator.examine_batch(sketched, selection.minimum_characters))
        for (document_id, lines), finding in zip(batch, findings, strict=True):
            kept, repeated, fault = next(examined) if isinstance(finding, Sketch) else (lines, [], finding)
            tally = tallies.get(shard_of(document_id, shards))
            if tally and fault:
                tally.drop(document_id, *fault, lines)
            elif tally and repeated:
                tally.drop_paragraphs(document_id, repeated)
            if fault is None:
                yield document_id, kept


def _findings(selection: Selection, documents: Sequence[DocumentRow]) -> list[Fault | Sketch]:
    """Return of each document why it is to be dropped, or else its sketch."""
    return [selection.fault(lines) or selection.sketch(lines) for _, lines in documents]


def _characters(document: DocumentRow) -> int:
    return sum(map(len, document[1]))
