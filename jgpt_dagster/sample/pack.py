"""Packs the sample's plain files into a `file://` mirror of the download sites: `python -m jgpt_dagster.sample.pack DIR`.

Sources, for people to read and edit: `pages/<date>/<page id>-<name>.wiki`, a header of `key: value` lines, an empty
line, then wikitext; `documents.txt`, a paragraph a line, an empty line after a document. The first date holds the
whole wiki; a later one only what differs from the date before it, with the ids of deleted pages in `removed.txt`.
"""

import lzma
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.sample.dump import Page, replacing, write_dump

__all__ = ["DATES", "WIKI", "Page", "SampleError", "read_pages", "write_dump", "write_mirror"]

WIKI = "samplewiki"
DATES = ("20260101", "20260120")
_HERE = Path(__file__).parent
_HEADER = ("title", "ns", "id", "revision", "timestamp")


class SampleError(JgptError):
    """A source file of the sample is not in its form."""


def write_mirror(root: Path, *, pages_per_stream: int = 10) -> None:
    """Write `root/samplewiki/<date>/` for both dates and `root/cc-100/ja.txt.xz`. Repeating it gives the same bytes.

    Raises SampleError if a source file is not in its form.
    """
    for date in DATES:
        write_dump(root, WIKI, date, read_pages(date), pages_per_stream=pages_per_stream)
    with (
        (_HERE / "documents.txt").open("rb") as text,
        replacing(root / "cc-100" / "ja.txt.xz") as packed,
        lzma.open(packed, "wb") as out,
    ):
        shutil.copyfileobj(text, out)


def read_pages(date: str) -> list[Page]:
    """The sample wiki as it stood at `date`, one of DATES, by page id. Raises SampleError on a file not in its form."""
    pages: dict[int, Page] = {}
    for day in DATES[: DATES.index(date) + 1]:
        for page in _pages_of(_HERE / "pages" / day):
            before = pages.get(page.id)
            pages[page.id] = replace(page, parent_id=before.revision_id) if before else page
        for page_id in _removed(_HERE / "pages" / day / "removed.txt"):
            del pages[page_id]
    return [pages[page_id] for page_id in sorted(pages)]


def _pages_of(folder: Path) -> Iterator[Page]:
    for file in sorted(folder.glob("*.wiki")):
        head, _, text = file.read_text(encoding="utf-8").partition("\n\n")
        fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        if tuple(fields) != _HEADER:
            raise SampleError(f"{file}: its header holds {', '.join(fields)}; expected {', '.join(_HEADER)}")
        yield Page(
            title=fields["title"],
            ns=int(fields["ns"]),
            id=int(fields["id"]),
            revision_id=int(fields["revision"]),
            timestamp=fields["timestamp"],
            text=text.rstrip(),  # as MediaWiki does when a page is saved
        )


def _removed(file: Path) -> list[int]:
    return [int(line) for line in file.read_text(encoding="utf-8").split()] if file.exists() else []


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m jgpt_dagster.sample.pack DIR", file=sys.stderr)
        return 2
    root = Path(arguments[0]).resolve()
    write_mirror(root)
    print(f"export JGPT_WIKI={WIKI}")
    print(f"export JGPT_DUMPS_URL={root.as_uri()}")
    print(f"export JGPT_CC100_URL={(root / 'cc-100' / 'ja.txt.xz').as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
