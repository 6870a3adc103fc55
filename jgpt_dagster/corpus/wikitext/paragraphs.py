"""Paragraphs: which lines of a page belong together.

A single line end within a paragraph is no border, as in MediaWiki: 新潟⏎県 is one word. Blank lines, list items,
indents and preformatted lines (which begin with a blank) are borders. A formula on a line of its own belongs to the
sentence that it interrupts, even between blank lines, and so does a template in its place that may show text.
"""

import re
from collections.abc import Iterable

from jgpt_dagster.corpus.left_out.account import Account
from jgpt_dagster.corpus.wikitext.dropped_elements import without_marks
from jgpt_dagster.corpus.wikitext.placeholders import (
    DISPLAYED_FORMULA,
    DROPPED_BLOCK,
    DROPPED_INLINE,
    ESCAPED_STOP,
    HOLE_SOURCES,
    MISSING_VALUE,
    SOFT_BREAK,
    UNKNOWN_TEMPLATE,
)
from jgpt_dagster.corpus.wikitext.sections import HEADING

_JAPANESE = "\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U00033fff\n"
_JAPANESE_BREAK = re.compile(f"{SOFT_BREAK}(?:(?<=[{_JAPANESE}]{SOFT_BREAK})|(?=[{_JAPANESE}]))")

CONTINUATION = re.compile(
    """[、。，．,)）」』】〉》・]|を|から|まで|という(?!の[はも])|である|では?な|でした|です(?!が|から)
    |は(?!じ|や[いく]|たし|っきり|なは|るか|い[、。])
    |が(?!ん|っ|ら|く)
    |に(?!もかかわらず|ほん|わか|ぎ|っぽん)
    |の(?!ち|べ|こ|ぼ|ど)
    |と(?!ころ|く|り|き|て|っ|は(?:いえ|いうものの)|い|うとう|にかく|も[あかにな]|ある)
    |で(?!は|も|すが|すから|き|こ)
    |も(?!し|っ|ち|う|と|の|は|ろ|ら)
    |へ(?!い|ん|き)
    |や(?!が|は|や|っ|む|す)
    |な(?:ど|る|っ[てた]|の|らば|り(?!わ))
    |だ(?!が|から|け|っ[てた]ら)
    |って|さ[れせん]""",
    re.VERBOSE,
)
"""What follows within a sentence: a particle, and not a word that begins like one."""

_COMPLETE = re.compile(rf"[。．！？!?.{ESCAPED_STOP}][」』）)]*+$")
_INCOMPLETE = re.compile(r"[ぁ-んー、，,:：=＝「『（(\[・/／+×–-]$")
# Characters of a text that tell how it ends.
_TAIL = 16
_NO_TEXT = ("|", "!!", "{|", "----")
_HOLE = f"{MISSING_VALUE}{UNKNOWN_TEMPLATE}{HOLE_SOURCES}"
_BOX = f"{UNKNOWN_TEMPLATE}{HOLE_SOURCES}{DROPPED_INLINE} "


def _is_no_text(text: str) -> bool:
    """Return whether a line is a rule, a row of a table without a start, or only markup without a partner."""
    return text[0] in "-|!{}[]'" and (text.startswith(_NO_TEXT) or not text.strip("{}[]|'"))


def _is_formula_line(line: str, text: str, first: str) -> bool:
    """Return whether a line is a formula that interrupts a sentence: alone, or indented and followed by its rest."""
    is_indented = first in "*#:;" and line[-len(line.lstrip("*#:;")) - 1] == ":"
    if DISPLAYED_FORMULA in line:
        rest = line.rpartition(DISPLAYED_FORMULA)[2].strip()
        if not rest.strip("、。，．,. "):
            return is_indented or first not in "*#:;"
        return is_indented and (rest[0] in "(（" or CONTINUATION.match(rest) is not None)
    return is_indented and not text.strip(_HOLE)


def joined_paragraphs(lines: Iterable[str], account: Account) -> str:
    """Return one line for each list item and for each paragraph, with a SOFT_BREAK for each line end in it.

    `lines` are those of `sections.running_text_lines`.
    """
    pieces: list[str] = []  # a border or a SOFT_BREAK in front of each text
    previous = ""  # the last text of the section
    is_open = False  # whether the next line of text belongs to the same paragraph
    formula = ""  # if the last text is a formula on a line of its own: the border in front of it
    box = ""  # unknown templates on a line of their own within a paragraph
    for line in lines:
        text = line.strip()
        if not text:
            if DROPPED_INLINE not in line or DROPPED_BLOCK in line:
                is_open = False
            continue
        first = line[0]
        if first in "*#:;":
            text = text.lstrip("*#:;").strip()
        if not text or text == HEADING or _is_no_text(text):
            previous, is_open, formula = "", False, ""
            if text != HEADING:
                account.drop("table", text, "table")
            continue
        is_plain = first not in "*#:; "
        goes_on = (is_open and is_plain) or (formula != "" and CONTINUATION.match(text) is not None)
        if box:
            if goes_on and CONTINUATION.match(text):
                pieces += (SOFT_BREAK, box)
            else:
                goes_on = False
            box = ""
        if is_plain and text[0] == UNKNOWN_TEMPLATE and not text.strip(_BOX):
            box = text if goes_on and not _COMPLETE.search(previous) else ""
            is_open = box != ""
            continue
        border = SOFT_BREAK if goes_on else "\n"
        if not goes_on and _is_formula_line(line, text, first):
            if not _COMPLETE.search(previous) and (is_open or formula == SOFT_BREAK or _INCOMPLETE.search(previous)):
                border = SOFT_BREAK
            formula, is_open = border, False
        else:
            formula, is_open = "", is_plain
        pieces += (border, text)
        previous = text[-_TAIL:]
    return without_marks("".join(pieces).replace(DISPLAYED_FORMULA, ""))


def without_soft_breaks(text: str) -> str:
    """Return `text` with a blank for each SOFT_BREAK, or nothing beside Japanese, which has no blanks between words."""
    return _JAPANESE_BREAK.sub("", text).replace(SOFT_BREAK, " ") if SOFT_BREAK in text else text
