"""Cleanup of lines after markup was dropped: empty brackets, repeated punctuation, stray blanks, incomplete sentences.

Pure functions over lines without markup that contain the characters of `placeholders`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from jgpt_dagster.corpus.left_out.account import SAMPLE, Account
from jgpt_dagster.corpus.wikitext.dropped_elements import BLANKS_BEFORE_SIGN
from jgpt_dagster.corpus.wikitext.paragraphs import CONTINUATION
from jgpt_dagster.corpus.wikitext.placeholders import (
    HOLE_SOURCES,
    MISSING_VALUE,
    PRIVATE_CHARACTER,
    UNKNOWN_TEMPLATE,
    escape_markup,
    unescape_character,
)

LEFTOVER_MARKUP = re.compile(r"''+|\{\{+|\}\}+|\[\[+|\]\]+|\{\||\|\}")
_MARKUP_CHARACTERS = str.maketrans("", "", "'{}[]|")

_DOTS = re.compile(r"\.{4,}")
_DOUBLED_QUOTES = re.compile(r'""([^"\n]*+)""')


def _without_repeats(text: str) -> str:
    """Return `text` without repeated dots and quotes, which dropped markup leaves."""
    if "...." in text:
        text = _DOTS.sub("...", text)
    return _DOUBLED_QUOTES.sub(r'"\1"', text) if '""' in text else text


# Blanks before closing Japanese punctuation and brackets, after an opening bracket or after another blank.
_STRAY_BLANKS = re.compile(
    r"[ \u3000](?:[ \u3000]*+(?=[、。，．）」』)\]»])"
    r"|(?:(?<=[\[(«（「『][ \u3000])|(?<=[ \u3000]{2}))[ \u3000]*+)"
)
_LETTER = re.compile(r"\w")

_PAIRS = {"）": "（", ")": "(", "」": "「", "』": "『"}
_SEPARATORS = "[、，,;；:：・]"
# Each gap starts with one of a set of signs, which makes the search fast.
_GAP = re.compile(
    r"[（(「『、。，,;；:：・](?=[\s、。，,.;；:：・）)」』])(?:(?<=[（(「『])[\s、，,;；:：・]*+[）)」』]|"
    rf"(?<=[（(])\s*+{_SEPARATORS}|(?<={_SEPARATORS})(?<!{_SEPARATORS}{{2}})\s*+[）)]|"
    r"(?<=、)\s*+[、。]|(?<=。)。|(?<=,)[,.])"
)
_BRACKET = re.compile("[（(「『）)」』]")
# A single sign is the content itself: コロン（:）.
_SEPARATORS_ONLY = re.compile(rf"(?![;；:：・]$)(?:\s|{_SEPARATORS})*+")
# Emoticons keep their signs: （・ω・）, (^^;). So does a part of a name: （・パリ）.
_LEADING = re.compile(r"([（(])(?:[\s、，,]|[;；:：・](?=[\s、，,;；:：・]))++")
_TRAILING = re.compile(r"(?<![\s、，,;；:：・（(^_<>=*-])(?!・[）)])[\s、，,;；:：・]++(?=[）)])")

# One of two signs around dropped markup; `。。。` and `,,,` are the author's.
_REPEATED = re.compile(r"、(?=\s*+[、。])|(?<!。)。(?=。(?!。))|,(?=\.)|(?<!,),(?=,(?!,))")


def _without_empty_brackets(line: str) -> str:
    """Return `line` without round brackets around separators only and without empty quotes, nested ones included."""
    kept: list[str] = []
    opened: list[tuple[int, bool, bool]] = []  # the index in `kept`; `blank` and `bare` outside of the bracket
    blank = bare = True  # the innermost bracket contains only blanks; only blanks and separators
    position = 0
    for bracket in _BRACKET.finditer(line):
        before = line[position : bracket.start()]
        position = bracket.end()
        mark = bracket[0]
        kept.append(before)
        blank = blank and not before.strip()
        bare = bare and _SEPARATORS_ONLY.fullmatch(before) is not None
        if mark in "（(「『":
            opened.append((len(kept), blank, bare))
            blank = bare = True
        elif opened and kept[opened[-1][0]] == _PAIRS[mark]:
            empty = bare if mark in "）)" else blank
            start, blank, bare = opened.pop()
            if empty and line[position : position + 1] != "内":  # 「（）内は単位」 is about brackets
                del kept[start:]
                if blanks := BLANKS_BEFORE_SIGN.match(line, position):
                    position = blanks.end()
                    while kept and not (text := kept.pop().rstrip(" \u3000")):
                        pass
                    kept.append(text)
                continue
            blank = bare = False
        else:
            blank = bare = False
        kept.append(mark)
    kept.append(line[position:])
    return "".join(kept)


# Unknown templates in a row, with the blanks after them.
_UNKNOWN_TEMPLATES = re.compile(f"{UNKNOWN_TEMPLATE}[{UNKNOWN_TEMPLATE}{HOLE_SOURCES} \u3000]*+")
_CONTINUATION = re.compile(r"[ぁ-ん、。，．,.:：（()）」』\]・/／+=<>％%〜~–-]")
_INCOMPLETE_END = re.compile(r"[ぁ-ん、，,:：=＝「『（(\[・/／+×–-]")


# The signs before and after a place in brackets that may stay empty.
_OPTIONAL_PLACES = frozenset(
    [
        *(before + after for before in "（(" for after in "、，,;；:：・）)"),
        *(before + after for before in "、，,;；:：・" for after in "）)"),
    ]
)


def _resolve_unknown_template(run: re.Match[str]) -> str:
    """Return MISSING_VALUE if the text around unknown templates is incomplete without them, "" otherwise.

    It is complete without them at the start of a sentence that goes on like a sentence (the template was a box or a
    note), at the end of a line that does not announce anything, and between two signs within brackets.
    """
    text, start, end = run.string, *run.span()
    before = text[max(start - 2, 0) : start].rpartition("\n")[2].strip()[-1:]
    after = text[end : end + 1].strip()
    if not after:
        missing = _INCOMPLETE_END.match(before) is not None
    elif not before or before in "。？！":
        missing = _CONTINUATION.match(after) is not None
    else:
        missing = f"{before}{after}" not in _OPTIONAL_PLACES
    return f"{MISSING_VALUE}{run[0][1:2]}" if missing else ""


# The kind of each bracket; those of half and full width are of one kind.
_OPENING_KINDS = {"（": "(", "(": "(", "「": "「", "『": "『", "“": "“", "【": "【", "〈": "〈", "《": "《"}
_CLOSING_KINDS = {"）": "(", ")": "(", "」": "「", "』": "『", "”": "“", "】": "【", "〉": "〈", "》": "《"}
_STOP_OR_BRACKET = re.compile(f"[。．？?!！♪…]++|[{re.escape(''.join([*_OPENING_KINDS, *_CLOSING_KINDS]))}]")
# 1) and a) number what follows and close nothing.
_ENUMERATOR = re.compile(r"(?:^|[\s。、；;])[0-9A-Za-z]{1,2}[)）]$")
_LETTER_OR_DIGIT = re.compile("[A-Za-z0-9Ａ-Ｚａ-ｚ０-９]")


def _ends_sentence(line: str, start: int, end: int) -> bool:
    """Return whether the stops at a place end a sentence. They do not within a name.

    A particle follows モーニング娘。, no blank follows けいおん！, and Latin letters stand in ジョン．Ｆ．ケネディ and
    around the signs of Hello! Project.
    """
    stops, before, after = line[start:end], line[max(start - 1, 0) : start], line[end : end + 1]
    if "。" not in stops and "？" not in stops:
        is_letter = _LETTER_OR_DIGIT.match
        if "．" in stops:
            is_within_name = is_letter(before) or is_letter(after)
        elif "?" in stops or after.isspace():
            is_within_name = is_letter(before) and (is_letter(after) or is_letter(line, end + 1))
        else:
            return False
        if is_within_name:
            return False
    return CONTINUATION.match(line, end) is None


def _sentences(line: str) -> Iterator[str]:
    """Yield the sentences of a line, which joined give the line.

    Unlike `split_sentences`, which follows the recipe, a bracket without a partner holds nothing together.
    """
    stops: list[tuple[int, int]] = []
    opened: list[tuple[str, int]] = []
    counts = Counter[str]()  # of the open brackets, by kind
    pairs: list[tuple[int, int]] = []
    for mark in _STOP_OR_BRACKET.finditer(line):
        sign = mark[0]
        if kind := _OPENING_KINDS.get(sign):
            opened.append((kind, mark.start()))
            counts[kind] += 1
        elif kind := _CLOSING_KINDS.get(sign):
            if _ENUMERATOR.search(line[max(mark.end() - 4, 0) : mark.end()]):
                continue
            while counts[kind]:
                innermost, start = opened.pop()
                counts[innermost] -= 1
                if innermost == kind:
                    pairs.append((start, mark.end()))
                    break
        elif _ends_sentence(line, *mark.span()):
            stops.append(mark.span())
    position = outside = 0
    pairs.sort(reverse=True)
    for start, end in stops:
        while pairs and pairs[-1][0] < start:
            outside = max(outside, pairs.pop()[1])
        if start >= outside:
            yield line[position:end]
            position = end
    yield line[position:]


_HOLE = re.compile(f"{MISSING_VALUE}([{HOLE_SOURCES}]?)")


def _without_incomplete_sentences(line: str, account: Account) -> str:
    """Return `line` without the sentences in which a value or a formula is missing."""
    if MISSING_VALUE not in line:
        return line
    kept = []
    for sentence in _sentences(line):
        if hole := _HOLE.search(sentence):
            account.drop_sentence(sentence, _source(hole), _sample(sentence, hole.start(), account))
        else:
            kept.append(sentence)
    return "".join(kept)


def _source(hole: re.Match[str]) -> int | None:
    """Return the number of the template that left a hole; None for a formula."""
    return HOLE_SOURCES.index(hole[1]) if hole[1] else None


def _sample(sentence: str, place: int, account: Account) -> str:
    """Return the text around a place of a sentence, with the name of the template in each hole."""
    start = max(0, min(place - SAMPLE // 2, len(sentence) - SAMPLE))
    text = _HOLE.sub(lambda hole: escape_markup(account.shown_source(_source(hole))), sentence[start : start + SAMPLE])
    return PRIVATE_CHARACTER.sub(unescape_character, LEFTOVER_MARKUP.sub("", text)).strip()


def _without_gaps(line: str) -> str:
    """Return `line` without empty brackets and without one of two signs around dropped markup."""
    if _GAP.search(line):
        line = _without_empty_brackets(line)
        line = _REPEATED.sub("", _TRAILING.sub("", _LEADING.sub(r"\1", line)))
    return line


def _map_lines(edit: Callable[[str], str], text: str) -> str:
    return "\n".join(map(edit, text.split("\n")))


def _without_leftovers(line: str) -> str:
    """Return `line` without markup that became complete when its content was dropped."""
    line = LEFTOVER_MARKUP.sub("", line)
    return line.translate(_MARKUP_CHARACTERS) if LEFTOVER_MARKUP.search(line) else line


def tidy_lines(text: str, account: Account) -> Iterator[str]:
    """Yield the lines of `text` that contain a letter, without the traces of dropped markup."""
    text = _without_repeats(text)
    if UNKNOWN_TEMPLATE in text:
        text = _UNKNOWN_TEMPLATES.sub(_resolve_unknown_template, text)
    if MISSING_VALUE in text:
        text = _map_lines(lambda line: _without_incomplete_sentences(line, account), text)
    if _GAP.search(text):
        text = _map_lines(_without_gaps, text)
    text = _STRAY_BLANKS.sub("", text)
    if LEFTOVER_MARKUP.search(text):
        text = _map_lines(_without_leftovers, text)
    text = PRIVATE_CHARACTER.sub(unescape_character, text)
    return (line for line in map(str.strip, text.split("\n")) if _LETTER.search(line))
