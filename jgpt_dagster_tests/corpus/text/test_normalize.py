"""Promises of the normaliser: `seed` is neologdn to the letter, `clean` leaves one kind of space and splits ．"""

import re
import sys

import neologdn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.text.normalize import normalizer
from jgpt_dagster.corpus.text.sentence_splitter import split_sentences
from jgpt_dagster_tests.support.code_points import CODE_POINTS

seed = normalizer("seed")
clean = normalizer("clean")

SURROGATES = re.compile("[\ud800-\udfff]")
# Dense in what neologdn changes, alone or by what stands beside it.
CHANGED = "~〜～ーｰ—―-‐–−  \u3000*abＡ１é1あカｶはハﾊうﾞﾟ゛゜“”’¥。．，、！？＝％／()（）：\ufeff\xa0漢"
TEXT = (
    st.text(alphabet=st.sampled_from(CHANGED))
    | st.text(alphabet=st.sampled_from(" *aéあー~"))
    | st.text(st.characters(exclude_categories=[]))
)


@given(TEXT)
def test_seed_is_the_recipe_to_the_letter(line: str) -> None:
    line = SURROGATES.sub("", line)
    assert seed(line) == neologdn.normalize(line.rstrip())


@given(st.text(alphabet=st.sampled_from(re.sub("[\u3000\ufeff\xa0．，—―]", "", CHANGED))))
def test_clean_is_neologdn_with_its_tildes_kept_where_nothing_else_is_mended(line: str) -> None:
    assert clean(line) == neologdn.normalize(line, tilde="normalize_zenkaku")


@pytest.mark.parametrize(
    "line",
    [
        "* a",
        "a *",
        "é a",
        "a é",
        "a  b",
        " a",
        "a あ",
        "あ a",
        "a ー",
        "a 〜b",
        "a  （ b：",
        "a 。",
        "a ｱ",
        "ーー",
        "カ゛",
        "--",
        "a - b",
        "",
    ],
)
def test_seed_is_the_recipe_where_neighbours_decide(line: str) -> None:
    assert seed(line) == neologdn.normalize(line.rstrip())


@pytest.mark.slow
@pytest.mark.parametrize("around", ["{}", "あ{}あ", "a{}a", "カ{0}{0}", "a {} a", "{} ", "ー{}ー-{}-"])
def test_seed_is_the_recipe_for_every_character(around: str) -> None:
    for code in CODE_POINTS:
        if not 0xD800 <= code < 0xE000:
            line = around.format(chr(code), chr(code))
            assert seed(line) == neologdn.normalize(line.rstrip()), f"U+{code:04X}"


@pytest.mark.slow
@pytest.mark.parametrize("around", ["{}", "あ{}あ", "a{}a", "カ{0}{0}", "a {} a", "ー{}ー-{}-"])
def test_clean_calls_neologdn_wherever_it_would_change_something(around: str) -> None:
    for code in CODE_POINTS:
        line = around.format(chr(code), chr(code))
        if not re.search(
            "[\ud800-\udfff\x00-\x1f\x7f-\xa0\xad\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\ufeff．，—―─━‘]", line
        ):
            assert clean(line) == neologdn.normalize(line, tilde="normalize_zenkaku"), f"U+{code:04X}"


def test_a_lone_surrogate_is_dropped() -> None:
    assert seed("甲\ud800乙") == clean("甲\udfff乙") == "甲乙"


@given(TEXT)
def test_clean_leaves_no_space_but_single_half_width_ones(line: str) -> None:
    text = clean(line)
    assert not any(character.isspace() for character in text if character != " ")
    assert text == text.strip()
    assert "  " not in text


def test_clean_makes_every_space_a_half_width_space() -> None:
    for space in filter(str.isspace, map(chr, range(sys.maxunicode + 1))):
        assert clean(f"New{space}York") == "New York", f"U+{ord(space):04X}"


def test_clean_drops_what_cannot_be_seen_and_keeps_what_shapes_other_characters() -> None:
    assert clean("見\u200bえ\ufeffな\xadい\x00文\x1b字\x7f\x9f\ud800") == "見えない文字"
    for text in ("👨\u200d👩\u200d👧", "葛\U000e0100城", "☀\ufe0f", "می\u200cخواهم"):
        assert clean(text) == text


def test_clean_keeps_ranges_that_seed_loses() -> None:
    assert seed("1990年〜2000年") == "1990年2000年"
    for tilde in "〜～~":
        assert clean(f"1990年{tilde}2000年") == "1990年〜2000年"


def test_clean_keeps_dashes_that_seed_takes_for_long_vowels() -> None:
    for dash in "—―─━":
        assert seed(f"彼は{dash * 2}と言った") == "彼はーと言った"
        assert clean(f"彼は{dash * 2}と言った") == "彼は――と言った"
        assert clean(f"社会学 {dash} 入門ー（上）") == "社会学―入門ー(上)"
    assert clean("甲━━━━━━乙") == "甲――乙", "a ruler is no word"
    assert seed("‘a’") == "`a'" and clean("‘a’") == "'a'"


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("本稿では，提案手法を述べる．次に，実験を行う．", ["本稿では、提案手法を述べる。", "次に、実験を行う。"]),
        ("ﾊﾟﾀｰﾝ．次", ["パターン。", "次"]),
        ("図（ａ）．次に「甲」，「乙」．", ["図(a)。", "次に「甲」、「乙」。"]),
        ("述べた(Smith)．次に", ["述べた(Smith)。", "次に"]),
        ("湿度は５０％．気温は", ["湿度は50%。", "気温は"]),
        ("開始した．２００５年", ["開始した。", "2005年"]),
        ("値は３．１４，幅は１，０００である．", ["値は3.14,幅は1,000である。"]),
        ("円周率は三．一四である．", ["円周率は三.一四である。"]),
        ("ジョン．Ｆ．ケネディ", ["ジョン.F.ケネディ"]),
        ("Ｊ．Ｓ．バッハ", ["J.S.バッハ"]),
        ("ｆ（ｘ）．ｐｙ", ["f(x).py"]),
        ("１．はじめに", ["1.はじめに"]),
        ("そうか．．．そうだ", ["そうか...そうだ"]),
    ],
)
def test_clean_splits_text_punctuated_with_wide_stops_and_commas(line: str, sentences: list[str]) -> None:
    assert split_sentences(clean(line)) == sentences
