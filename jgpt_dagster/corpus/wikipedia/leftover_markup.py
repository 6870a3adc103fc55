"""Leftover markup: finding and counting lines with markup that cleaning should have removed.

Counts are numbers of lines by kind of leftover; they add up over articles and shards. Literal text (the `[[` of a shell
script in `<code>`) counts as well, so a large wiki shows a few; many mean that the cleaner is at fault. Pure functions
over lines.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

# The commonest section names, as wikiextractor prints them. Others (`手書き.`) could as well be the name of a band.
_NAMES = "概要 概略 概説 歴史 沿革 来歴 経歴 生涯 人物 特徴 語源 脚注 注釈 出典 参考文献 関連項目 外部リンク"
_HEADINGS = "|".join(f"(?<=\n{name}[.])" for name in _NAMES.split())

# Patterns begin with a literal character where possible, which makes a search several times as fast.
_PATTERNS = {
    "links": re.compile(r"\[\["),
    "templates": re.compile(r"\{\{"),
    "table_ends": re.compile(r"\|\}"),
    "entities": re.compile(
        r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|(?:amp|lt|gt|quot|[a-z]?[mnbhst][a-z]*sp|[mn]dash));"
    ),
    "placeholders": re.compile(r"_[0-9](?:(?<=formula_.)|(?<=codice_.))"),
    # In `main()`, in `（）内` and between commas, brackets are what the sentence is about.
    "empty_brackets": re.compile(
        r"[（(「『](?!(?<=、.)[）)]、)(?:(?<=[（(])(?!(?<=[A-Za-z0-9_]\()\))[\s、，,]*+[）)](?!内)|(?<=[「『])\s*+[」』])"
    ),
    "file_captions": re.compile(r":(?:(?<=ファイル:)|(?<=画像:)|(?<=File:)|(?<=Image:))"),
    "headings": re.compile(rf"[.](?:{_HEADINGS})$|==$", re.MULTILINE),
}
# What the whole line must match as well, after the line end in front of it. One pattern for `== 概要 ==` anywhere in a
# line would be tried at each `==`, to the end of the line.
_WHOLE_LINES = {"headings": re.compile(rf"\n(?:(?:{'|'.join(_NAMES.split())})[.]$|(?:[^=]++|=(?!=))*+==.+==$)")}

LEFTOVERS = tuple(_PATTERNS)
"""The kinds of leftovers."""


def lines_with_leftovers(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each line with leftovers, with their kinds."""
    found: dict[int, tuple[str, list[str]]] = {}
    for start, line, name in _leftovers(lines):
        found.setdefault(start, (line, []))[1].append(name)
    for _, shown in sorted(found.items()):
        yield shown


def count_leftovers(lines: Iterable[str]) -> Counter[str]:
    """Return the number of lines with each kind of leftover."""
    return Counter(name for _, _, name in _leftovers(lines))


def _leftovers(lines: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Yield (position, line, kind) of each leftover, kind by kind, at most one a line and kind.

    All lines are searched together, since most have none.
    """
    text = "\n".join(["", *lines, ""])
    for name, pattern in _PATTERNS.items():
        end = 0
        while match := pattern.search(text, end):
            start, end = text.rfind("\n", 0, match.start()), text.index("\n", match.start())
            line = text[start:end]
            if pattern.search(line) and (name not in _WHOLE_LINES or _WHOLE_LINES[name].match(line)):
                yield start, line[1:], name  # not if the match spans two lines


def excerpt(line: str, kind: str, context: int = 60) -> str:
    """Return the leftover of a kind in a line, with up to `context` characters of it and on either side."""
    found = _PATTERNS[kind].search(f"\n{line}")
    if found is None:
        return ""
    start, end = found.start() - 1, min(found.end() - 1, found.start() + context)
    return line[max(start - context, 0) : end + context]


def per_thousand(counts: Mapping[str, int], lines: int) -> dict[str, float]:
    """Return counts per 1,000 lines."""
    return {name: round(1000 * count / lines, 3) if lines else 0.0 for name, count in counts.items()}
