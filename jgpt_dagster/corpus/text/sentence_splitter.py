"""Splitting a line into sentences, with the behaviour of `textformatting.ssplit` (which the published recipe uses).

A sentence ends after a run of periods, unless a bracket or a quotation is open there: then it goes on. Both levels are
plain counters that may fall below zero, and an unbalanced one keeps the rest of its line together, as in the original.
"""

import re

PERIODS = "。．？！♪…?!"
# Its first character is a set of its own, so that what comes before is passed over at twice the speed.
_PERIOD_RUN = re.compile(f"[{PERIODS}][{PERIODS}]*")
_CANDIDATE = re.compile(f"[^{PERIODS}]*[{PERIODS}]+|[^{PERIODS}]+")
_BRACKET = re.compile("[()（）「」“”]")
# A pair in which no sentence ends and no other bracket stands: most are.
_PAIR = re.compile(f"[(（][^()（）「」“”{PERIODS}]*[)）]|[「“][^()（）「」“”{PERIODS}]*[」”]")


def split_sentences(line: str) -> list[str]:
    """The sentences of `line`, stripped, without empty ones. A line feed ends a sentence and every open bracket."""
    if "\n" in line:
        return [sentence for part in line.split("\n") for sentence in split_sentences(part)]
    run = _PERIOD_RUN.search(line)
    if run is None or run.end() == len(line):
        return [sentence] if (sentence := line.strip()) else []
    candidates = _CANDIDATE.findall(line)
    if _BRACKET.search(line) and _BRACKET.search(_PAIR.sub("", line)):
        candidates = _merge_brackets(candidates)
    return [sentence for candidate in candidates if (sentence := candidate.strip())]


def _merge_brackets(candidates: list[str]) -> list[str]:
    """Joins each candidate that leaves a bracket or quotation level at other than zero to the one after it."""
    merged = []
    open_brackets = open_quotations = 0
    sentence = ""
    for candidate in candidates:
        count = candidate.count
        open_brackets += count("(") + count("（") - count(")") - count("）")
        open_quotations += count("「") + count("“") - count("」") - count("”")
        sentence += candidate
        if open_brackets == open_quotations == 0:
            merged.append(sentence)
            sentence = ""
    merged.append(sentence)
    return merged
