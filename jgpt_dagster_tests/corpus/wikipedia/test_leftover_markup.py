"""The report of what cleaning left behind: which lines it counts, and that its counts add up."""

import re
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.wikipedia.articles import ArticleTotals
from jgpt_dagster.corpus.wikipedia.leftover_markup import (
    LEFTOVERS,
    count_leftovers,
    excerpt,
    lines_with_leftovers,
    per_thousand,
)

FAULTY = {
    "links": ["文[[言語", "a]]と[[b"],
    "templates": ["{{lang|en", "文{{"],
    "table_ends": ["文|}", "|}}"],
    "entities": ["A&nbsp;B", "A&amp;B", "&#12354;", "&#x3042;", "&lt;br&gt;", "1&ndash;2", "&thinsp;"],
    "placeholders": ["formula_1", "式codice_12と"],
    "empty_brackets": [
        "言語（）は",
        "言語（、）は",
        "()",
        "「 」",
        "『』",
        "関数()",
        "main( )",
        "甲、（）",
        "、「」、",
    ],
    "file_captions": ["ファイル:a.jpg|thumb", "画像:b.png", "File:c.svg"],
    "headings": ["歴史.", "概要.", "== 歴史 ==", "=== 人物 ==="],
}
SOUND = [
    "A&Bとa&b;c、AT&T;",
    "その歴史.また概要。",
    "歴史。",
    "アリス九號.",
    "a[b[0]] = {1} | x",
    "file_1とformula1と_2",
    "（笑）「、」(1)",
    "関数main()とx_1()、（）内の値、12、()、0",
    "ファイル：甲、ファイル名",
    "a == b",
    "",
]


@pytest.mark.parametrize("fault", LEFTOVERS)
def test_each_fault_is_counted_under_its_name(fault: str) -> None:
    for line in FAULTY[fault]:
        assert count_leftovers([line])[fault] == 1, line
        assert excerpt(f"{'前' * 90}。{line}", fault) or fault == "headings"
    assert count_leftovers([*SOUND, *FAULTY[fault]])[fault] == len(FAULTY[fault])


@given(st.lists(st.sampled_from([*SOUND, *chain.from_iterable(FAULTY.values()), "（", "）", "文（、", "）内"])))
def test_a_line_is_looked_at_by_itself(lines: list[str]) -> None:
    assert [*lines_with_leftovers(lines)] == [shown for line in lines for shown in lines_with_leftovers([line])]
    assert count_leftovers(lines) == sum(map(count_leftovers, ([line] for line in lines)), Counter())


def test_sound_lines_show_no_fault() -> None:
    assert list(lines_with_leftovers(SOUND)) == []


def test_a_line_counts_once_for_each_of_its_faults() -> None:
    line = "[[a]]と[[b]]（）"
    assert list(lines_with_leftovers(["前", line])) == [(line, ["links", "empty_brackets"])]
    assert count_leftovers(["前", line]) == {"links": 1, "empty_brackets": 1}


def test_an_excerpt_is_the_text_around_the_fault() -> None:
    assert excerpt("前" * 100 + "[[" + "後" * 100, "links", context=3) == "前前前[[後後後"
    assert excerpt("歴史.", "headings", context=3) == "歴史."


def test_counts_of_articles_and_of_shards_add_up() -> None:
    rows = [(1, 1, "（）", ["（）", "[[甲", "乙"]), (2, 1, "題", ["題"]), (3, 1, "題", ["題", "[[丙{{", "丁"])]

    def counted(part: list[tuple[int, int, str, list[str]]]) -> dict[str, int]:
        totals = ArticleTotals()
        assert list(totals.count(part)) == part
        return totals.faults

    whole = counted(rows)
    assert whole == {**dict.fromkeys(LEFTOVERS, 0), "links": 2, "templates": 1}
    one, two = counted(rows[:2]), counted(rows[2:])
    assert {name: one[name] + two[name] for name in LEFTOVERS} == whole
    assert per_thousand(whole, 500) == {**dict.fromkeys(LEFTOVERS, 0.0), "links": 4.0, "templates": 2.0}
    assert per_thousand(whole, 0) == dict.fromkeys(LEFTOVERS, 0.0)


@given(st.lists(st.sampled_from(["=", "==", "a", " ", "。"]), max_size=8).map("".join))
def test_a_heading_anywhere_in_a_line_is_found_as_by_a_pattern_that_tries_each_beginning(line: str) -> None:
    assert count_leftovers([line])["headings"] == (re.search("==.+==$", line) is not None)


def test_the_excerpt_of_a_long_leftover_is_short() -> None:
    for line in ("（" + "、" * 10_000 + "）", "==" + "あ" * 10_000 + "=="):
        (found,) = lines_with_leftovers([line])
        assert 0 < len(excerpt(line, found[1][0])) < 200
