"""Packing of the sample's plain files into a `file://` mirror of the download sites.

From the command line: `python -m jgpt_dagster.sample.pack DIR`.

Sources, for people to read and edit: `pages/<date>/<page id>-<name>.wiki`, a header of `key: value` lines, an empty
line, then wikitext; `documents.txt`, one paragraph a line, an empty line after each document. The first date has the
whole wiki; a later one only the changes since the previous date, with the ids of deleted pages in `removed.txt`.
"""

import lzma
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.sample.dump_writer import Page, write_dump
from jgpt_dagster.storage.atomic_write import atomic_file

__all__ = ["DATES", "WIKI", "Page", "SampleError", "read_pages", "write_dump", "write_mirror"]

WIKI = "samplewiki"
DATES = ("20260101", "20260120")
_HERE = Path(__file__).parent
_PAGE_FILE = re.compile(
    r"title: (?P<title>.+)\nns: (?P<ns>\d+)\nid: (?P<id>\d+)\nrevision: (?P<revision>\d+)\n"
    r"timestamp: (?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\n\n(?s:(?P<text>.*))"
)


class SampleError(JgptError):
    """A source file of the sample is malformed."""


def write_mirror(root: Path, *, pages_per_stream: int = 10) -> None:
    """Write `root/samplewiki/<date>/` for both dates and `root/cc-100/ja.txt.xz`. Repeating it gives the same bytes.

    Raises SampleError if a source file is malformed.
    """
    for date in DATES:
        write_dump(root, WIKI, date, read_pages(date), pages_per_stream=pages_per_stream)
    with (
        (_HERE / "documents.txt").open("rb") as text,
        atomic_file(root / "cc-100" / "ja.txt.xz") as packed,
        lzma.open(packed, "wb") as out,
    ):
        shutil.copyfileobj(text, out)


def read_pages(date: str) -> list[Page]:
    """Return the sample wiki as of `date`, one of DATES, by page id. Raises SampleError if a file is malformed."""
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
        fields = _PAGE_FILE.fullmatch(file.read_text(encoding="utf-8"))
        if fields is None:
            raise SampleError(
                f"{file}: expected the lines title, ns, id, revision and timestamp (as in 2026-01-01T00:00:00Z),"
                " then an empty line and the wikitext"
            )
        yield Page(
            title=fields["title"],
            ns=int(fields["ns"]),
            id=int(fields["id"]),
            revision_id=int(fields["revision"]),
            timestamp=fields["timestamp"],
            text=fields["text"].rstrip(),  # as MediaWiki does when a page is saved
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
    print(f"export JGPT_DUMPS_URL={shlex.quote(root.as_uri())}")
    print(f"export JGPT_CC100_URL={shlex.quote((root / 'cc-100' / 'ja.txt.xz').as_uri())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
