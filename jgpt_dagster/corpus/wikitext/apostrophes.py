"""Apostrophes beside bold and italic markup: which of a run of them are text, by MediaWiki's rules."""

import re

from jgpt_dagster.corpus.wikitext.placeholders import escape_literal

_RUN = re.compile("''+")
_LITERAL = escape_literal("'")


def with_literal_apostrophes(text: str) -> str:
    """Return `text` with every apostrophe escaped that is text although it stands in a run of two or more.

    Two are italics, three bold, five both. Of four, the first is text, and of more than five, all but the last five. If
    both italics and bold of a line are left open, one bold run is an apostrophe and italics: `''Orbit'''s` reads
    *Orbit's*.
    """
    return "\n".join(map(_in_line, text.split("\n"))) if "'''" in text else text


def _in_line(line: str) -> str:
    if "'''" not in line:
        return line
    *texts, last = _RUN.split(line)
    lengths = [len(run) for run in _RUN.findall(line)]
    for place, length in enumerate(lengths):
        marks = 3 if length == 4 else min(length, 5)
        texts[place] += _LITERAL * (length - marks)
        lengths[place] = marks
    if sum(length != 3 for length in lengths) % 2 and sum(length != 2 for length in lengths) % 2:
        bold = [place for place, length in enumerate(lengths) if length == 3]
        if bold:
            place = min(bold, key=lambda place: _preference(texts[place]))
            texts[place] += _LITERAL
            lengths[place] = 2
    return "".join(text + "'" * length for text, length in zip(texts, lengths, strict=True)) + last


def _preference(before: str) -> int:
    """Return how soon a bold run is taken for an apostrophe: behind a word of one letter, another word, a blank."""
    if before.endswith(" "):
        return 2
    return 0 if before[-2:-1] == " " else 1
