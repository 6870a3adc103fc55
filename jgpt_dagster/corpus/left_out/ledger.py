"""The file beside a shard with what was left out of each of its articles, and the sums over such files."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from jgpt_dagster.corpus.left_out.figures import REASONS, Figures, TemplateFigures, costliest
from jgpt_dagster.storage.manifest import FileEntry
from jgpt_dagster.storage.parquet import FinalRecipe, RowWriter, read_rows

LedgerRow = tuple[Any, ...]
"""The figures of an article as a row of the file."""

_TEMPLATE_TYPES = {
    "kind": pa.string(),
    "uses": pa.int64(),
    "characters": pa.int64(),
    "sentences": pa.int64(),
    "sentence_characters": pa.int64(),
    "sample": pa.string(),
}
SCHEMA = pa.schema(
    [
        ("page_id", pa.int64()),
        *((reason, pa.int64()) for reason in REASONS),
        ("kept", pa.int64()),
        ("added", pa.int64()),
        ("template", pa.list_(pa.string())),
        *((f"template_{name}", pa.list_(kind)) for name, kind in _TEMPLATE_TYPES.items()),
    ]
)
"""Characters by reason, then parallel lists with an entry for each template; names as in `Figures`."""

# How many templates the manifest of a shard lists.
_LISTED = 20


class LedgerWriter:
    """Writes the rows of articles in their order. Use `open`."""

    def __init__(self, path: Path, rows: RowWriter, opened: ExitStack) -> None:
        self._path, self._rows, self._opened = path, rows, opened
        self._total = Figures()
        self._last: tuple[LedgerRow, Figures] | None = None

    @classmethod
    @contextmanager
    def open(cls, path: Path, recipe: FinalRecipe) -> Iterator["LedgerWriter"]:
        """Yield a writer of the file at `path`, which appears when `finish` is called."""
        with ExitStack() as opened:
            rows = opened.enter_context(RowWriter.open(path, SCHEMA, recipe, dict))
            yield cls(path, rows, opened)

    def report(self, page_id: int, figures: Figures) -> None:
        """Add the figures of an article."""
        self._write_last()
        self._last = ledger_row(page_id, figures), figures

    def append(self, row: LedgerRow) -> None:
        """Add the row of an article as another file has it."""
        self._write_last()
        self._last = row, _figures(row)

    def take_back(self) -> None:
        """Take the row that was added last out again: its article is not written."""
        self._last = None

    def _write_last(self) -> None:
        if self._last is not None:
            row, figures = self._last
            self._rows.append(row)
            self._total.add(figures)
            self._last = None

    def counts(self) -> dict[str, Any]:
        """Return the sums of what was added, for the manifest of the shard."""
        self._write_last()
        return account_counts(self._total)

    def finish(self) -> FileEntry:
        """Complete the file; return its size and hash."""
        self._write_last()
        self._opened.close()
        return FileEntry.of(self._path)


def ledger_row(page_id: int, figures: Figures) -> LedgerRow:
    """Return the row of an article."""
    templates = figures.templates.values()
    lists = ([getattr(template, name) for template in templates] for name in _TEMPLATE_TYPES)
    return (
        page_id,
        *(figures.characters[reason] for reason in REASONS),
        figures.kept,
        figures.added,
        [*figures.templates],
        *lists,
    )


def read_figures(path: Path) -> Iterator[Figures]:
    """Yield the figures of each article of a file."""
    return map(_figures, read_rows(path))


def _figures(row: LedgerRow) -> Figures:
    _, *characters = row[: len(REASONS) + 1]
    kept, added, names, *lists = row[len(REASONS) + 1 :]
    templates = {name: TemplateFigures(*values) for name, *values in zip(names, *lists, strict=True)}
    return Figures(dict(zip(REASONS, characters, strict=True)), kept, added, templates)


def account_counts(total: Figures) -> dict[str, Any]:
    """Return the sums of a file for the manifest of its shard."""
    templates = {name: vars(template) for name, template in costliest(total.templates, _LISTED)}
    return {"left_out": total.characters, "kept": total.kept, "added": total.added, "costliest_templates": templates}
