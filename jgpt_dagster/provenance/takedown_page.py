"""The receipt of a takedown as a page of Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jgpt_dagster.literal_text import markdown_cell

_SHOWN = 200


def page_of(receipt: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the page of a receipt. Long tables are cut: the JSON beside it has all rows."""
    yield "# Takedown\n"
    columns = ("number", "kind", "value", "reason", "added")
    yield from _table(columns, ([entry[name] for name in columns] for entry in receipt["entries"]))
    yield from _documents(receipt["documents"])
    yield from _copies(receipt["near_copies"])
    yield "\n## Token files\n"
    files = ([file["label"], file["path"], file["documents"], file["tokens"]] for file in receipt["tokens"])
    yield from _table(("tokens", "place", "documents", "their tokens"), files)
    yield from _models(receipt["models"])
    yield "\n## What still holds them\n"
    held = ([holder[name] for name in ("kind", "name", "why")] for holder in receipt["still_held"])
    yield from _table(("kind", "name", "why"), held)


def _documents(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## Documents\n"
    rows = (
        [
            document["shard"] + (f" ({document['beside']} beside it)" if document["beside"] else ""),
            document["key"],
            document["title"] or document["url"],
            document["revision"],
            document["entry"],
        ]
        for document in documents
    )
    yield from _table(["in", "id", "title or URL", "revision", "by entry"], rows)


def _copies(copies: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Near copies\n"
    if not copies["compared"]:
        yield "The corpora have not been compared with each other: `training_set` does that.\n"
    rows = [
        [*_pair(copy), f"dropped: {copy['reason']}" if copy["reason"] else f"kept: {copy['bands']} bands in common"]
        for copy in (*copies["dropped"], *copies["kept"])
    ]
    yield from _table(["document", "copy of", "what became of it"], rows)


def _pair(copy: Mapping[str, Any]) -> tuple[str, str]:
    return f"{copy['corpus']} {copy['key']}", " ".join(map(str, copy["of"]))


def _models(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## Models\n"
    rows = (
        [
            model["label"] + ("" if model["finished"] else " (in training)"),
            _read(model),
            len(model["held_out"]),
            _range(model["steps"]),
            ", ".join(map(str, model["checkpoints"])),
            model["release"],
        ]
        for model in models
    )
    heads = ["model", "documents read", "held out", "steps", "checkpoints that had read them", "release"]
    yield from _table(heads, rows)


def _read(model: Mapping[str, Any]) -> str:
    if model["unknown"]:
        return "not known: its training data is gone"
    return f"through {model['through']}" if model["through"] else f"{len(model['documents']):,}"


def _range(steps: Sequence[int]) -> str:
    return f"{len(steps):,}, from {steps[0]:,} to {steps[-1]:,}" if steps else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        yield "None."
        return
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in cells[:_SHOWN])
    if len(cells) > _SHOWN:
        yield f"\nand {len(cells) - _SHOWN:,} more, in the JSON beside this page."


def _cell(value: Any) -> str:
    return markdown_cell("" if value is None else str(value).replace("|", " "))
