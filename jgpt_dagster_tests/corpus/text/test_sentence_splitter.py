"""Promises of the sentence splitter: exactly what ssplit does, on any text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.text.sentence_splitter import split_sentences

# Dense in everything that the splitter treats in a way of its own, spaces of several kinds included.
TEXT = st.text(alphabet=st.sampled_from("。．？！♪…?!()（）「」“”『』 \t\u3000\n\r\u2028あ漢Ab1")) | st.text()


def plain_split(text: str) -> list[str]:
    """The rules, one after the other, with nothing done for speed."""
    sentences = []
    for line in text.split("\n"):
        candidates: list[str] = []
        for candidate in re.split("(?<=[。．？！♪…?!])", line):
            if re.fullmatch("[。．？！♪…?!]", candidate) and candidates:
                candidates[-1] += candidate
            else:
                candidates.append(candidate)
        brackets = quotations = 0
        current = ""
        for candidate in candidates:
            for character in candidate:
                brackets += (character in "(（") - (character in ")）")
                quotations += (character in "「“") - (character in "」”")
            current += candidate
            if not brackets and not quotations:
                sentences.append(current)
                current = ""
        sentences.append(current)
    return [sentence.strip() for sentence in sentences if sentence.strip()]


@given(TEXT)
def test_gives_what_the_plain_rules_give(text: str) -> None:
    assert split_sentences(text) == plain_split(text)


@given(TEXT)
def test_gives_what_textformatting_gives(text: str) -> None:
    textformatting = pytest.importorskip(
        "textformatting",
        reason="compares with ku-nlp/python-textformatting, which is not on PyPI: install it from its repository",
    )
    assert split_sentences(text) == textformatting.ssplit(text)


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("日本。東京？大阪！", ["日本。", "東京？", "大阪！"]),
        ("本当！？はい…。", ["本当！？", "はい…。"]),
        ("。。始まり。", ["。。", "始まり。"]),
        ("「はい。そうです。」と言った。次。", ["「はい。そうです。」と言った。", "次。"]),
        ("甲（乙。丙(丁。)戊。）己。庚。", ["甲（乙。丙(丁。)戊。）己。", "庚。"]),
        ("笑った（笑。次。その次。", ["笑った（笑。次。その次。"]),
        ("顔文字)。次。その次。", ["顔文字)。次。その次。"]),
        ("開いた（。\n次。その次。", ["開いた（。", "次。", "その次。"]),
        ("  前。  \u3000 後 ", ["前。", "後"]),
        (" \t\n ", []),
        ("", []),
    ],
)
def test_known_lines(line: str, sentences: list[str]) -> None:
    assert split_sentences(line) == sentences


@given(TEXT)
def test_loses_nothing_but_spaces(text: str) -> None:
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_a_line_of_a_million_sentences_takes_linear_time() -> None:
    assert len(split_sentences("あ。" * 1_000_000)) == 1_000_000
    assert len(split_sentences("（あ。" * 1_000_000)) == 1
