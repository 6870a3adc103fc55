"""Faster replacements for steps of wikiextractor 3.1 with the same output; `wikiextractor_patches` installs them.

wikiextractor applies some two hundred patterns to each page, most of which search for tags and braces that the page
does not have. The replacements skip a step if the text lacks what the step needs, replace links in one pass, and take
linear time where the library's patterns take quadratic, cubic or exponential time.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_TAG_NAME = re.compile(r"<\s*+/?+\s*+(\w+)")


class TagNames:
    """The lower-case tag names of a text, cached for the last text (by identity).

    `check(text)` is called once for each new text. A name that is not ASCII may match any name: the library's patterns
    ignore case, so ſ (U+017F) matches s.
    """

    def __init__(self, check: Callable[[str], None]) -> None:
        self._check = check
        self._text: str | None = None
        self._names: set[str] = set()
        self._any = False

    def among(self, text: str, names: Iterable[str]) -> bool:
        """Return whether `text` may contain a tag with one of `names`."""
        if text is not self._text:
            self._check(text)
            self._names = {name.lower() for name in _TAG_NAME.findall(text)} if "<" in text else set()
            self._any = not all(map(str.isascii, self._names))
            self._text = text
        return self._any or not self._names.isdisjoint(names)


class TagPattern:
    """A compiled pattern that begins with a tag of one of `names`; skipped for a text without such a tag."""

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
        """Decode the three most frequent entities first; they cannot form a new one with the text around them."""
        if "&" not in text:
            return text
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
        return original(text) if "&" in text else text

    return unescape


def _nested_calls(depth: int) -> str:
    """Return a pattern of text without `{{{` and with calls `{{…}}` that are nested at most `depth` deep."""
    text = r"(?:[^{}]++|\{(?!\{)|\}(?!\}))*+"
    return rf"{text}(?:\{{\{{(?!\{{){_nested_calls(depth - 1)}\}}\}}{text})*+" if depth else text


# A call whose braces can be paired in one way only, with its title if that is plain text; or the two braces that open
# any other call. A plain title ends at "|" or with the call.
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
    """Yield start, end and title of the outermost calls; the title is None unless it is plain text.

    `original` is the library's `findMatchingBraces`, which handles the text from the first irregular call on.
    """
    for call in _CALL.finditer(text):
        start, end = call.span()
        title, closing = call.groups()
        if not closing:
            yield from ((start + first, start + last, None) for first, last in original(text[start:], 2))
            return
        yield start, end, title


def protocol_ahead(protocols: Iterable[str]) -> str:
    """Return a lookahead for the first letters of `protocols`, which fails faster than each protocol in turn."""
    return f"(?=[{re.escape(''.join(sorted({protocol[0] for protocol in protocols})))}])"


def fast_external_link(pattern: re.Pattern[str], module: Any) -> re.Pattern[str]:
    ahead = protocol_ahead(module.wgUrlProtocols)
    return re.compile(pattern.pattern.replace(r"\[(", rf"\[{ahead}(", 1), pattern.flags)


# Equivalents of patterns and replacements that need no group.
_EQUALS = {
    (r" ([,:.\)\]»])", r"\1"): (re.compile(r" (?=[,:.\)\]»])"), ""),
    (r"([\[\(«]) ", r"\1"): (re.compile(r" (?<=[\[\(«] )"), ""),
}
_NOINCLUDE, _LINEAR_NOINCLUDE = r"<\s*noinclude\s*/?\s*>", r"<\s*+noinclude\s*+(?:/\s*+)?+>"


def fast_sub(discarded: Iterable[str], tags: TagNames) -> Any:
    names = {rf"<\s*/\s*{name}\s*>": (name,) for name in discarded}
    names[_NOINCLUDE] = ("noinclude",)

    def sub(pattern: str, replacement: Any, text: str, count: int = 0, flags: int = 0) -> str:
        if equal := _EQUALS.get((pattern, replacement)):
            return equal[0].sub(equal[1], text)
        name = names.get(pattern)
        if name and not tags.among(text, name):
            return text
        linear = _LINEAR_NOINCLUDE if pattern == _NOINCLUDE else pattern
        return re.sub(linear, replacement, text, count=count, flags=flags)

    return sub


ERROR_CLASS = (
    r'<(?:strong|span|p|div)\s(?:[^\s>]*\s+)*?class="(?:[^"\s>]*\s+)*?error(?:\s[^">]*)?"',
    r'<(?:strong|span|p|div)\s[^>]*?(?<=\s)class="(?=[^">]*+")[^">]*?(?<=["\s])error(?=["\s])',
)
"""How `#iferror` recognises an error, in time exponential in the number of blanks; and the same in linear time, except
that the match may end earlier."""


def fast_match(pattern: Any, text: str, flags: int = 0) -> re.Match[str] | None:
    """Do what `re.match` does, in linear time for ERROR_CLASS."""
    return re.match(ERROR_CLASS[1] if pattern == ERROR_CLASS[0] else pattern, text, flags)


ARGUMENT_NAME = re.compile(r"([^=']*+)=(.*)", re.DOTALL)
"""Splits a template argument into a name, which the library strips, and a value. Its own pattern has three adjacent
runs of blanks."""


def split_parts(find_matching_braces: Callable[[str], Iterable[tuple[int, int]]]) -> Callable[[str], list[str]]:
    """Return a function that splits a call at the pipes outside of inner constructs; the library copies each part for
    each construct in it.
    """

    def split(call: str) -> list[str]:
        parts: list[list[str]] = [[]]
        position = 0
        for start, end in [*find_matching_braces(call), (len(call), len(call))]:
            first, *others = call[position:start].split("|")
            parts[-1].append(first)
            parts.extend([other] for other in others)
            parts[-1].append(call[start:end])
            position = end
        return ["".join(part) for part in parts]

    return split


_NOWIKI_START = re.compile(r"<nowiki\s*+>", re.IGNORECASE)
_NOWIKI_END = re.compile(r"</nowiki\s*+>", re.IGNORECASE)
_NOWIKI_TOKEN = re.compile(r"\x00NOWIKI[0-9]++\x00")


def mask_nowiki(text: str) -> tuple[str, dict[str, str] | None]:
    """Return `text` with a token for each `<nowiki>…</nowiki>`, and what the tokens stand for, None if there is none.

    The library searches for the end of each tag anew, to the end of the text.
    """
    kept: list[str] = []
    originals: dict[str, str] = {}
    position = 0
    while (start := _NOWIKI_START.search(text, position)) and (end := _NOWIKI_END.search(text, start.end())):
        token = f"\0NOWIKI{len(originals)}\0"
        originals[token] = text[start.start() : end.end()]
        kept += text[position : start.start()], token
        position = end.end()
    return "".join([*kept, text[position:]]), originals or None


def fast_unmask_nowiki(
    original: Callable[[str, dict[str, str]], str], check: Callable[[int, str], None]
) -> Callable[[str, dict[str, str] | None], str]:
    def unmask_nowiki(text: str, originals: dict[str, str] | None) -> str:
        """Replace the tokens of `mask_nowiki` in one pass; the library takes one for each token.

        It replaces tokens of an outer call within an original as well, so it does that itself, after the check.
        """
        if not originals:
            return text
        if any("\0" in masked for masked in originals.values()):
            check(len(originals) * len(text), text)
            return original(text, originals)
        return _NOWIKI_TOKEN.sub(lambda token: originals.get(token[0], token[0]), text)

    return unmask_nowiki


# The content of a link that shows its label, or a target without a namespace.
_SHOWN = r"(?:[^\[\]|:]*+\|\s*+([^\[\]]*[^\[\]\s])\s*+|([^\[\]|:]*+))\]\]"
_SHOWN_LINK = re.compile(rf"\[\[{_SHOWN}")
_OTHER_LINK = re.compile(rf"\[\[(?!{_SHOWN})")
_SIMPLE_LINK = re.compile(r"\[\[([^\[\]|]*+)(?:\|([^\[\]]*+))?\]\]")
# The namespace of a plain target with a label. The library shows nothing of links to namespaces it does not accept.
_NAMESPACE = re.compile(r"\[\[([^\[\]|:]++):[^\[\]|]*+\|")
_LINK_BRACKETS = re.compile(r"\[\[|\]\]")


def fast_replace_internal_links(original: Any, module: Any) -> Callable[[str, Any], str]:

    def replace_internal_links(text: str, extractor: Any) -> str:
        """Replace links without inner links in one pass; the library does the rest, and pages with an unclosed one."""
        if "[[[" in text or "\0" in text:
            return str(original(text, extractor))
        parts: list[str | None] = []
        position = 0
        for link in _OTHER_LINK.finditer(text):
            start = link.start()
            if start < position:  # inside a link that is replaced already
                continue
            parts += _SHOWN_LINK.split(text[position:start])  # a split at links yields their labels too
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
    """Return the end of the link that opens at `start`, 0 if it is unclosed."""
    depth = 0
    for brackets in _LINK_BRACKETS.finditer(text, start):
        depth += 1 if brackets[0] == "[[" else -1
        if depth == 0:
            return brackets.end()
    return 0


def fast_compact(text: str, mark_headers: bool = False, extractor: Any = None) -> list[str]:
    """Return the paragraphs of a page, each section's first after its headings, as the library does by default."""
    paragraphs: list[str] = []
    headings: dict[int, str] = {}  # by level, since the last paragraph
    for line in text.split("\n"):
        first = line[:1]
        if first in "*#;{|":  # a list, a table or an empty line
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
    """Return level and title of a heading as `(==+)\\s*(.*?)\\s*\\1` does, in linear instead of cubic time."""
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
