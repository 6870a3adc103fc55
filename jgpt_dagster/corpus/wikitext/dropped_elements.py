"""Elements that are dropped with all they hold: tables, of wikitext and HTML, and elements that a style hides.

They nest, each ends at its own end, and an end without a start is dropped alone. An element without an end costs only
what is certainly part of it: a table its rows up to the next paragraph, a hidden element the rest of its line.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jgpt_dagster.corpus.left_out.account import Account
from jgpt_dagster.corpus.wikitext.placeholders import DROPPED_BLOCK, DROPPED_INLINE, SOFT_BREAK

_WIKI_TABLE = re.compile(r"\n(?:[ \t:*#;]*+(\{\|)|[ \t]*+\|\})")
_HTML_TABLE = re.compile(r"<(?:(table)\b[^<>]*|/table\s*+)>", re.IGNORECASE)
_TABLE_KINDS = ("{|", "table")

_HIDING_VALUE = re.compile(r":\s*+(?:none|hidden)\b", re.IGNORECASE)
_HIDING_PROPERTIES = ("display", "visibility")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*+)\b([^<>]*)>")
_VOID_TAGS = frozenset(["br", "hr", "img", "wbr"])

_ROW_START = r"(?:[|!]|</?(?:tr|td|th|caption|thead|tbody|tfoot)\b)"
_ROW = re.compile(rf"\s*+{_ROW_START}", re.IGNORECASE)
# What may end an unclosed table: a blank line, a heading, a line that ends like a sentence and is no row.
_ROWS_END = re.compile(
    rf"\n(?:[ \t]*+(?=\n|\Z)|(?==)|(?=(?![ \t]*+{_ROW_START})[^\n]*[。．][」』）)]*+[ \t]*+(?:\n|\Z)))", re.IGNORECASE
)


_MARKS = f"{DROPPED_INLINE}{DROPPED_BLOCK}"
_BLANK = f"[ \u3000{SOFT_BREAK}]"
# The dot of `.NET` closes nothing.
_CLOSING_SIGN = r"(?=[,:.](?![\w)]))"
_MARKS_BEFORE_SIGN = rf"[{_MARKS}](?:[{_MARKS}]|{_BLANK})*+{_CLOSING_SIGN}"
_MARK_BEFORE_SIGN = re.compile(_MARKS_BEFORE_SIGN)
_STRAY_BLANKS = re.compile(rf"(?<!{_BLANK}){_BLANK}*+{_MARKS_BEFORE_SIGN}")

BLANKS_BEFORE_SIGN = re.compile(rf"{_BLANK}*+{_CLOSING_SIGN}")
"""Blanks before a comma, colon or full stop, which belong to what was dropped in front of them."""


def without_marks(text: str) -> str:
    """Return `text` without the marks of what was dropped, nor the blanks that it leaves before `,`, `:` and `.`."""
    if _MARK_BEFORE_SIGN.search(text):  # begins with a set of signs, unlike the other, so this search is fast
        text = _STRAY_BLANKS.sub("", text)
    for mark in _MARKS:
        text = text.replace(mark, "")
    return text


class _Delimiter(NamedTuple):
    """The start or the end of an element; they belong together if their kinds are equal."""

    start: int
    end: int
    kind: str
    opens: bool
    is_dropped: bool


class _Element(NamedTuple):
    """An element to drop; one that has no end ends with its start."""

    start: int
    end: int
    kind: str
    is_closed: bool


def without_dropped_elements(text: str, account: Account) -> str:
    """Return `text` without tables and hidden elements, with an empty line in place of a table."""
    text = f"\n{text}"
    delimiters = [*_table_delimiters(text), *_hidden_delimiters(text)]
    if not delimiters:
        return text
    kept = []
    position = 0
    for element in sorted(_elements(sorted(delimiters))):
        if element.start < position:
            if element.is_closed and element.end > position:
                _report(text[position : element.end], element, account)
                position = element.end
            continue
        kept.append(text[position : element.start])
        kept.append("\n\n" if element.kind in _TABLE_KINDS else DROPPED_INLINE)
        position = element.end if element.is_closed else _end_of_unclosed(text, element)
        _report(text[element.start : position], element, account)
    kept.append(text[position:])
    return "".join(kept)


def _report(dropped: str, element: _Element, account: Account) -> None:
    if element.kind in _TABLE_KINDS:
        account.drop("table", dropped, "table")
    else:
        account.drop("hidden", dropped)


def _table_delimiters(text: str) -> Iterator[_Delimiter]:
    if "{|" in text or "|}" in text:
        for mark in _WIKI_TABLE.finditer(text):
            yield _Delimiter(mark.start() + 1, mark.end(), "{|", mark[1] is not None, True)
    for tag in _HTML_TABLE.finditer(text) if "able" in text or "ABLE" in text else ():
        yield _Delimiter(tag.start(), tag.end(), "table", tag[1] is not None, True)


def _hidden_delimiters(text: str) -> Iterator[_Delimiter]:
    """Yield the tags of each name that occurs with a hiding style, so that elements of one name nest."""
    if not _hides(text):
        return
    tags = [(tag, tag[2].lower(), _hides(tag[3])) for tag in _TAG.finditer(text)]
    names = {name for tag, name, hides in tags if hides and not tag[1]} - _VOID_TAGS - {"table"}
    for tag, name, hides in tags:
        if name in names and not tag[3].endswith("/"):
            yield _Delimiter(tag.start(), tag.end(), name, not tag[1], hides)


def _hides(style: str) -> bool:
    """Return whether `display:none` or `visibility:hidden` occurs in a text."""
    return any(
        style[max(value.start() - 16, 0) : value.start()].rstrip().lower().endswith(_HIDING_PROPERTIES)
        for value in _HIDING_VALUE.finditer(style)
    )


def _elements(delimiters: Iterable[_Delimiter]) -> Iterator[_Element]:
    """Yield the elements to drop.

    An end closes the innermost open element of its kind and leaves those within it unclosed.
    """
    opened: list[_Delimiter] = []
    counts = Counter[str]()  # of the open elements, by kind
    for delimiter in delimiters:
        kind = delimiter.kind
        if delimiter.opens:
            opened.append(delimiter)
            counts[kind] += 1
        elif counts[kind]:
            while True:
                innermost = opened.pop()
                counts[innermost.kind] -= 1
                is_closed = innermost.kind == kind
                if innermost.is_dropped:
                    end = delimiter.end if is_closed else innermost.end
                    yield _Element(innermost.start, end, innermost.kind, is_closed)
                if is_closed:
                    break
        elif kind in _TABLE_KINDS:
            yield _Element(delimiter.start, delimiter.end, kind, True)
    for unclosed in opened:
        if unclosed.is_dropped:
            yield _Element(unclosed.start, unclosed.end, unclosed.kind, False)


def _end_of_unclosed(text: str, element: _Element) -> int:
    """Return where to go on after an element without an end."""
    if element.kind not in _TABLE_KINDS:
        end = text.find("\n", element.end)
        return end if end >= 0 else len(text)
    position = element.end
    while True:
        rows_end = _ROWS_END.search(text, position)
        if rows_end is None:
            return len(text)
        row = _ROW.match(text, rows_end.end())
        if row is None:
            return rows_end.start()
        position = row.end()
