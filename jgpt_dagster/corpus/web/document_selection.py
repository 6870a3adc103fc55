"""Selection of web documents: quality filters, then deduplication, with counts and samples of what is dropped.

A first pass over the source signs each document by itself, which worker processes do. The copies are decided on from
the signatures of all shards, in the order of the source, and a second pass drops them. So the result depends neither on
the number of shards nor on which of them are written.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

from jgpt_dagster.corpus.duplicates.decisions import NEAR_DUPLICATE, NOTHING_NEW, Decision
from jgpt_dagster.corpus.duplicates.explanations import PARAGRAPH_REASON, explanation_rows
from jgpt_dagster.corpus.duplicates.signatures import PackedRows, dropped_row, pack_rows, signature_row, unpack_rows
from jgpt_dagster.corpus.duplicates.similarity import KeptTexts
from jgpt_dagster.corpus.duplicates.sketches import DeduplicationSettings
from jgpt_dagster.corpus.web.cc100 import DocumentRow, shard_of
from jgpt_dagster.corpus.web.quality_filters import QualityFilters
from jgpt_dagster.errors import JgptError
from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.runtime.worker_pool import OrderedMap, map_in_process

DROP_REASONS = ("too_short", "not_japanese", "repetitive", NEAR_DUPLICATE, NOTHING_NEW)

# Enough to judge a reason by; at most 50 MB of text with 99 shards.
_SAMPLES = 20
_SAMPLE_CHARACTERS = 1000

# Documents that a worker process signs at once, and that are read ahead.
_BATCH_DOCUMENTS = 128
_BATCH_CHARACTERS = 256 << 10


class ChangedSourceError(JgptError):
    """A source whose documents are not those that were signed."""


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


def document_batches(documents: Iterable[DocumentRow]) -> Iterator[list[DocumentRow]]:
    """Yield the documents in lists that are worth their passage to a worker process or thread."""
    return batches(
        documents,
        max_items=_BATCH_DOCUMENTS,
        max_size=_BATCH_CHARACTERS,
        size=lambda document: sum(map(len, document[1])),
    )


def sign_documents(
    documents: Iterable[DocumentRow], selection: SelectionSettings, ordered_map: OrderedMap = map_in_process
) -> Iterator[tuple[Any, ...]]:
    """Yield the row of each document in the table of signatures."""
    for _, packed in ordered_map(partial(_sign, selection), document_batches(documents)):
        yield from unpack_rows(packed)


def select_documents(
    documents: Iterable[DocumentRow],
    decisions: Iterable[Decision],
    texts: KeptTexts,
    counts_by_shard: Mapping[int, ShardCounts],
    shards: int,
    explain: Callable[[tuple[Any, ...]], None] = lambda row: None,
) -> Iterator[DocumentRow]:
    """Yield the kept documents with their kept lines; count what is dropped in `counts_by_shard`, and explain it.

    Documents of a shard without counts are left out. `explain` takes the rows of EXPLANATIONS. Raises
    ChangedSourceError if a document with a decision does not come.
    """
    remaining = iter(decisions)
    decision = next(remaining, None)
    for document_id, lines, *origin in documents:
        counts = counts_by_shard.get(shard_of(document_id, shards))
        if decision is None or document_id < decision.key:
            texts.add(document_id, lines)
            if counts:
                yield document_id, lines, *origin
            continue
        if decision.key != document_id:
            break
        if not decision.drop_reason:
            texts.add(document_id, lines)
        if counts:
            for row in explanation_rows(decision, lines, texts):
                explain(row)
            if decision.drop_reason:
                counts.drop(document_id, decision.drop_reason, decision.drop_detail or "", lines)
            else:
                counts.drop_paragraphs(document_id, [lines[number] for number in decision.repeated_lines])
                dropped = {*decision.repeated_lines}
                yield document_id, [line for number, line in enumerate(lines) if number not in dropped], *origin
        decision = next(remaining, None)
    if decision is not None:
        raise ChangedSourceError(
            f"document {decision.key} does not come where it came when it was signed: the source was changed. "
            "Run the same command again."
        )


def _sign(selection: SelectionSettings, documents: Sequence[DocumentRow]) -> PackedRows:
    reasons = [selection.drop_reason(lines) for _, lines, *_ in documents]
    passed = [lines for (_, lines, *_), reason in zip(documents, reasons, strict=True) if reason is None]
    sketches = iter(selection.sketches(passed) if passed else ())
    rows = [
        signature_row(document_id, next(sketches)) if reason is None else dropped_row(document_id, *reason)
        for (document_id, *_), reason in zip(documents, reasons, strict=True)
    ]
    return pack_rows(rows)
