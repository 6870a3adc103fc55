"""wikiextractor's `Extractor` with limits of nesting and work for each page.

The output of a page within the limits (see `extraction_limits`) is that of wikiextractor. Nothing specific to Japanese
or to a wiki belongs here.
"""

import html
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jgpt_dagster.corpus.wikitext.extraction_limits import (
    CALL_COST,
    MAX_EXPANDED,
    MAX_NESTING,
    MAX_PAGE,
    MAX_SUBSTITUTED,
    check_limit,
    check_scanned,
    cost_of_unclosed,
    substitution_budget,
)
from jgpt_dagster.corpus.wikitext.wikiextractor_fast_paths import calls
from jgpt_dagster.corpus.wikitext.wikiextractor_patches import IGNORED_TAGS, patched_wikiextractor

# Python frames that MAX_NESTING levels need, each with parameters nested 16 deep (the library's limit).
_FRAMES = 10_000
_NOWIKI = re.compile("<nowiki", re.IGNORECASE)


def _holds_nowiki(wikitext: str) -> bool:
    """Return whether the library masks a part of the text before it searches for calls, or has done so."""
    return "\0" in wikitext or ("<" in wikitext and _NOWIKI.search(wikitext) is not None)


@dataclass(frozen=True)
class TemplateLibrary:
    """The templates of a dump as wikiextractor looks them up: by title, escaped as in the XML of a dump.

    `templates` maps a title to the template's text, `redirects` to the target of a redirect; both have `in`, `[]` and
    `get`. `prefix` is the name of the template namespace with its colon, `namespaces` the names of all namespaces.
    """

    templates: Any
    redirects: Any
    prefix: str
    namespaces: frozenset[str]


def escape_xml(text: str) -> str:
    """Return `text` escaped as in the XML of a dump, where apostrophes are not escaped."""
    return html.escape(text, quote=False).replace('"', "&quot;")


def template_definition(title: str, wikitext: str) -> tuple[bool, str]:
    """Return what a template page defines: whether it is a redirect, and its target or the text to include.

    The text is empty if the page defines nothing. Title and wikitext are escaped as in the XML of a dump. Raises
    WikitextError if the page exceeds the limits.
    """
    first, newline, rest = wikitext.partition("\n")
    if first.startswith("#"):
        check_scanned(first.count("[[") * len(first), first, "link brackets in the first line of a template")
    plain = patched_wikiextractor.unescape(wikitext)
    check_scanned(
        cost_of_unclosed(plain, "<noinclude>", "</noinclude>")
        + cost_of_unclosed(plain, "<onlyinclude>", "</onlyinclude>"),
        plain,
        "unclosed noinclude or onlyinclude tags",
    )
    depth = deepest = 0
    for run in _PARAMETER.finditer(plain):
        braces = len(run[0]) // 3
        depth = depth + braces if run[0][0] == "{" else max(depth - braces, 0)
        deepest = max(deepest, depth)
    check_limit(deepest, MAX_NESTING, "parameters nested")
    found = patched_wikiextractor.resolve_template_page(title, [first + newline, rest] if wikitext else [])
    return (found[0] == "redirect", found[1]) if found else (False, "")


_PARAMETER = re.compile(r"\{{3,}|\}{3,}")


class _CountedTexts:
    """The texts of a library; each lookup counts towards the page's limit."""

    def __init__(self, templates: Any, extractor: "BoundedExtractor") -> None:
        self._templates = templates
        self._extractor = extractor

    def __contains__(self, title: str) -> bool:
        return title in self._templates

    def __getitem__(self, title: str) -> str:
        text: str = self._templates[title]
        self._extractor.count_substituted(len(text))
        return text


if TYPE_CHECKING:

    class _Extractor:
        """The part of wikiextractor's class that is used here."""

        frame: list[Any]
        magicWords: Any
        maxTemplateRecursionLevels: int
        redirects: Any
        templatePrefix: str
        templates: Any

        def __init__(self, *page: Any, **options: Any) -> None: ...
        def clean_text(self, text: str, **options: Any) -> list[str]: ...
        def expandTemplates(self, wikitext: str) -> str: ...
        def expandTemplate(self, body: str) -> str: ...
else:
    _Extractor = patched_wikiextractor.Extractor


class BoundedExtractor(_Extractor):
    """wikiextractor's `Extractor` for one page, with the tags that its command line ignores.

    `clean_text(text, expand_templates=…, html_safe=…)` returns the lines and raises WikitextError if the page exceeds
    the limits. Without a library no template is defined.
    """

    def __init__(self, page_id: int, revision_id: int, title: str, library: TemplateLibrary | None = None) -> None:
        known: dict[str, Any] = (
            {
                "templates": _CountedTexts(library.templates, self),
                "redirects": library.redirects,
                "templatePrefix": library.prefix,
                "knownNamespaces": library.namespaces,
            }
            if library
            else {}
        )
        super().__init__(str(page_id), str(revision_id), "", title, [], ignored_tag_patterns=IGNORED_TAGS, **known)
        self._undefined_titles: set[str] = set()
        self._depth = 0
        self._expanded = 0
        self._substituted, self._budget = 0, MAX_SUBSTITUTED

    def clean_text(self, text: str, **options: Any) -> list[str]:
        self._budget = substitution_budget(text)
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(max(before, _FRAMES))
        try:
            return super().clean_text(text, **options)
        finally:
            sys.setrecursionlimit(before)

    def expandTemplates(self, wikitext: str) -> str:
        result = self._with_templates(wikitext)
        if not self._depth:
            check_limit(len(result), MAX_PAGE, "characters with the templates expanded")
        return result

    def _with_templates(self, wikitext: str) -> str:
        self.count_substituted(len(wikitext))
        if len(self.frame) >= self.maxTemplateRecursionLevels or _holds_nowiki(wikitext):
            return super().expandTemplates(wikitext)
        if "{{" not in wikitext:
            return wikitext
        parts = []
        position = lacking = 0
        for start, end, title in calls(wikitext, patched_wikiextractor.findMatchingBraces):
            parts.append(wikitext[position:start])
            position = end
            if title is not None and (title in self._undefined_titles or self._is_undefined(title)):
                lacking += end - start - 4
            else:
                parts.append(self.expandTemplate(wikitext[start + 2 : end - 2]))
        self._count_expanded(lacking)
        parts.append(wikitext[position:])
        return "".join(parts)

    def expandTemplate(self, body: str) -> str:
        self._depth += 1
        check_limit(self._depth, MAX_NESTING, "templates nested")
        self._count_expanded(len(body))
        self.count_substituted(CALL_COST)
        result = super().expandTemplate(body)
        self._count_expanded(len(result))
        self._depth -= 1
        return result

    def _is_undefined(self, title: str) -> bool:
        """Return whether a plain title is no template or magic word; the library expands its calls to nothing."""
        name = title.strip()
        page = f"{self.templatePrefix}{name[:1].upper()}{name[1:]}"
        if name.lower() in self.magicWords.values or (name and (self.redirects.get(page) or page in self.templates)):
            return False
        self._undefined_titles.add(title)
        return True

    def count_substituted(self, characters: int) -> None:
        """Count characters that the expansion reads; raise WikitextError above the page's budget."""
        self._substituted += characters
        check_limit(self._substituted, self._budget, "characters of wikitext to expand")

    def _count_expanded(self, characters: int) -> None:
        self._expanded += characters
        check_limit(self._expanded, MAX_EXPANDED, "characters of template calls")
