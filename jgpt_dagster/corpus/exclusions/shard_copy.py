"""A shard of text without some of its documents, copied row by row: the bytes of one that was made without them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.exclusions.screen import Screen
from jgpt_dagster.corpus.left_out.ledger import LedgerRow, LedgerWriter
from jgpt_dagster.corpus.wikipedia.articles import ArticleTotals
from jgpt_dagster.storage.manifest import ACCOUNT, Manifest, Recipe
from jgpt_dagster.storage.parquet import DATA, Schema, read_rows, sidecar_path, write_rows

_SUMS = ("lines", "characters")


def copy_without(
    path: Path, manifest: Manifest, schema: Schema, screen: Screen, recipe: Callable[[], Recipe]
) -> Manifest:
    """Replace the shard at `path`, whose files have this manifest, by one without what a screen takes out.

    `recipe` is called after the last row. The account of what was left out, and the sidecars, lose the same documents.
    """
    account = sidecar_path(path, ACCOUNT)
    taken, kept = ArticleTotals(), _Ends()
    with ExitStack() as opened:
        ledger: LedgerWriter | None = None
        figures: Iterable[LedgerRow] = repeat(())
        if ACCOUNT in manifest.files:
            ledger = opened.enter_context(LedgerWriter.open(account, recipe))
            figures = read_rows(account)

        def rows() -> Iterator[tuple[Any, ...]]:
            for row, left_out in zip(read_rows(path, schema.names), figures, strict=ledger is not None):
                if screen.takes(row):
                    [*taken.count([_article(row, schema.names)])]
                    continue
                kept.count(row[0])
                if ledger:
                    ledger.append(left_out)
                yield row

        def counts() -> dict[str, Any]:
            found = _counts_without(manifest.counts, taken, kept, screen)
            return {**found, "account": ledger.counts()} if ledger else found

        sidecars = {
            name: _kept_beside(screen, name, sidecar_path(path, name))
            for name in manifest.files
            if name not in (DATA, ACCOUNT)
        }
        return write_rows(path, schema, rows(), recipe, counts, sidecars, ledger.finish if ledger else None)


class _Ends:
    """The first and last key of the rows that stay."""

    first: int | None = None
    last: int | None = None

    def count(self, key: int) -> None:
        self.first = key if self.first is None else min(self.first, key)
        self.last = key if self.last is None else max(self.last, key)


def _counts_without(counts: Mapping[str, Any], taken: ArticleTotals, kept: _Ends, screen: Screen) -> dict[str, Any]:
    """Return the counts of a shard without the documents that a screen has taken out of it."""
    found = {name: value for name, value in counts.items() if name != "rows"}
    for name in _SUMS:
        found[name] -= getattr(taken, name)
    found["rejected"] -= screen.rejected
    if "articles" in found:
        found["articles"] -= screen.rows
        found["faults"] = {name: count - taken.faults[name] for name, count in found["faults"].items()}
        found["first_page_id"], found["last_page_id"] = kept.first, kept.last
    excluded = counts.get("excluded", 0) + screen.counts().get("excluded", 0)
    return {**found, "excluded": excluded} if excluded else found


def _kept_beside(screen: Screen, name: str, path: Path) -> Callable[[], Iterable[dict[str, Any]]]:
    def rows() -> Iterator[dict[str, Any]]:
        with path.open(encoding="utf-8") as stream:
            yield from screen.kept_beside(name, map(json.loads, stream))

    return rows


def _article(row: tuple[Any, ...], names: list[str]) -> tuple[int, int, str, list[str]]:
    """Return what is counted of a row: its key and its lines."""
    return row[0], 0, "", row[names.index("lines")]
