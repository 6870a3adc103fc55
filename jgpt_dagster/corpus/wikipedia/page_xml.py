"""Streaming parser of dump XML: pages, and the `<siteinfo>` header.

The parser is expat, which loads no external files; document type declarations, and with them entities, are rejected. It
does not see the pages that `plain_pages` reads.
Elements are matched by local name, which the export versions 0.10 and 0.11 share
(https://www.mediawiki.org/xml/export-0.11.xsd). Which pages are articles is decided in `articles`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any
from xml.parsers import expat

from jgpt_dagster.corpus.wikipedia.plain_pages import CLOSING, OPENING, read_plain_page
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.errors import JgptError

# MediaWiki does not save a text over $wgMaxArticleSize, 2 MiB by default; this is twice as much.
MAX_TEXT_BYTES = 4 << 20
# Titles have at most 255 bytes; the longest other field is a URL.
_FIELD_LIMIT = 8 << 10
# Pages nest 5 levels deep (content slots included).
_DEPTH_LIMIT = 32
# The longest single token (a tag with its attributes, a comment) that expat may have to hold.
_TOKEN_LIMIT = 1 << 20
_HEADER_LIMIT = 4 << 20
# Wikipedias have some 30 namespaces; each is compared with the links of every page.
_NAMESPACE_LIMIT = 1000
_SLICE = 1 << 16
# A longer page is left to the parser, which holds no more of it than its text.
_PLAIN_LIMIT = 1 << 18
_OPENING, _CLOSING = b"<mediawiki>", b"</mediawiki>"
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)


class PageXmlError(JgptError):
    """The XML of a dump is malformed, truncated, or not the export of a wiki."""


@dataclass(slots=True)
class Page:
    """One page with its last revision.

    Numbers are None if missing or not an int64. `redirect` is whether there is a `<redirect>` element. `text` is the
    wikitext as stored by the wiki, None if deleted, missing or `oversized` (over the limit of `parse_pages`). `model`
    is the content model; exports without one hold only wikitext.
    """

    page_id: int | None = None
    revision_id: int | None = None
    title: str = ""
    namespace: int | None = None
    redirect: bool = False
    model: str = "wikitext"
    text: str | None = None
    oversized: bool = False


def parse_pages(chunks: Iterable[bytes], source: str = "dump", limit_bytes: int = MAX_TEXT_BYTES) -> Iterator[Page]:
    """Yield the pages of a part of a dump's XML, in order, holding no more than one page and one chunk in memory.

    The part is either a whole document or a sequence of whole `<page>` elements, with or without the document's closing
    tag after them. `source` names it in errors; `limit_bytes` limits a page's text, in bytes of UTF-8.

    Raises PageXmlError with the byte offset in the part and the last complete page before it.
    """
    parser = _PageParser(source, limit_bytes)
    head, chunks = _peek(chunks)
    if not head:
        return
    parser.require_utf8(head)
    bare = head.startswith((b"<page", b"</mediawiki"))
    if bare:
        parser.feed(_OPENING)
        parser.offset = len(_OPENING)
        parser.between_pages = len(_OPENING)
    tail = b""
    for piece in _split_after_pages(chunks):
        if not parser.take_plain(piece):
            for part in _split_chunks([piece]):
                parser.feed(part)
                yield from parser.take_pages()
        yield from parser.take_pages()
        tail = (tail + piece)[-64:]
    closed = tail.rstrip().endswith(_CLOSING)
    parser.feed(_CLOSING if bare and not closed else b"", final=True)
    yield from parser.take_pages()


def parse_siteinfo(chunks: Iterable[bytes], source: str = "dump") -> SiteInfo:
    """Return the `<siteinfo>` of a dump, reading no further than its end.

    Raises PageXmlError if the XML is malformed, or if pages, 4 MiB or the end come before a complete `<siteinfo>`.
    """
    parser = _SiteInfoParser(source)
    head, chunks = _peek(chunks)
    parser.require_utf8(head)
    for piece in _split_chunks(chunks):
        parser.feed(piece)
        if parser.site is not None:
            return parser.site
        if parser.fed > _HEADER_LIMIT:
            break
    raise PageXmlError(
        f"{source}: no whole <siteinfo> at its beginning. A dump starts with <mediawiki><siteinfo>…; this file is cut "
        "or not a pages-articles dump."
    )


class _Parser:
    """Feeds expat and maintains the path of local names; subclasses handle the start and end of the element `path`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.path: tuple[str, ...] = ()
        self.fed = 0
        self.offset = 0  # bytes fed before the source itself
        self.expat = expat.ParserCreate("UTF-8")
        self.expat.buffer_text = True
        self.expat.buffer_size = _SLICE
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end
        self.expat.CharacterDataHandler = self._characters
        self.expat.StartDoctypeDeclHandler = self._doctype
        self._parts: list[str] | None = None
        self._size = 0

    def require_utf8(self, head: bytes) -> None:
        """Reject UTF-16, which expat detects by itself, by the first bytes of a document."""
        if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
            raise self.error("this is not UTF-8 (UTF-16?); a dump is well-formed XML in UTF-8")

    def feed(self, data: bytes, final: bool = False) -> None:
        try:
            self.expat.Parse(data, final)
        except expat.ExpatError as error:
            if final and self.path:
                raise self.error(f"the XML ends inside <{self.path[-1]}>: it is cut short") from error
            raise self.error(f"{expat.ErrorString(error.code)} (a dump is well-formed XML in UTF-8)") from error
        self.fed += len(data)
        if self.fed - self.expat.CurrentByteIndex > _TOKEN_LIMIT:
            raise self.error(f"a tag or comment of more than {_TOKEN_LIMIT:,} bytes")

    def error(self, reason: str) -> PageXmlError:
        position = max(self.expat.CurrentByteIndex - self.offset, 0)
        return PageXmlError(f"{self.source}, byte {position:,} of its XML: {reason}")

    def collect(self) -> None:
        """Collect the characters up to the end of the element that has just started."""
        self._parts, self._size = [], 0

    def collected(self) -> str:
        parts, self._parts = self._parts or [], None
        return "".join(parts)

    def on_start(self, attributes: dict[str, str]) -> None:
        raise NotImplementedError

    def on_end(self) -> None:
        raise NotImplementedError

    def on_overflow(self, size: int) -> bool:
        """Return whether to discard the characters of an element, of which there are now `size` bytes."""
        if size > _FIELD_LIMIT:
            raise self.error(f"<{self.path[-1]}> holds more than {_FIELD_LIMIT:,} bytes")
        return False

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.path += (name.rpartition(":")[2],)
        if len(self.path) > _DEPTH_LIMIT:
            raise self.error(f"elements nested more than {_DEPTH_LIMIT} deep")
        if len(self.path) == 1 and self.path[0] != "mediawiki":
            raise self.error(f"the document is <{self.path[0]}>, expected <mediawiki>")
        self.on_start(attributes)

    def _end(self, _: str) -> None:
        self.on_end()
        self.path = self.path[:-1]

    def _characters(self, data: str) -> None:
        if self._parts is not None:
            self._size += len(data.encode())
            if self.on_overflow(self._size):
                self._parts.clear()
            else:
                self._parts.append(data)

    def _doctype(self, *_: Any) -> None:
        raise self.error("a document type declaration; dumps have none")


_PAGE = ("mediawiki", "page")
_REVISION = (*_PAGE, "revision")
_TEXT = (*_REVISION, "text")
_FIELDS = frozenset(
    {(*_PAGE, "title"), (*_PAGE, "ns"), (*_PAGE, "id"), (*_REVISION, "id"), (*_REVISION, "model"), _TEXT}
)


class _PageParser(_Parser):
    def __init__(self, source: str, limit_bytes: int) -> None:
        super().__init__(source)
        self._limit = limit_bytes
        self._page = Page()
        self._pages: list[Page] = []
        self._last = "before the first page"
        self.between_pages = -1
        """How many bytes had been fed when the parser was last known to be between two pages."""

    def take_plain(self, xml: bytes) -> bool:
        """Take a whole page without parsing it, if it is plain and comes where a page may; return whether it is."""
        if self.between_pages != self.fed or not (page := read_plain_page(xml, self._limit)):
            return False
        self._add(
            Page(page.page_id, page.revision_id, page.title, page.namespace, page.redirect, page.model, page.text)
        )
        self.offset -= len(xml)
        return True

    def take_pages(self) -> list[Page]:
        """Return the pages completed since the last call."""
        pages, self._pages = self._pages, []
        return pages

    def _add(self, page: Page) -> None:
        self._pages.append(page)
        self._last = f"after page {page.page_id} '{page.title}'"

    def error(self, reason: str) -> PageXmlError:
        return PageXmlError(f"{super().error(reason)}, {self._last}")

    def on_start(self, attributes: dict[str, str]) -> None:
        path, page = self.path, self._page
        if path in _FIELDS:
            self.collect()
            if path == _TEXT and "deleted" in attributes:
                self.collected()
        elif path == _PAGE:
            self._page = Page()
        elif path == _REVISION:
            page.revision_id, page.model, page.text, page.oversized = None, "wikitext", None, False
        elif path == (*_PAGE, "redirect"):
            page.redirect = True

    def on_end(self) -> None:
        path, page = self.path, self._page
        if path == _PAGE:
            self._add(page)
            self.between_pages = self.expat.CurrentByteIndex + len(CLOSING)
        elif path in _FIELDS and self._parts is not None:
            value = self.collected()
            match path[2:]:
                case ("title",):
                    page.title = value
                case ("ns",):
                    page.namespace = _int64(value)
                case ("id",):
                    page.page_id = _int64(value)
                case ("revision", "id"):
                    page.revision_id = _int64(value)
                case ("revision", "model"):
                    page.model = value
                case _:
                    page.text = None if page.oversized else value

    def on_overflow(self, size: int) -> bool:
        if self.path != _TEXT:
            return super().on_overflow(size)
        self._page.oversized = size > self._limit
        return self._page.oversized


_SITEINFO = ("mediawiki", "siteinfo")
_NAMESPACE = (*_SITEINFO, "namespaces", "namespace")


class _SiteInfoParser(_Parser):
    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.site: SiteInfo | None = None
        self._values = {"dbname": "", "base": ""}
        self._namespaces: dict[int, str] = {}
        self._key: int | None = None

    def on_start(self, attributes: dict[str, str]) -> None:
        if self.path == ("mediawiki", "page") and self.site is None:
            raise self.error("a <page> before any <siteinfo>")
        if self.path == _NAMESPACE:
            self._key = _int64(attributes.get("key", ""))
        if self.path == _NAMESPACE or (self.path[:-1] == _SITEINFO and self.path[-1] in self._values):
            self.collect()

    def on_end(self) -> None:
        if self.path == _SITEINFO:
            self.site = SiteInfo(self._values["dbname"], self._values["base"], self._namespaces)
        elif self.path == _NAMESPACE:
            name = self.collected()
            if self._key is None:
                raise self.error(f"the namespace '{name}' has no number")
            self._namespaces[self._key] = name
            if len(self._namespaces) > _NAMESPACE_LIMIT:
                raise self.error(f"more than {_NAMESPACE_LIMIT:,} namespaces: no wiki has")
        elif self._parts is not None and self.path[:-1] == _SITEINFO:
            self._values[self.path[-1]] = self.collected()


def _int64(text: str) -> int | None:
    value = int(text) if _INTEGER.fullmatch(text) else None
    return value if value is not None and -(1 << 63) <= value < 1 << 63 else None


def _peek(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes without leading white space, at least 16 if there are so many, and all chunks."""
    rest, taken, head = iter(chunks), [], b""
    for chunk in rest:
        head = (head + chunk).lstrip()
        taken.append(chunk)
        if len(head) >= 16:
            break
    return head, chain(taken, rest)


def _split_after_pages(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split chunks anew, after each closing tag of a page; what begins no plain page is not split."""
    rest = b""
    for chunk in chunks:
        *pages, rest = (rest + chunk).split(CLOSING)
        yield from (page + CLOSING for page in pages)
        begins_page = OPENING.startswith(rest.lstrip()[: len(OPENING)])
        if len(rest) > _PLAIN_LIMIT or not begins_page:
            yield rest
            rest = b""
    if rest:
        yield rest


def _split_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split chunks into pieces so small that no limit is exceeded by much before it is checked."""
    for chunk in chunks:
        for start in range(0, len(chunk), _SLICE):
            yield chunk[start : start + _SLICE]
