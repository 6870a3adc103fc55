"""Writer of multistream dumps in exactly the format of dumps.wikimedia.org, from a stream of pages.

The pages of the sample come from `pack`. Format: a bz2 stream with the XML header, one bz2 stream for every N pages,
one with the closing tag; an index of `offset:page_id:title` lines; `dumpstatus.json` and sha1 sums. Schema:
https://www.mediawiki.org/xml/export-0.11.xsd
"""

import bz2
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.storage.atomic_write import atomic_file

NAMESPACES = {
    -2: "メディア",
    -1: "特別",
    0: "",
    1: "ノート",
    2: "利用者",
    3: "利用者‐会話",
    4: "Wikipedia",
    5: "Wikipedia‐ノート",
    6: "ファイル",
    7: "ファイル‐ノート",
    8: "MediaWiki",
    9: "MediaWiki‐ノート",
    10: "Template",
    11: "Template‐ノート",
    12: "Help",
    13: "Help‐ノート",
    14: "Category",
    15: "Category‐ノート",
    100: "Portal",
    101: "Portal‐ノート",
    828: "モジュール",
    829: "モジュール‐ノート",
}

_REDIRECT = re.compile(r"\s*#(?:REDIRECT|転送)\s*:?\s*\[\[\s*:?([^\]|#]+)", re.IGNORECASE)
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a wiki at one revision.

    `title` includes the namespace name (`Help:目次`). `text` is wikitext with line ends `\\n` and only characters that
    XML 1.0 allows, as in MediaWiki. A page whose text is `#REDIRECT [[...]]` or `#転送 [[...]]` is a redirect.
    `parent_id` is the previous revision, None for a new page. `timestamp` is ISO 8601 in UTC.
    """

    title: str
    id: int
    revision_id: int
    text: str
    ns: int = 0
    timestamp: str = "2026-01-01T00:00:00Z"
    parent_id: int | None = None

    @property
    def redirect(self) -> str | None:
        """The title that this page redirects to, or None."""
        target = _REDIRECT.match(self.text)
        return target[1].strip() if target else None


class DumpStream(NamedTuple):
    """A bz2 stream of pages, and the id and title of each for the index."""

    compressed: bytes
    pages: list[tuple[int, str]]


def dump_stream(pages: Iterable[Page]) -> DumpStream:
    """Return the stream that holds `pages`, in the given order."""
    listed = list(pages)
    xml = "".join(map(_page_xml, listed))
    return DumpStream(bz2.compress(xml.encode()), [(page.id, page.title) for page in listed])


def write_dump(
    root: Path, wiki: str, date: str, pages: Iterable[Page], *, pages_per_stream: int = 100, status: str = "done"
) -> None:
    """Write `root/wiki/date/` as a dump of `pages`, in the given order, with the job status `status`.

    Pages are read once and held in memory one stream at a time. The same pages give the same bytes. Each file appears
    complete or not at all; `dumpstatus.json`, which announces the others, is last. Raises ValueError if
    `pages_per_stream` < 1.
    """
    if pages_per_stream < 1:
        raise ValueError(f"pages_per_stream is {pages_per_stream}; a stream holds at least one page")
    streams = map(dump_stream, batches(pages, max_items=pages_per_stream))
    write_dump_streams(root, wiki, date, streams, status=status)


def write_dump_streams(
    root: Path, wiki: str, date: str, streams: Iterable[DumpStream], *, status: str = "done"
) -> None:
    """Write a dump as `write_dump` does, from streams that are already compressed (in other processes, say)."""
    folder = root / wiki / date
    articles = folder / f"{wiki}-{date}-pages-articles-multistream.xml.bz2"
    index = folder / f"{wiki}-{date}-pages-articles-multistream-index.txt.bz2"
    with atomic_file(articles) as xml, atomic_file(index) as raw_index, bz2.open(raw_index, "wb") as lines:
        xml.write(bz2.compress(_header(wiki).encode()))
        for stream in streams:
            offset = xml.tell()
            xml.write(stream.compressed)
            lines.write("".join(f"{offset}:{page_id}:{_escaped(title)}\n" for page_id, title in stream.pages).encode())
        xml.write(bz2.compress(b"</mediawiki>\n"))

    sums = {file.name: _sums(file) for file in (articles, index)}
    with atomic_file(folder / f"{wiki}-{date}-sha1sums.txt") as out:
        out.write("".join(f"{entry['sha1']}  {name}\n" for name, entry in sums.items()).encode())
    job = {
        "status": status,
        "updated": f"{date[:4]}-{date[4:6]}-{date[6:]} 12:00:00",
        "files": {
            name: {"size": (folder / name).stat().st_size, "url": f"/{wiki}/{date}/{name}", **entry}
            for name, entry in sums.items()
        },
    }
    with atomic_file(folder / "dumpstatus.json") as out:
        out.write(json.dumps({"version": "0.8", "jobs": {"articlesmultistreamdump": job}}, indent=1).encode())


def _header(wiki: str) -> str:
    export = "http://www.mediawiki.org/xml/export-0.11"
    namespaces = "".join(
        f'      <namespace key="{key}" case="first-letter">{name}</namespace>\n'
        if name
        else f'      <namespace key="{key}" case="first-letter" />\n'
        for key, name in NAMESPACES.items()
    )
    return (
        f'<mediawiki xmlns="{export}/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        f' xsi:schemaLocation="{export}/ {export}.xsd" version="0.11" xml:lang="ja">\n'
        "  <siteinfo>\n"
        "    <sitename>Wikipedia</sitename>\n"
        f"    <dbname>{_escaped(wiki)}</dbname>\n"
        f"    <base>https://{_escaped(wiki)}.example.org/wiki/</base>\n"
        "    <generator>MediaWiki 1.45.0</generator>\n"
        "    <case>first-letter</case>\n"
        f"    <namespaces>\n{namespaces}    </namespaces>\n"
        "  </siteinfo>\n"
    )


def _page_xml(page: Page) -> str:
    content = page.text.encode()
    sha1 = _base36_sha1(content)
    redirect = f'    <redirect title="{_escaped(page.redirect)}" />\n' if page.redirect else ""
    parent = f"      <parentid>{page.parent_id}</parentid>\n" if page.parent_id is not None else ""
    attributes = f'bytes="{len(content)}" sha1="{sha1}" xml:space="preserve"'
    text = f"<text {attributes}>{_escaped(page.text)}</text>" if page.text else f"<text {attributes} />"
    return (
        "  <page>\n"
        f"    <title>{_escaped(page.title)}</title>\n"
        f"    <ns>{page.ns}</ns>\n"
        f"    <id>{page.id}</id>\n"
        f"{redirect}"
        "    <revision>\n"
        f"      <id>{page.revision_id}</id>\n"
        f"{parent}"
        f"      <timestamp>{page.timestamp}</timestamp>\n"
        "      <contributor>\n        <username>編者</username>\n        <id>1</id>\n      </contributor>\n"
        f"      <comment>{'加筆' if parent else '新規作成'}</comment>\n"
        f"      <origin>{page.revision_id}</origin>\n"
        "      <model>wikitext</model>\n"
        "      <format>text/x-wiki</format>\n"
        f"      {text}\n"
        f"      <sha1>{sha1}</sha1>\n"
        "    </revision>\n"
        "  </page>\n"
    )


def _escaped(text: str) -> str:
    return escape(text, {'"': "&quot;"})


def _base36_sha1(content: bytes) -> str:
    """Return the SHA-1 as MediaWiki writes it: base 36, padded to 31 digits."""
    number, digits = int.from_bytes(hashlib.sha1(content, usedforsecurity=False).digest(), "big"), ""
    while number:
        number, digit = divmod(number, 36)
        digits = _BASE36[digit] + digits
    return digits.rjust(31, "0")


def _sums(file: Path) -> dict[str, str]:
    sums = {}
    for algorithm in ("md5", "sha1"):
        with file.open("rb") as content:
            sums[algorithm] = hashlib.file_digest(content, algorithm).hexdigest()
    return sums
