"""The limits of nesting and work for one page, and the checks of what a step of wikiextractor would cost.

Several steps of wikiextractor take quadratic or worse time on input such as a megabyte of `<ref<ref…`, and its parser
functions can be asked for numbers and strings of any size. Each check computes from the text what a step would cost
and raises `WikitextError` above the page's budget. A budget counts characters, not seconds: a page is therefore
rejected on every machine or on none. It grows with the page, so that many small pages cost no more than a large one.
"""

import re

from jgpt_dagster.errors import JgptError

MAX_NESTING = 100
"""Depth of templates within templates and links within links: MediaWiki's default ($wgMaxTemplateDepth)."""

MAX_SCANNED = 50_000_000
"""Characters that one step may scan repeatedly (the page itself has 2 MiB at most): about two seconds."""

MAX_SCANS = 100
"""How often one step may scan each character of its text: some 6 µs for a character at most. A page needs hundreds of
tags that are never closed to exceed it."""

MAX_EXPANDED = 32 * 2**20
"""Characters of template calls and their results in one page, summed over all levels of nesting. MediaWiki allows 2 MiB
of results ($wgMaxArticleSize), but reaches them with fewer intermediate texts."""

MAX_PAGE = 4 * 2**20
"""Characters of a page with its templates expanded; MediaWiki shows no page that would have more than 2 MiB."""

MAX_SUBSTITUTED = 512 * 2**20
"""Characters of wikitext, template texts and arguments that the expansion of one page may read: about a minute."""

SUBSTITUTED_BASE, SUBSTITUTED_SHARE = 32 * 2**20, 4096
"""A smaller page may read so many characters, and so many more for each of its own: four seconds for a stub."""

CALL_COST = 200
"""Characters that a call of a defined template or function counts for in addition, towards MAX_SUBSTITUTED."""

ARGUMENT_COST = 30
"""Characters that the substitution of one argument counts for in addition, towards MAX_SUBSTITUTED."""

MAX_EXPRESSION = 10_000
"""Characters of an expression of #expr, whose syntax tree takes hundreds of bytes for each; real ones have dozens."""


class WikitextError(JgptError):
    """A page exceeds the limits or cannot be cleaned; the message is the reason, the caller adds which page it is."""


def check_limit(cost: int, limit: int, what: str) -> None:
    """Raise WikitextError, naming `what`, if `cost` is above `limit`."""
    if cost > limit:
        raise WikitextError(f"{what}: {cost:,} is above the limit of {limit:,}")


def check_scanned(cost: int, text: str, what: str) -> None:
    """Raise WikitextError, naming `what`, if a step over `text` would scan `cost` characters, above its budget."""
    check_limit(cost, scan_budget(text), what)


def scan_budget(text: str) -> int:
    """Return how many characters one step over `text` may scan."""
    return min(MAX_SCANNED, MAX_SCANS * len(text))


def substitution_budget(text: str) -> int:
    """Return how many characters the expansion of the page `text` may read."""
    return min(MAX_SUBSTITUTED, SUBSTITUTED_BASE + SUBSTITUTED_SHARE * len(text))


def cost_of_unclosed(text: str, opening: str, closing: str) -> int:
    """Return how many characters `opening.*?closing` scans in vain: per `opening`, those after the last `closing`."""
    last = text.rfind(closing) + 1
    return text.count(opening, last) * (len(text) - last)


_TAG = re.compile(r"<\s*+(?:/\s*+)?+\w")
_TAG_BODY = re.compile(r"""(?:"[^"]*"|'[^']*'|[^>])*+""")


def check_tags(text: str) -> None:
    """Raise WikitextError if tag patterns would scan `text` over and over: `<ref <ref <ref` or `<b "<b "<b "`."""
    budget = scan_budget(text)
    if text.count("<") * len(text) > budget:
        cost = cost_of_unclosed(text, "<", ">") + cost_of_unclosed(text, "<!--", "-->")
        check_limit(cost, budget, "unclosed tags")
        for tag in _TAG.finditer(text):
            body = _TAG_BODY.match(text, tag.end())
            assert body is not None  # noqa: S101  # the pattern matches anything
            cost += body.end() - tag.start()
            check_limit(cost, budget, "unclosed tags or quotes within tags")


def check_links(text: str) -> None:
    """Raise WikitextError if bracket runs `[[[` would be scanned over and over."""
    runs, what = text.count("[[["), "runs of three or more link brackets"
    check_limit(runs * text.count("[["), min(5_000_000, 10 * len(text)), what)
    check_limit(runs * len(text), 10 * scan_budget(text), what)


_URL_LABEL = re.compile(r"[^\]\x00-\x08\x0a-\x1F]*+")


def check_external_links(text: str, opening_pattern: re.Pattern[str]) -> None:
    """Raise WikitextError if unclosed `[http://…` would be scanned over and over."""
    cost = 0
    for opening in opening_pattern.finditer(text):
        label = _URL_LABEL.match(text, opening.end())
        assert label is not None  # noqa: S101  # the pattern matches anything
        if not text.startswith("]", label.end()):
            cost += (opening.end() - opening.start()) * (label.end() - opening.start() + 1)
            check_scanned(cost, text, "unclosed external links")


def check_highlight(text: str) -> None:
    """Raise WikitextError if unclosed `<syntaxhighlight …` would be scanned over and over."""
    last = text.rfind("&lt;/syntaxhighlight&gt;") + 1
    openings = text.count("&lt;syntaxhighlight ", last)
    check_limit(openings * text.count("&gt;", last) * (len(text) - last), MAX_SCANNED, "unclosed syntaxhighlight")


def check_placeholder(text: str, name: str) -> None:
    """Raise WikitextError if the tags `name` (math or code) would be scanned or replaced over and over."""
    closing = max((m.start() for m in re.finditer(rf"<\s*/\s*{name}\s*>", text, re.IGNORECASE)), default=0)
    openings = [m.start() for m in re.finditer(rf"<\s*{name}\b", text, re.IGNORECASE)]
    in_vain = sum(1 for start in openings if start >= closing)
    check_scanned(in_vain * (len(text) - closing), text, f"unclosed {name} tags")
    check_limit(len(openings) * len(text), 100 * MAX_SCANNED, f"{name} tags")  # each is replaced over the whole text


_OPERATOR = re.compile(r"[-+*/%^<>=~|(]|not")


def check_parser_function(name: str, args: list[str]) -> None:
    """Raise WikitextError if a parser function could make a number, a string or a recursion of any size."""
    if name in ("#expr", "#ifexpr"):
        expression = args[0]
        check_limit(len(expression), MAX_EXPRESSION, "characters in #expr")
        check_limit(len(_OPERATOR.findall(expression)), 200, "operators in #expr")
        rounding = expression.partition("round")[2]
        if "**" in expression or re.search(r"[*e]|\d{5}", rounding):
            raise WikitextError("a power, or rounding to a computed number of digits, in #expr")
    elif name in ("padleft", "padright") and len(args) > 1:
        width = re.fullmatch(r"\s*\+?([\d_]+)\s*", args[1])
        if width and len(width[1].lstrip("0_")) > 4:
            raise WikitextError(f"{name} to {args[1].strip()[:20]} characters")
    elif name == "#replace" and len(args) > 2:
        check_limit((args[0].count(args[1]) + 1) * len(args[2]), MAX_EXPANDED, "characters made by #replace")
