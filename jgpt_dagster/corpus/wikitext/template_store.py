"""The template definitions of a dump: collected once, stored on disk, looked up by every shard that expands templates.

Profile `seed` needs them: wikiextractor's command line reads the whole dump for templates before it extracts. What a
template page defines is decided by wikiextractor itself (`bounded_wikiextractor.template_definition`). The files have
the format of wikiextractor's own index (`wikiextractor.template_blob`), which is looked up without loading it into
memory: records, titles and texts, in two sets, `templates` and `redirects`.
"""

import mmap
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wikiextractor.template_blob import RECORD_FORMAT, CompactedTemplates

from jgpt_dagster.corpus.rejected_rows import MAX_FIELD, RejectedLog
from jgpt_dagster.corpus.wikipedia.page_xml import parse_pages
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import TemplateLibrary, escape_xml, template_definition
from jgpt_dagster.corpus.wikitext.extraction_limits import WikitextError
from jgpt_dagster.errors import JgptError
from jgpt_dagster.runtime.sized_cache import cached_by_size
from jgpt_dagster.storage.atomic_write import atomic_file
from jgpt_dagster.storage.parquet import write_json_lines

_SETS = ("templates", "redirects")
_PARTS = ("records", "titles", "texts")
FILES = tuple(f"{name}.{part}" for name in _SETS for part in _PARTS)
"""The names of the files that `collect_templates` writes."""
REJECTED = "templates.rejected.jsonl"
"""The file of the rejected template pages, {title, reason}, which it writes if there are any."""

_TEMPLATE_NAMESPACE = 10
# A line end and four blanks stand between `<page>` and the title.
_INDENT_LIMIT = 64
_END = b"</page>"
# MediaWiki's page_title has 255 bytes; a namespace comes in front, and XML escapes make some characters longer.
_TITLE_LIMIT = 2048
# The English Wikipedia has 0.9 million templates. A million entries of one set take some 300 MB.
_ENTRY_LIMIT = 2_000_000
# Few templates account for most calls. Each process keeps texts of this many characters.
_CACHED = 8 << 20
# The manifest names so many rejected templates, the file REJECTED all of them.
_NAMED = 20


@dataclass
class TemplateCounts:
    """The number of template pages of a dump by outcome; `rejected` maps the first 20 rejected titles to reasons."""

    templates: int = 0
    redirects: int = 0
    empty: int = 0
    rejected: dict[str, str] = field(default_factory=dict)


def collect_templates(chunks: Iterable[bytes], site: SiteInfo, folder: Path, source: str = "dump") -> TemplateCounts:
    """Write the definitions of all template pages in the XML of a dump to the files FILES in `folder`.

    The title decides what is a template page, as in wikiextractor. A template that exceeds the limits goes to the file
    REJECTED with the reason; calls of it show nothing. Memory use is about 200 bytes a template: titles, no texts.

    Raises JgptError if the wiki has no template namespace or more templates than any wiki, and PageXmlError, with
    `source` and the byte offset among the template pages, if such a page is malformed. All of `chunks` are read; other
    pages are not parsed.
    """
    prefix, counts = _template_prefix(site), TemplateCounts()
    with (
        _Builder(folder, "templates") as templates,
        _Builder(folder, "redirects") as redirects,
        RejectedLog(folder) as rejected,
    ):
        for page in parse_pages(_template_elements(chunks, prefix), source):
            title = escape_xml(page.title)
            if not title.startswith(prefix):
                continue
            try:
                if page.oversized:
                    raise WikitextError("its text is too large")
                if len(title) > _TITLE_LIMIT:
                    raise WikitextError(f"its title has more than {_TITLE_LIMIT:,} characters")
                redirect, text = template_definition(title, escape_xml(page.text or ""))
                encoded = text.encode()
            except (WikitextError, UnicodeEncodeError) as error:
                row = {"title": page.title[:MAX_FIELD], "reason": str(error)}
                rejected.append(row)
                if len(counts.rejected) < _NAMED:
                    counts.rejected[row["title"]] = row["reason"]
                continue
            if not encoded:
                counts.empty += 1
            elif redirect:
                counts.redirects += 1
                redirects.add(title, encoded)
            else:
                counts.templates += 1
                templates.add(title, encoded)
        if rejected.count:
            write_json_lines(folder / REJECTED, rejected)
    return counts


def open_templates(folder: Path, site: SiteInfo) -> TemplateLibrary:
    """Return the definitions that `collect_templates` wrote; texts are read from disk on demand."""
    templates, redirects = (
        _CachedTexts(CompactedTemplates(*(_mapped(folder / f"{name}.{part}") for part in _PARTS), decode_cache_size=0))
        for name in _SETS
    )
    return TemplateLibrary(templates, redirects, _template_prefix(site), _namespaces(site))


def no_templates(site: SiteInfo) -> TemplateLibrary:
    """Return the definitions of a dump without template pages."""
    return TemplateLibrary({}, {}, _template_prefix(site), _namespaces(site))


def _template_elements(chunks: Iterable[bytes], prefix: str) -> Iterator[bytes]:
    """Yield the bytes of the `<page>` elements whose title begins with `prefix`, which is escaped as in the XML.

    Tags are matched in the form that MediaWiki writes. Text cannot contain them, since `<` is escaped there.
    """
    opening = re.compile(rb"<page>\s{0,%d}<title>%s" % (_INDENT_LIMIT, re.escape(prefix.encode())))
    longest = len(b"<page><title>") + _INDENT_LIMIT + len(prefix.encode())
    inside, rest = False, b""
    for chunk in chunks:
        data, position = rest + chunk, 0
        while True:
            if not inside:
                if (found := opening.search(data, position)) is None:
                    rest = data[max(position, len(data) - longest) :]
                    break
                inside, position = True, found.start()
            end = data.find(_END, position)
            if end < 0:
                border = max(position, len(data) - len(_END))
                yield data[position:border]
                rest = data[border:]
                break
            inside, end = False, end + len(_END)
            yield data[position:end]
            position = end
    if inside:
        yield rest


def _template_prefix(site: SiteInfo) -> str:
    name = site.namespaces.get(_TEMPLATE_NAMESPACE)
    if not name:
        raise JgptError(
            f"the <siteinfo> of this dump of {site.dbname} names no template namespace (key 10), and the recipe "
            "extracts nothing from such a dump. Set JGPT_TEXT=clean, or use the dump of a MediaWiki wiki."
        )
    return f"{escape_xml(name)}:"


def _namespaces(site: SiteInfo) -> frozenset[str]:
    return frozenset({"Template", *map(escape_xml, site.namespaces.values())})


class _CachedTexts:
    """The texts of a set of templates by title, with a cache whose memory is bounded however large they are."""

    def __init__(self, templates: CompactedTemplates) -> None:
        def text_of(title: str) -> str | None:
            text: str | None = templates.get(title)
            return text

        self._text = cached_by_size(text_of, _CACHED, lambda title, text: len(title) + len(text or "") + 100)

    def __contains__(self, title: str) -> bool:
        return self._text(title) is not None

    def __getitem__(self, title: str) -> str:
        if (text := self._text(title)) is None:
            raise KeyError(title)
        return text

    def get(self, title: str) -> str | None:
        return self._text(title)


def _mapped(path: Path) -> Any:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


class _Builder:
    """Writes one set: texts as they arrive; records and titles, sorted by title, at the end."""

    def __init__(self, folder: Path, name: str) -> None:
        self._paths = {part: folder / f"{name}.{part}" for part in _PARTS}
        self._entries: list[tuple[str, int, int]] = []
        self._size = 0

    def __enter__(self) -> "_Builder":
        self._file = atomic_file(self._paths["texts"])
        self._texts = self._file.__enter__()
        return self

    def add(self, title: str, text: bytes) -> None:
        if len(self._entries) == _ENTRY_LIMIT:
            raise JgptError(f"more than {_ENTRY_LIMIT:,} template pages: no wiki has. This is not a dump of one.")
        self._texts.write(text)
        self._entries.append((title, self._size, len(text)))
        self._size += len(text)

    def __exit__(self, *failure: Any) -> None:
        self._file.__exit__(*failure)
        if failure[0] is None:
            self._entries.sort(key=lambda entry: entry[0])
            with atomic_file(self._paths["records"]) as records, atomic_file(self._paths["titles"]) as titles:
                position = 0
                for title, offset, length in self._entries:
                    name = title.encode()
                    records.write(struct.pack(RECORD_FORMAT, position, len(name), offset, length))
                    titles.write(name)
                    position += len(name)
