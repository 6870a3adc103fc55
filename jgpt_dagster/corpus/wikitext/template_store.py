"""The template pages of a dump, collected once and looked up by every shard that expands their calls.

Profile `seed` needs them: wikiextractor's command line goes over the whole dump for templates before it extracts. What
a template page defines is decided by wikiextractor itself (`extractor.definition`); here is how the definitions of a
dump lie on disk and how they are found again without being held in memory. The files are wikiextractor's own index of
templates (`wikiextractor.template_blob`): records, titles and texts, in two sets, `templates` and `redirects`.
"""

import mmap
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wikiextractor.template_blob import RECORD_FORMAT, CompactedTemplates

from jgpt_dagster.corpus.wikipedia.page_xml import parse_pages
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import TemplateLibrary, definition, escaped
from jgpt_dagster.corpus.wikitext.extraction_limits import WikitextError
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.atomic_write import atomic_file

_SETS = ("templates", "redirects")
_PARTS = ("records", "titles", "texts")
FILES = tuple(f"{name}.{part}" for name in _SETS for part in _PARTS)
"""The names of the files that `collect_templates` writes."""

_TEMPLATE_NAMESPACE = 10
# Between `<page>` and its title are a line end and four blanks.
_INDENT_LIMIT = 64
_END = b"</page>"
# Most calls are of few templates. The texts of this many are kept at hand by each process.
_CACHED = 1000


@dataclass
class TemplateCounts:
    """What became of the template pages of a dump; `rejected` gives the reason by title."""

    templates: int = 0
    redirects: int = 0
    empty: int = 0
    rejected: dict[str, str] = field(default_factory=dict)


def collect_templates(chunks: Iterable[bytes], site: SiteInfo, folder: Path, source: str = "dump") -> TemplateCounts:
    """Write the definitions of all template pages in the XML of a dump to the files FILES in `folder`.

    A page is one by its title, as for wikiextractor. One whose definition cannot be made out within bounds is left out
    and counted; a call of it then shows nothing. Memory holds the titles, about 200 bytes each, and no texts.

    Raises JgptError for a wiki without a template namespace, PageXmlError, with `source` and the byte offset among the
    template pages, where such a page is malformed. All of `chunks` are read, but no page of another kind is looked at.
    """
    prefix, counts = _prefix(site), TemplateCounts()
    with _Builder(folder, "templates") as templates, _Builder(folder, "redirects") as redirects:
        for page in parse_pages(_template_elements(chunks, prefix), source):
            title = escaped(page.title)
            if not title.startswith(prefix):
                continue
            try:
                if page.oversized:
                    raise WikitextError("its text is too large")
                redirect, text = definition(title, escaped(page.text or ""))
                encoded = text.encode()
            except (WikitextError, UnicodeEncodeError) as error:
                counts.rejected[page.title] = str(error)
                continue
            if not encoded:
                counts.empty += 1
            elif redirect:
                counts.redirects += 1
                redirects.add(title, encoded)
            else:
                counts.templates += 1
                templates.add(title, encoded)
    return counts


def open_templates(folder: Path, site: SiteInfo) -> TemplateLibrary:
    """Return the definitions that `collect_templates` wrote; their texts stay on disk until they are asked for."""
    templates, redirects = (
        CompactedTemplates(*(_mapped(folder / f"{name}.{part}") for part in _PARTS), decode_cache_size=_CACHED)
        for name in _SETS
    )
    return TemplateLibrary(templates, redirects, _prefix(site), _namespaces(site))


def no_templates(site: SiteInfo) -> TemplateLibrary:
    """Return the definitions of a dump without template pages."""
    return TemplateLibrary({}, {}, _prefix(site), _namespaces(site))


def _template_elements(chunks: Iterable[bytes], prefix: str) -> Iterator[bytes]:
    """Yield the bytes of the `<page>` elements whose title begins with `prefix`, which is escaped as in the XML.

    Tags are looked for as MediaWiki and wikiextractor write and read them. None can stand in a text, where `<` is
    escaped.
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


def _prefix(site: SiteInfo) -> str:
    name = site.namespaces.get(_TEMPLATE_NAMESPACE)
    if not name:
        raise JgptError(
            f"the <siteinfo> of this dump of {site.dbname} names no template namespace (key 10), and the recipe "
            "extracts nothing from such a dump. Set JGPT_TEXT=clean, or take the dump of a MediaWiki."
        )
    return f"{escaped(name)}:"


def _namespaces(site: SiteInfo) -> frozenset[str]:
    return frozenset({"Template", *map(escaped, site.namespaces.values())})


def _mapped(path: Path) -> Any:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


class _Builder:
    """Writes one set: the texts as they come, records and titles, sorted by title, at the end."""

    def __init__(self, folder: Path, name: str) -> None:
        self._paths = {part: folder / f"{name}.{part}" for part in _PARTS}
        self._entries: list[tuple[str, int, int]] = []
        self._size = 0

    def __enter__(self) -> "_Builder":
        self._file = atomic_file(self._paths["texts"])
        self._texts = self._file.__enter__()
        return self

    def add(self, title: str, text: bytes) -> None:
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
