"""What dropped markup leaves behind in a line: empty brackets, doubled signs, stray blanks, half of a sentence.

Pure functions over lines that hold the marks of `marks` and no markup; nothing here knows what was dropped.
"""

import re
from collections.abc import Callable, Iterator

from jgpt_dagster.corpus.text.sentence_splitter import split_sentences
from jgpt_dagster.corpus.wikitext.placeholders import HOLE, PRIVATE_CHARACTERS, UNKNOWN, restore_literal

LEFTOVER = re.compile(r"''+|\{\{+|\}\}+|\[\[+|\]\]+|\{\||\|\}")
_MARKUP_CHARACTERS = str.maketrans("", "", "'{}[]|")

_DOTS = re.compile(r"\.{4,}")
_DOUBLED_QUOTES = re.compile(r'""([^"\n]*+)""')


def _undoubled(text: str) -> str:
    """`text` without repeated dots and quotes, around or between which markup was dropped."""
    if "...." in text:
        text = _DOTS.sub("...", text)
    return _DOUBLED_QUOTES.sub(r'"\1"', text) if '""' in text else text


# Blanks in front of a closing sign (`.NET` begins with none), behind an opening one or behind another blank.
_STRAY_BLANKS = re.compile(
    r"[ \u3000](?:[ \u3000]*+(?=[、。，．）」』)\]»]|[,:.](?![\w)]))"
    r"|(?:(?<=[\[(«（「『][ \u3000])|(?<=[ \u3000]{2}))[ \u3000]*+)"
)
_LETTER = re.compile(r"\w")

_PAIRS = {"）": "（", ")": "(", "」": "「", "』": "『"}
_SEPARATORS = "[、，,;；:：・]"
# Each is known by its first sign, and what may follow it: a search that begins with one set of signs is a quick one.
_GAP = re.compile(
    r"[（(「『、。，,;；:：・](?=[\s、。，,.;；:：・）)」』])(?:(?<=[（(「『])[\s、，,;；:：・]*+[）)」』]|"
    rf"(?<=[（(])\s*+{_SEPARATORS}|(?<={_SEPARATORS})(?<!{_SEPARATORS}{{2}})\s*+[）)]|"
    r"(?<=、)\s*+[、。]|(?<=。)。|(?<=,)[,.])"
)
_BRACKET = re.compile("[（(「『）)」』]")
# One sign alone is what the brackets are about: コロン（:）.
_FILLING = re.compile(rf"(?![;；:：・]$)(?:\s|{_SEPARATORS})*+")
# A smiley keeps its signs: （・ω・）, (^^;). So does （・パリ）, a part of a name.
_LEADING = re.compile(r"([（(])(?:[\s、，,]|[;；:：・](?=[\s、，,;；:：・]))++")
_TRAILING = re.compile(r"(?<![\s、，,;；:：・（(^_<>=*-])(?!・[）)])[\s、，,;；:：・]++(?=[）)])")

# One of two signs, around what was dropped; `。。。` and `,,,` are their author's.
_REPEATED = re.compile(r"、(?=\s*+[、。])|(?<!。)。(?=。(?!。))|,(?=\.)|(?<!,),(?=,(?!,))")


def _without_empty_brackets(line: str) -> str:
    """`line` without round brackets around nothing but separators and quotes around nothing, nested ones too."""
    kept: list[str] = []
    opened: list[tuple[int, bool, bool]] = []  # where in `kept` an open bracket stands; what surrounds it so far
    blank = bare = True  # in the innermost open bracket: nothing but blanks, nothing but blanks and separators
    position = 0
    for bracket in _BRACKET.finditer(line):
        before = line[position : bracket.start()]
        position = bracket.end()
        mark = bracket[0]
        kept.append(before)
        blank = blank and not before.strip()
        bare = bare and _FILLING.fullmatch(before) is not None
        if mark in "（(「『":
            opened.append((len(kept), blank, bare))
            blank = bare = True
        elif opened and kept[opened[-1][0]] == _PAIRS[mark]:
            empty = bare if mark in "）)" else blank
            start, blank, bare = opened.pop()
            if empty and line[position : position + 1] != "内":  # 「（）内は単位」 speaks of brackets
                del kept[start:]
                continue
            blank = bare = False
        else:
            blank = bare = False
        kept.append(mark)
    kept.append(line[position:])
    return "".join(kept)


# A template with blanks behind it, or several in a row.
_UNKNOWN = re.compile(f"{UNKNOWN}[{UNKNOWN} \u3000]*+")
_GOES_ON = re.compile(r"[ぁ-ん、。，．,.:：（()）」』\]・/／+=<>％%〜~–-]")
_LACKS = re.compile(r"[ぁ-ん、，,:：=＝「『（(\[・/／+×–-]")


# The signs before and behind a place within brackets that nothing has to fill.
_SLOTS = frozenset(
    [
        *(before + after for before in "（(" for after in "、，,;；:：・）)"),
        *(before + after for before in "、，,;；:：・" for after in "）)"),
    ]
)


def _unknown(run: re.Match[str]) -> str:
    """A hole where the words around a template that may have shown something do not do without it, else nothing.

    They do where a sentence begins with it and goes on as one begins (it was a box or a note), where nothing follows
    and nothing is announced, and where it fills the place between two signs within brackets.
    """
    text, start, end = run.string, *run.span()
    before = text[max(start - 2, 0) : start].rpartition("\n")[2].strip()[-1:]
    after = text[end : end + 1].strip()
    if not after:
        missing = _LACKS.match(before) is not None
    elif not before or before in "。？！":
        missing = _GOES_ON.match(after) is not None
    else:
        missing = f"{before}{after}" not in _SLOTS
    return HOLE if missing else ""


def _without_holes(line: str) -> str:
    """`line` without the sentences in which a value or a formula is missing."""
    return "".join(sentence for sentence in split_sentences(line) if HOLE not in sentence) if HOLE in line else line


def _without_gaps(line: str) -> str:
    """`line` without brackets around nothing and without the second of two signs around nothing."""
    if _GAP.search(line):
        line = _without_empty_brackets(line)
        line = _REPEATED.sub("", _TRAILING.sub("", _LEADING.sub(r"\1", line)))
    return line


def _by_line(mend: Callable[[str], str], text: str) -> str:
    return "\n".join(map(mend, text.split("\n")))


def _without_leftovers(line: str) -> str:
    """`line` without markup that became whole when something within it went."""
    line = LEFTOVER.sub("", line)
    return line.translate(_MARKUP_CHARACTERS) if LEFTOVER.search(line) else line


def tidy_lines(text: str) -> Iterator[str]:
    """The lines of `text` as a reader would have them: those with a letter, without what dropped markup left behind."""
    text = _undoubled(text)
    if UNKNOWN in text:
        text = _UNKNOWN.sub(_unknown, text)
    if HOLE in text:
        text = _by_line(_without_holes, text)
    if _GAP.search(text):
        text = _by_line(_without_gaps, text)
    text = _STRAY_BLANKS.sub("", text)
    if LEFTOVER.search(text):
        text = _by_line(_without_leftovers, text)
    text = PRIVATE_CHARACTERS.sub(restore_literal, text)
    return (line for line in map(str.strip, text.split("\n")) if _LETTER.search(line))
