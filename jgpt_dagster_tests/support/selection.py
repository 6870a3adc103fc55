"""The selection of documents without its asset: both passes and the decision between them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.duplicates.decisions import Decisions, decide
from jgpt_dagster.corpus.duplicates.signatures import SIGNATURES
from jgpt_dagster.corpus.duplicates.similarity import KeptTexts
from jgpt_dagster.corpus.web.cc100 import DocumentRow, shard_of
from jgpt_dagster.corpus.web.document_selection import SelectionSettings, ShardCounts, select_documents, sign_documents
from jgpt_dagster.runtime.worker_pool import OrderedMap, map_in_process
from jgpt_dagster.storage.manifest import Recipe
from jgpt_dagster.storage.parquet import write_rows

RECIPE = Recipe("selection", "1")


def decisions_on(
    documents: Sequence[DocumentRow],
    selection: SelectionSettings,
    folder: Path,
    shards: int = 1,
    ordered_map: OrderedMap = map_in_process,
) -> Decisions:
    """Sign documents in shards and decide on them, with files in a folder."""
    rows = list(sign_documents(documents, selection, ordered_map))
    tables = [folder / f"shard={number:03d}.parquet" for number in range(shards)]
    for number, table in enumerate(tables):
        write_rows(table, SIGNATURES, (row for row in rows if shard_of(row[0], shards) == number), RECIPE, dict)
    return decide(
        tables,
        folder,
        keys=1 + max((key for key, _ in documents), default=0),
        bands=selection.bands_of_document,
        minimum_characters=selection.minimum_characters,
        ordered_map=ordered_map,
    )


def select(
    documents: Sequence[DocumentRow],
    selection: SelectionSettings,
    folder: Path,
    shards: int = 1,
    written: Sequence[int] | None = None,
    ordered_map: OrderedMap = map_in_process,
) -> tuple[list[DocumentRow], dict[int, ShardCounts], list[tuple[Any, ...]]]:
    """Return the kept documents of the written shards (all by default), the counts by shard, and the explanations."""
    counts = {number: ShardCounts() for number in (range(shards) if written is None else written)}
    explanations: list[tuple[Any, ...]] = []
    decisions = decisions_on(documents, selection, folder, shards, ordered_map)
    with KeptTexts(folder, decisions.wanted) as texts:
        kept = list(select_documents(documents, decisions, texts, counts, shards, explanations.append))
    return kept, counts, explanations
