"""What cleaning left behind: lines that hold what no reader of an article sees there.

Counts are of lines and by fault; they add up over articles and shards. Text that is literal in its article (the `[[` of
a shell script in `<code>`) counts as well, so a large wiki shows a few; many tell of a fault of the cleaner. Pure
functions over lines; nothing here knows where they come from.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

# The names of most sections, as wikiextractor prints them. Others (`手書き.`) cannot be told from the name of a band.
_NAMES = "概要 概略 概説 歴史 沿革 来歴 経歴 生涯 人物 特徴 語源 脚注 注釈 出典 参考文献 関連項目 外部リンク"
_HEADINGS = "|".join(f"(?<=\n{name}[.])" for name in _NAMES.split())

# Each begins with a character of its own where it can, which makes a search several times as fast.
_PATTERNS = {
    "links": re.compile(r"\[\["),
    "templates": re.compile(r"\{\{"),
    "table_ends": re.compile(r"\|\}"),
    "entities": re.compile(
        r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|(?:amp|lt|gt|quot|[a-z]?[mnbhst][a-z]*sp|[mn]dash));"
    ),
    "placeholders": re.compile(r"_[0-9](?:(?<=formula_.)|(?<=codice_.))"),
    # Those of `main()`, of `（）内` and between commas are what a sentence speaks of.
    "empty_brackets": re.compile(
        r"[（(「『](?!(?<=、.)[）)]、)(?:(?<=[（(])(?!(?<=[A-Za-z0-9_]\()\))[\s、，,]*+[）)](?!内)|(?<=[「『])\s*+[」』])"
    ),
    "file_captions": re.compile(r":(?:(?<=ファイル:)|(?<=画像:)|(?<=File:)|(?<=Image:))"),
    "headings": re.compile(rf"[.](?:{_HEADINGS})$|==.+==$", re.MULTILINE),
}

LEFTOVERS = tuple(_PATTERNS)
"""The names of what is counted."""


def lines_with_leftovers(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each line that shows a fault, with the names of its faults."""
    found: dict[int, tuple[str, list[str]]] = {}
    for start, line, name in _faults(lines):
        found.setdefault(start, (line, []))[1].append(name)
    for _, shown in sorted(found.items()):
        yield shown


def count_leftovers(lines: Iterable[str]) -> Counter[str]:
    """Return how many of `lines` show each fault."""
    return Counter(name for _, _, name in _faults(lines))


def _faults(lines: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Yield each line that shows a fault, behind where it stands and before the fault's name; fault by fault.

    All lines are searched together, since most show none.
    """
    text = "\n".join(["", *lines, ""])
    for name, pattern in _PATTERNS.items():
        end = 0
        while match := pattern.search(text, end):
            start, end = text.rfind("\n", 0, match.start()), text.index("\n", match.start())
            if pattern.search(line := text[start:end]):  # not if it takes two lines to match
                yield start, line[1:], name


def excerpt(line: str, fault: str, context: int = 60) -> str:
    """Return the part of a line that shows a fault, with some characters on either side."""
    found = _PATTERNS[fault].search(f"\n{line}")
    if found is None:
        return ""
    start, end = found.start() - 1, found.end() - 1
    return line[max(start - context, 0) : end + context]


def per_thousand(counts: Mapping[str, int], lines: int) -> dict[str, float]:
    """Return counts of lines per 1,000 lines."""
    return {name: round(1000 * count / lines, 3) if lines else 0.0 for name, count in counts.items()}
