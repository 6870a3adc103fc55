"""Why copies were dropped: which document or line each one repeats, and how alike two documents are."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from jgpt_dagster.corpus.duplicates.decisions import Decision
from jgpt_dagster.corpus.duplicates.similarity import KeptTexts

EXPLANATIONS = pa.schema(
    [
        ("document_id", pa.int64()),
        # The number of the dropped line in the source, from 0; null if the row is about the whole document.
        ("line", pa.int32()),
        ("reason", pa.string()),
        # The kept document that this one repeats; null if it repeats nothing but itself.
        ("kept_document_id", pa.int64()),
        # The number in the source of the line that stands there.
        ("kept_line", pa.int32()),
        # Of the sets of character 5-grams of the two documents as they are in the source.
        ("jaccard", pa.float64()),
    ]
)
PARAGRAPH_REASON = "duplicate_paragraph"


def explanation_rows(decision: Decision, lines: Sequence[str], texts: KeptTexts) -> Iterator[tuple[Any, ...]]:
    """Yield the rows about a document with these lines: one if it is dropped as a copy, one for each repeated line.

    A document that a quality filter drops has none.
    """
    key, kept = decision.key, decision.kept_key
    if decision.drop_reason and (kept is not None or decision.repeated_lines):
        similarity = None if kept is None else texts.similarity(kept, lines)
        yield key, None, decision.drop_reason, kept, None, similarity
    origins = zip(decision.repeated_lines, decision.first_keys, decision.first_lines, strict=True)
    for line, first_key, first_line in origins:
        yield key, line, PARAGRAPH_REASON, first_key, first_line, None
