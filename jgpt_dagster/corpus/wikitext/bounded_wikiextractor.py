"""wikiextractor within bounds: its `Extractor`, made safe for pages whose author means harm.

Several steps of wikiextractor take quadratic or worse time on input such as a megabyte of `<ref<ref…`, and its parser
functions can be asked for numbers and strings of any size. Here each such step first counts what it is about to cost
and raises `WikitextError` above a fixed figure. Counts depend on the text alone, so a page is rejected on every
machine or on none; a clock would not give that. What stays within the bounds comes out as wikiextractor gives it.

The steps are replaced in a private instance of the module `wikiextractor.extract`, so other users of the library in the
same process do not notice. Nothing that knows about Japanese or about the wiki belongs here.
"""

import html
import importlib.util
import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any

from jgpt_dagster.corpus.wikitext import wikiextractor_fast_paths
from jgpt_dagster.errors import JgptError

MAX_NESTING = 100
"""Templates within templates, links within links: MediaWiki's own default ($wgMaxTemplateDepth)."""

MAX_SCANNED = 50_000_000
"""Characters that one step may look at again and again (the page itself has 2 MiB at most): about two seconds."""

MAX_EXPANDED = 32 * 2**20
"""Characters of template calls and of their results that one page may hold, every level of nesting counted. MediaWiki
allows 2 MiB of results ($wgMaxArticleSize), but knows shorter ways to them."""

MAX_SUBSTITUTED = 512 * 2**20
"""Characters of wikitext, template texts and arguments that the expansion of one page may look at: about a minute. A
call of what there is counts for at least CALL_COST."""

CALL_COST = 200

RECIPE_DAY = time.struct_time((2022, 7, 1, 0, 0, 0, 4, 182, 0))
"""What {{CURRENTYEAR}} and its kin read: the day of the dump that the published recipe used. The output of a page
depends neither on the day of the run nor on the dump, or an unchanged page could not be reused in the next dump."""


class WikitextError(JgptError):
    """A page that cannot be cleaned within bounds; the message is the reason, the caller adds which page it is."""


def _check(cost: int, limit: int, what: str) -> None:
    if cost > limit:
        raise WikitextError(f"{what}: {cost:,} is above the limit of {limit:,}")


def _unclosed(text: str, opening: str, closing: str) -> int:
    """Characters scanned in vain by a pattern `opening.*?closing`: those after the last `closing`, per `opening`."""
    last = text.rfind(closing) + 1
    return text.count(opening, last) * (len(text) - last)


_TAG = re.compile(r"<\s*/?\s*\w")
_TAG_BODY = re.compile(r"""(?:"[^"]*"|'[^']*'|[^>])*+""")
_BLANK_IN_TAG = re.compile(r"<\s*(?:nobr|noinclude)\b", re.IGNORECASE)
_LONG_BLANK = re.compile(r"(?<!\s)\s{1000}")


def _check_tags(text: str) -> None:
    """Raises when the tag patterns would scan `text` over and over, as in `<ref <ref <ref` or `<b "<b "<b "`."""
    if text.count("<") * len(text) > MAX_SCANNED:
        cost = _unclosed(text, "<", ">") + _unclosed(text, "<!--", "-->")
        _check(cost, MAX_SCANNED, "unclosed tags")
        for tag in _TAG.finditer(text):
            body = _TAG_BODY.match(text, tag.end())
            assert body is not None
            cost += body.end() - tag.start()
            _check(cost, MAX_SCANNED, "unclosed tags or quotes within tags")
    if _BLANK_IN_TAG.search(text) and _LONG_BLANK.search(text):
        raise WikitextError("a run of 1,000 or more blanks on a page with a nobr or noinclude tag")


def _check_links(text: str) -> None:
    """Raises when bracket runs `[[[` or unclosed `[http://…` would be scanned over and over."""
    runs = text.count("[[[")
    _check(runs * text.count("[["), 5_000_000, "runs of three or more link brackets")
    _check(runs * len(text), 100 * MAX_SCANNED, "runs of three or more link brackets")


# Each text in which tags are looked for is checked once.
_TAGS = wikiextractor_fast_paths.TagNames(_check_tags)


@lru_cache
def _tag_name(pattern: str) -> str:
    """The name in a pattern of the library for an opening tag; empty for one of other brackets."""
    match = re.match(r"<\\s\*(\w+)", pattern)
    return match[1] if match else ""


class _Bounded:
    """A compiled pattern that checks the text first."""

    def __init__(self, pattern: re.Pattern[str], check: Any) -> None:
        self._pattern = pattern
        self._check = check

    def sub(self, replacement: str, text: str) -> str:
        self._check(text, self._pattern)
        return self._pattern.sub(replacement, text)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        self._check(text, self._pattern)
        return self._pattern.finditer(text)


def _check_external_links(text: str, _: re.Pattern[str]) -> None:
    cost = 0
    for opening in _URL_OPENING.finditer(text):
        label = _URL_LABEL.match(text, opening.end())
        assert label is not None
        if not text.startswith("]", label.end()):
            cost += (opening.end() - opening.start()) * (label.end() - opening.start() + 1)
            _check(cost, MAX_SCANNED, "unclosed external links")


def _check_highlight(text: str, _: re.Pattern[str]) -> None:
    last = text.rfind("&lt;/syntaxhighlight&gt;") + 1
    openings = text.count("&lt;syntaxhighlight ", last)
    _check(openings * text.count("&gt;", last) * (len(text) - last), MAX_SCANNED, "unclosed syntaxhighlight")


def _check_placeholder(text: str, pattern: re.Pattern[str]) -> None:
    name = "math" if "math" in pattern.pattern else "code"
    closing = max((m.start() for m in re.finditer(rf"<\s*/\s*{name}\s*>", text, re.IGNORECASE)), default=0)
    openings = [m.start() for m in re.finditer(rf"<\s*{name}\b", text, re.IGNORECASE)]
    in_vain = sum(1 for start in openings if start >= closing)
    _check(in_vain * (len(text) - closing), MAX_SCANNED, f"unclosed {name} tags")
    _check(len(openings) * len(text), 100 * MAX_SCANNED, f"{name} tags")  # each is replaced over the whole text


_OPERATOR = re.compile(r"[-+*/%^<>=~|(]|not")


def _check_parser_function(name: str, args: list[str]) -> None:
    """Raises when a parser function would be asked for an unbounded number, string or depth of recursion."""
    if name in ("#expr", "#ifexpr"):
        expression = args[0]
        _check(len(_OPERATOR.findall(expression)), 200, "operators in #expr")
        rounding = expression.partition("round")[2]
        if "**" in expression or re.search(r"[*e]|\d{5}", rounding):
            raise WikitextError("a power, or rounding to a computed number of digits, in #expr")
    elif name in ("padleft", "padright") and len(args) > 1:
        width = re.fullmatch(r"\s*\+?([\d_]+)\s*", args[1])
        if width and len(width[1].lstrip("0_")) > 4:
            raise WikitextError(f"{name} to {args[1].strip()[:20]} characters")
    elif name == "#replace" and len(args) > 2:
        _check((args[0].count(args[1]) + 1) * len(args[2]), MAX_EXPANDED, "characters made by #replace")


_PARSED = 1000
# Python frames that MAX_NESTING levels can take, parameters nested 16 deep in each (the library's limit) included.
_FRAMES = 10_000


def _bounded_module() -> ModuleType:
    """A private instance of `wikiextractor.extract` 3.1 with its unbounded steps replaced."""
    spec = importlib.util.find_spec("wikiextractor.extract")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    # Its debug lines hold whole articles; a logger of our own leaves the library's alone.
    module.logger = logging.getLogger(f"{__name__}.wikiextractor")
    module.logger.setLevel(logging.WARNING)
    module.time = SimpleNamespace(strftime=lambda form: time.strftime(form, RECIPE_DAY))
    wikiextractor_fast_paths.install(module, _TAGS)
    module.ExtLinkBracketedRegex = _Bounded(module.ExtLinkBracketedRegex, _check_external_links)
    module.syntaxhighlight = _Bounded(module.syntaxhighlight, _check_highlight)
    module.comment = _Bounded(module.comment, lambda text, _: _TAGS.among(text, ()))
    module.placeholder_tag_patterns = [
        (_Bounded(pattern, _check_placeholder), word) for pattern, word in module.placeholder_tag_patterns
    ]
    collapse, drop, call = (
        module.collapseDoubledLinkBrackets,
        module.dropNested,
        module.callParserFunction,
    )

    def collapse_doubled_link_brackets(text: str) -> str:
        _check_links(text)
        return collapse(text)

    def drop_nested(text: str, opening: str, closing: str) -> str:
        name = _tag_name(opening)
        present = _TAGS.among(text, [name]) if name else opening.replace("\\", "") in text
        return drop(text, opening, closing) if present else text

    def call_parser_function(name: str, args: list[str], frame: Any, **page: Any) -> str:
        _check_parser_function(name, args)  # outside of the call, which swallows every exception
        return call(name, args, frame, **page)

    argument = module.TemplateArg.subst

    def substitute_argument(self: Any, params: dict[str, str], extractor: "BoundedExtractor", depth: int) -> str:
        value: str = argument(self, params, extractor, depth)
        extractor.substitute(len(value))
        return value

    # The library keeps 10,000 parsed templates, of any size.
    module.Extractor._parse_template = staticmethod(lru_cache(_PARSED)(module.Template.parse))
    module.TemplateArg.subst = substitute_argument
    module.collapseDoubledLinkBrackets = collapse_doubled_link_brackets
    module.dropNested = drop_nested
    module.callParserFunction = call_parser_function
    return module


_wikiextractor: Any = _bounded_module()
_PROTOCOLS = "|".join(_wikiextractor.wgUrlProtocols)
_URL_OPENING = re.compile(
    rf"(?i)\[{wikiextractor_fast_paths.protocol_ahead(_wikiextractor.wgUrlProtocols)}"
    rf"(?:{_PROTOCOLS}){_wikiextractor.EXT_LINK_URL_CLASS}++\s*+"
)
_URL_LABEL = re.compile(r"[^\]\x00-\x08\x0a-\x1F]*+")
_NOWIKI = re.compile("<nowiki", re.IGNORECASE)


def _holds_nowiki(wikitext: str) -> bool:
    """Whether the library puts a part of the text aside before it looks for calls, or has done so."""
    return "\0" in wikitext or ("<" in wikitext and _NOWIKI.search(wikitext) is not None)


@dataclass(frozen=True)
class TemplateLibrary:
    """The templates of a dump as wikiextractor looks them up: by title, as escaped as in the XML of a dump.

    `templates` gives a template's text and `redirects` the title that a title stands for; both have `in`, `[]` and
    `get`. `prefix` is the name of the template namespace with its colon, `namespaces` the names of all.
    """

    templates: Any
    redirects: Any
    prefix: str
    namespaces: frozenset[str]


def escaped(text: str) -> str:
    """Return `text` as it stands in the XML of a dump, where apostrophes are not escaped."""
    return html.escape(text, quote=False).replace('"', "&quot;")


def definition(title: str, wikitext: str) -> tuple[bool, str]:
    """Return what a template page defines: whether it is a redirect, and its target or the text to include.

    The text is empty where the page defines nothing. Title and wikitext are escaped as in the XML of a dump. Raises
    WikitextError for a page that cannot be read within bounds.
    """
    first, newline, rest = wikitext.partition("\n")
    _check(first.count("[[") * len(first), MAX_SCANNED, "link brackets in the first line of a template")
    plain = _wikiextractor.unescape(wikitext)
    _check(
        _unclosed(plain, "<noinclude>", "</noinclude>") + _unclosed(plain, "<onlyinclude>", "</onlyinclude>"),
        MAX_SCANNED,
        "unclosed noinclude or onlyinclude tags",
    )
    depth = deepest = 0
    for run in _PARAMETER.finditer(plain):
        braces = len(run[0]) // 3
        depth = depth + braces if run[0][0] == "{" else max(depth - braces, 0)
        deepest = max(deepest, depth)
    _check(deepest, MAX_NESTING, "parameters nested")
    found = _wikiextractor.resolve_template_page(title, [first + newline, rest] if wikitext else [])
    return (found[0] == "redirect", found[1]) if found else (False, "")


_PARAMETER = re.compile(r"\{{3,}|\}{3,}")


class _Counted:
    """The texts of a library; each that is taken counts as looked at by the page."""

    def __init__(self, templates: Any, extractor: "BoundedExtractor") -> None:
        self._templates = templates
        self._extractor = extractor

    def __contains__(self, title: str) -> bool:
        return title in self._templates

    def __getitem__(self, title: str) -> str:
        text: str = self._templates[title]
        self._extractor.substitute(len(text))
        return text


class BoundedExtractor(_wikiextractor.Extractor):
    """wikiextractor's `Extractor` for one page, with the tags that its command line ignores.

    `clean_text(text, expand_templates=…, html_safe=…)` returns the lines; it raises `WikitextError` for a page that
    cannot be cleaned within the limits above. Without a library no template is known.
    """

    def __init__(self, page_id: int, revision_id: int, title: str, library: TemplateLibrary | None = None) -> None:
        known: dict[str, Any] = (
            {
                "templates": _Counted(library.templates, self),
                "redirects": library.redirects,
                "templatePrefix": library.prefix,
                "knownNamespaces": library.namespaces,
            }
            if library
            else {}
        )
        super().__init__(
            str(page_id), str(revision_id), "", title, [], ignored_tag_patterns=_wikiextractor.ignored_tags, **known
        )
        self._lacking: set[str] = set()
        self._depth = 0
        self._expanded = 0
        self._substituted = 0

    def clean_text(self, text: str, **options: Any) -> list[str]:
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(max(before, _FRAMES))
        try:
            lines: list[str] = super().clean_text(text, **options)
        finally:
            sys.setrecursionlimit(before)
        return lines

    def expandTemplates(self, wikitext: str) -> str:
        self.substitute(len(wikitext))
        if len(self.frame) >= self.maxTemplateRecursionLevels or _holds_nowiki(wikitext):
            result: str = super().expandTemplates(wikitext)
            return result
        if "{{" not in wikitext:
            return wikitext
        parts = []
        position = lacking = 0
        for start, end, title in wikiextractor_fast_paths.calls(wikitext, _wikiextractor.findMatchingBraces):
            parts.append(wikitext[position:start])
            position = end
            if title is not None and (title in self._lacking or self._lacks(title)):
                lacking += end - start - 4
            else:
                parts.append(self.expandTemplate(wikitext[start + 2 : end - 2]))
        self._spend(lacking)
        parts.append(wikitext[position:])
        return "".join(parts)

    def expandTemplate(self, body: str) -> str:
        self._depth += 1
        _check(self._depth, MAX_NESTING, "templates nested")
        self._spend(len(body))
        self.substitute(CALL_COST)
        result: str = super().expandTemplate(body)
        self._spend(len(result))
        self._depth -= 1
        return result

    def _lacks(self, title: str) -> bool:
        """Whether a plain title is neither a template's nor a magic word's: the library makes its calls empty."""
        name = title.strip()
        page = f"{self.templatePrefix}{name[:1].upper()}{name[1:]}"
        if name.lower() in self.magicWords.values or (name and (self.redirects.get(page) or page in self.templates)):
            return False
        self._lacking.add(title)
        return True

    def substitute(self, characters: int) -> None:
        """Count characters that the expansion looks at."""
        self._substituted += characters
        _check(self._substituted, MAX_SUBSTITUTED, "characters of wikitext to expand")

    def _spend(self, characters: int) -> None:
        self._expanded += characters
        _check(self._expanded, MAX_EXPANDED, "characters of template calls")
