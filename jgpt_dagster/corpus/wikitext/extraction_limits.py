"""The limits of nesting and work for one page, and the checks of what a step of wikiextractor would cost.

Several steps of wikiextractor take quadratic or worse time on input such as a megabyte of `<ref<ref…`, and its parser
functions can be asked for numbers and strings of any size. Each check computes from the text what a step would cost
and raises `WikitextError` above a fixed limit. A page is therefore rejected on every machine or on none; a time limit
would not guarantee that.
"""

import re

from jgpt_dagster.errors import JgptError

MAX_NESTING = 100
"""Depth of templates within templates and links within links: MediaWiki's default ($wgMaxTemplateDepth)."""

MAX_SCANNED = 50_000_000
"""Characters that one step may scan repeatedly (the page itself has 2 MiB at most): about two seconds."""

MAX_EXPANDED = 32 * 2**20
"""Characters of template calls and their results in one page, summed over all levels of nesting. MediaWiki allows 2 MiB
of results ($wgMaxArticleSize), but reaches them with fewer intermediate texts."""

MAX_SUBSTITUTED = 512 * 2**20
"""Characters of wikitext, template texts and arguments that the expansion of one page may read: about a minute."""

CALL_COST = 200
"""Characters that a call of a defined template or function counts for in addition, towards MAX_SUBSTITUTED."""


class WikitextError(JgptError):
    """A page exceeds the limits or cannot be cleaned; the message is the reason, the caller adds which page it is."""


def check_limit(cost: int, limit: int, what: str) -> None:
    """Raise WikitextError, naming `what`, if `cost` is above `limit`."""
    if cost > limit:
        raise WikitextError(f"{what}: {cost:,} is above the limit of {limit:,}")


def cost_of_unclosed(text: str, opening: str, closing: str) -> int:
    """Return how many characters `opening.*?closing` scans in vain: per `opening`, those after the last `closing`."""
    last = text.rfind(closing) + 1
    return text.count(opening, last) * (len(text) - last)


_TAG = re.compile(r"<\s*/?\s*\w")
_TAG_BODY = re.compile(r"""(?:"[^"]*"|'[^']*'|[^>])*+""")
_BLANK_IN_TAG = re.compile(r"<\s*(?:nobr|noinclude)\b", re.IGNORECASE)
_LONG_BLANK = re.compile(r"(?<!\s)\s{1000}")


def check_tags(text: str) -> None:
    """Raise WikitextError if tag patterns would scan `text` over and over: `<ref <ref <ref` or `<b "<b "<b "`."""
    if text.count("<") * len(text) > MAX_SCANNED:
        cost = cost_of_unclosed(text, "<", ">") + cost_of_unclosed(text, "<!--", "-->")
        check_limit(cost, MAX_SCANNED, "unclosed tags")
        for tag in _TAG.finditer(text):
            body = _TAG_BODY.match(text, tag.end())
            assert body is not None  # noqa: S101  # the pattern matches anything
            cost += body.end() - tag.start()
            check_limit(cost, MAX_SCANNED, "unclosed tags or quotes within tags")
    if _BLANK_IN_TAG.search(text) and _LONG_BLANK.search(text):
        raise WikitextError("a run of 1,000 or more blanks on a page with a nobr or noinclude tag")


def check_links(text: str) -> None:
    """Raise WikitextError if bracket runs `[[[` would be scanned over and over."""
    runs = text.count("[[[")
    check_limit(runs * text.count("[["), 5_000_000, "runs of three or more link brackets")
    check_limit(runs * len(text), 100 * MAX_SCANNED, "runs of three or more link brackets")


_URL_LABEL = re.compile(r"[^\]\x00-\x08\x0a-\x1F]*+")


def check_external_links(text: str, opening_pattern: re.Pattern[str]) -> None:
    """Raise WikitextError if unclosed `[http://…` would be scanned over and over."""
    cost = 0
    for opening in opening_pattern.finditer(text):
        label = _URL_LABEL.match(text, opening.end())
        assert label is not None  # noqa: S101  # the pattern matches anything
        if not text.startswith("]", label.end()):
            cost += (opening.end() - opening.start()) * (label.end() - opening.start() + 1)
            check_limit(cost, MAX_SCANNED, "unclosed external links")


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
    check_limit(in_vain * (len(text) - closing), MAX_SCANNED, f"unclosed {name} tags")
    check_limit(len(openings) * len(text), 100 * MAX_SCANNED, f"{name} tags")  # each is replaced over the whole text


_OPERATOR = re.compile(r"[-+*/%^<>=~|(]|not")


def check_parser_function(name: str, args: list[str]) -> None:
    """Raise WikitextError if a parser function could make a number, a string or a recursion of any size."""
    if name in ("#expr", "#ifexpr"):
        expression = args[0]
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
