"""Shorter ways to what steps of wikiextractor 3.1 give, for its private instance in `extractor`.

A page goes through some two hundred patterns there, most of which look for tags and braces that it does not hold. Here
a step is passed over where the text lacks what could set it off, and links are replaced in one pass. The lines stay
those of the library; `install` is to be called before the bounds of `extractor` are laid around the steps.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_TAG_NAME = re.compile(r"<\s*+/?+\s*+(\w+)")


class TagNames:
    """The lower-case names of the tags in a text, remembered for the text asked about last, as the same object.

    `check(text)` is called once for each new text. A name that is not ASCII stands for all names: the library's
    patterns ignore case, and ſ (U+017F) is an s for them.
    """

    def __init__(self, check: Callable[[str], None]) -> None:
        self._check = check
        self._text: str | None = None
        self._names: set[str] = set()
        self._any = False

    def among(self, text: str, names: Iterable[str]) -> bool:
        """Return whether `text` may hold a tag with one of `names`."""
        if text is not self._text:
            self._check(text)
            self._names = {name.lower() for name in _TAG_NAME.findall(text)} if "<" in text else set()
            self._any = not all(map(str.isascii, self._names))
            self._text = text
        return self._any or not self._names.isdisjoint(names)


class TagPattern:
    """A compiled pattern that begins with a tag of one of `names`, searched for where there is such a tag."""

    def __init__(self, pattern: re.Pattern[str], names: Iterable[str], tags: TagNames) -> None:
        self._pattern, self._names, self._tags = pattern, frozenset(names), tags
        self.pattern = pattern.pattern

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        return self._pattern.finditer(text) if self._tags.among(text, self._names) else iter(())


class GuardedPattern:
    """A compiled pattern that matches nothing in a text without `sign`."""

    def __init__(self, pattern: re.Pattern[str], sign: str) -> None:
        self._pattern, self._sign = pattern, sign

    def sub(self, replacement: str, text: str) -> str:
        return self._pattern.sub(replacement, text) if self._sign in text else text


def fast_unescape(original: Callable[[str], str]) -> Callable[[str], str]:
    def unescape(text: str) -> str:
        """Most references are to one of three characters, which make no new reference with what surrounds them."""
        if "&" not in text:
            return text
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
        return original(text) if "&" in text else text

    return unescape


def _nested_calls(depth: int) -> str:
    """Return a pattern of text with calls `{{…}}` in it, which may hold others down to `depth`, and without `{{{`."""
    text = r"(?:[^{}]++|\{(?!\{)|\}(?!\}))*+"
    return rf"{text}(?:\{{\{{(?!\{{){_nested_calls(depth - 1)}\}}\}}{text})*+" if depth else text


# A call whose braces can be paired in one way only, and its title where that is plain text; or two braces that open any
# other. No part of a call goes on behind a plain title, which ends at "|" or with the call.
_CALL = re.compile(rf"\{{\{{(?:(?!\{{)(?:([^|:{{}}\[\]<\x00]*+)(?=\||\}}\}}))?{_nested_calls(3)}(\}}\}}))?")


def fast_find_matching_braces(
    original: Callable[[str, int], Iterable[tuple[int, int]]],
) -> Callable[..., Iterable[tuple[int, int]]]:
    def find_matching_braces(text: str, ldelim: int = 0) -> Iterable[tuple[int, int]]:
        if "{{" not in text and (ldelim or "[[" not in text):
            return ()
        return original(text, ldelim)

    return find_matching_braces


def calls(text: str, original: Any) -> Iterator[tuple[int, int, str | None]]:
    """Yield where the outermost calls begin and end, and the title of each that has a plain one.

    `original` is the library's `findMatchingBraces`, which does what follows the first odd call.
    """
    for call in _CALL.finditer(text):
        start, end = call.span()
        title, closing = call.groups()
        if not closing:
            yield from ((start + first, start + last, None) for first, last in original(text[start:], 2))
            return
        yield start, end, title


def protocol_ahead(protocols: Iterable[str]) -> str:
    """Return a lookahead for the first letter of one of `protocols`: quicker to fail than trying each, as at `[[`."""
    return f"(?=[{re.escape(''.join(sorted({protocol[0] for protocol in protocols})))}])"


def fast_external_link(pattern: re.Pattern[str], module: Any) -> re.Pattern[str]:
    ahead = protocol_ahead(module.wgUrlProtocols)
    return re.compile(pattern.pattern.replace(r"\[(", rf"\[{ahead}(", 1), pattern.flags)


# Patterns and replacements that have equals without a group to put back.
_EQUALS = {
    (r" ([,:.\)\]»])", r"\1"): (re.compile(r" (?=[,:.\)\]»])"), ""),
    (r"([\[\(«]) ", r"\1"): (re.compile(r" (?<=[\[\(«] )"), ""),
}


def fast_sub(discarded: Iterable[str], tags: TagNames) -> Any:
    names = {rf"<\s*/\s*{name}\s*>": (name,) for name in discarded}
    names[r"<\s*noinclude\s*/?\s*>"] = ("noinclude",)

    def sub(pattern: str, replacement: Any, text: str, count: int = 0, flags: int = 0) -> str:
        if equal := _EQUALS.get((pattern, replacement)):
            return equal[0].sub(equal[1], text)
        name = names.get(pattern)
        if name and not tags.among(text, name):
            return text
        return re.sub(pattern, replacement, text, count=count, flags=flags)

    return sub


# What stands between the brackets of a link that shows its label, or a target without a namespace.
_SHOWN = r"(?:[^\[\]|:]*+\|\s*+([^\[\]]*[^\[\]\s])\s*+|([^\[\]|:]*+))\]\]"
_SHOWN_LINK = re.compile(rf"\[\[{_SHOWN}")
_OTHER_LINK = re.compile(rf"\[\[(?!{_SHOWN})")
_SIMPLE_LINK = re.compile(r"\[\[([^\[\]|]*+)(?:\|([^\[\]]*+))?\]\]")
# The namespace of a target, where that is plain text with a label: what links to others the library shows nothing of.
_NAMESPACE = re.compile(r"\[\[([^\[\]|:]++):[^\[\]|]*+\|")
_LINK_BRACKETS = re.compile(r"\[\[|\]\]")


def fast_replace_internal_links(original: Any, module: Any) -> Callable[[str, Any], str]:

    def replace_internal_links(text: str, extractor: Any) -> str:
        """One pass for links without links in them. The library does the others, and pages with an unclosed link."""
        if "[[[" in text or "\0" in text:
            return str(original(text, extractor))
        parts: list[str | None] = []
        position = 0
        for link in _OTHER_LINK.finditer(text):
            start = link.start()
            if start < position:  # inside of a link that is done
                continue
            parts += _SHOWN_LINK.split(text[position:start])  # what is shown stands between the parts
            if simple := _SIMPLE_LINK.match(text, start):
                target, label = simple.groups()
                shown = target if label is None else label.strip()
                parts.append(module.makeInternalLink(target.rstrip(), shown, extractor))
                position = simple.end()
            else:
                position = _link_end(text, start)
                if not position:
                    return str(original(text, extractor))
                namespace = _NAMESPACE.match(text, start)
                if not namespace or namespace[1] in extractor.acceptedNamespaces:
                    parts.append(original(text[start:position], extractor))
        parts += _SHOWN_LINK.split(text[position:])
        return "".join(filter(None, parts))

    return replace_internal_links


def _link_end(text: str, start: int) -> int:
    """Return where the link that opens at `start` ends, 0 where it does not."""
    depth = 0
    for brackets in _LINK_BRACKETS.finditer(text, start):
        depth += 1 if brackets[0] == "[[" else -1
        if depth == 0:
            return brackets.end()
    return 0


def fast_compact(text: str, mark_headers: bool = False, extractor: Any = None) -> list[str]:
    """The paragraphs of a page, and before the first of a section the headings above it, as with default options."""
    paragraphs: list[str] = []
    headings: dict[int, str] = {}  # by level, since the last paragraph
    for line in text.split("\n"):
        first = line[:1]
        if first in "*#;{|":  # of a list or a table, or empty
            continue
        if first == ":":
            paragraphs.append(line.lstrip(":"))
        elif first == "=" and (heading := _heading(line)):
            level, title = heading
            headings = {above: name for above, name in headings.items() if above < level}
            headings[level] = _as_sentence(title)
        elif line.startswith("++"):
            if title := line[2:-2]:
                paragraphs.append(_as_sentence(title))
        elif not (line.isspace() or line[-1] == "}" or (first == "(" and line[-1] == ")") or not line.strip(".-")):
            paragraphs.extend(headings[level] for level in sorted(headings))
            headings.clear()
            paragraphs.append(line)
    return paragraphs


_PLAIN_HEADING = re.compile("(==+)([^=]++)\\1")


def _heading(line: str) -> tuple[int, str] | None:
    """Level and title of a heading, the library's `(==+)\\s*(.*?)\\s*\\1`, in linear instead of cubic time."""
    if plain := _PLAIN_HEADING.match(line):
        return len(plain[1]), plain[2].strip()
    opening = len(line) - len(line.lstrip("="))
    others = max(map(len, re.findall("=+", line[opening:])), default=0)
    level = max(min(opening, others), opening // 2)
    if level < 2:
        return None
    return level, line[level : line.index("=" * level, level)].strip()


def _as_sentence(title: str) -> str:
    return f"{title}." if title and title[-1] not in "!?" else title
