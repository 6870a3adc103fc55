"""Metadata that assets show in the UI: counts, previews of real rows, tables."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import dagster as dg

from jgpt_dagster.charts.bar_chart import Bar, bar_chart
from jgpt_dagster.literal_text import one_line
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.artifact import MADE_BECAUSE, Artifact
from jgpt_dagster.storage.manifest import Manifest

MAKING_RATE = "making_seconds_per_unit"
"""Key in run.json: seconds per unit of size, as in ReuseStats."""

FULL_SECONDS = "full_run_seconds"
"""Key in run.json of a run that reused rows: seconds of the last run of the shard that reused none."""

# What ends an address in Markdown, or means something else in it.
_NOT_IN_ADDRESS = re.compile(r"""[\s%#&()"\\`]""")

# Characters of Markdown from which on the UI shows it on a click only (dagster-webserver 1.13).
_SHOWN_IN_PLACE = 1_000

# Points of a line, from many to few.
_POINTS = (120, 90, 70, 55, 45, 38, 32, 27, 23, 20, 17, 14, 12, 8)

_NOT_SHOWN = frozenset({MAKING_RATE, FULL_SECONDS})


def stage_metadata(store: CorpusStore, artifact: Artifact, manifest: Manifest, made: bool) -> dict[str, Any]:
    """Return the metadata that every stage shows: its counts, the record of the run that made it, and its path."""
    run = artifact.run_record()
    status = "made" if made else "verified: complete and current"
    because = {MADE_BECAUSE: one_line(str(run[MADE_BECAUSE]))} if made and MADE_BECAUSE in run else {}
    return {
        "status": status,
        **because,
        **flat_counts(manifest.counts),
        **{name: value for name, value in run.items() if isinstance(value, int | float) and name not in _NOT_SHOWN},
        # Relative to the data root: the UI does not wrap paths, and a full one would make the table too wide.
        "path": dg.MetadataValue.path(str(artifact.path.relative_to(store.root.path))),
    }


def flat_counts(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts as metadata values: a nested mapping as JSON, a float with six significant digits."""
    return {name: _metadata_value(value) for name, value in counts.items() if value is not None}


def preview(head: tuple[str, str], rows: Iterable[tuple[str, str]], longest: int = 120) -> dg.TableMetadataValue:
    """Return rows of a corpus (key, text) as a table, at most `longest` characters a cell, line ends as spaces."""
    return table(head, ([_shortened(key, 40), _shortened(text, longest)] for key, text in rows))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> dg.TableMetadataValue:
    """Return a table. Unlike Markdown, its cells are data: the UI shows whatever they hold literally."""
    records = [dg.TableRecord(dict(zip(head, map(one_line, row), strict=True))) for row in rows]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in head]))


def picture(name: str, svg: str) -> dg.MarkdownMetadataValue:
    """Return an SVG as a picture. The UI shows up to 999 characters of Markdown in place, and more on a click.

    Signs that Markdown or an address would take for its own are escaped; that costs less than base64.
    """
    address = _NOT_IN_ADDRESS.sub(lambda match: quote(match[0]), svg)
    return dg.MetadataValue.md(f"![{name}](data:image/svg+xml,{address})")


def fitting_picture(name: str, draw: Callable[[int], str], details: Iterable[int]) -> dg.MarkdownMetadataValue:
    """Return the first picture that the UI shows in place; `draw` draws it with so many points or bars.

    `details` go from many to few. If none fits, the last one is returned.
    """
    for detail in details:
        drawn = picture(name, draw(detail))
        if len(drawn.value or "") < _SHOWN_IN_PLACE:
            break
    return drawn


def curve(name: str, draw: Callable[..., str]) -> dg.MarkdownMetadataValue:
    """Return a chart of lines, with as many points as the UI shows in place; `draw` is `line_chart` with its lines."""
    return fitting_picture(name, lambda points: draw(points=points), _POINTS)


def bars(name: str, title: str, amounts: Sequence[Bar]) -> dg.MarkdownMetadataValue:
    """Return a chart of amounts, as many as the UI shows in place."""
    return fitting_picture(name, lambda most: bar_chart(amounts, title, most=most), range(len(amounts), 0, -1))


def _metadata_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dg.MetadataValue.json(dict(value))
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
