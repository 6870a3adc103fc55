"""Promises of the normaliser: `seed` is neologdn to the letter, `clean` changes what is listed and nothing else."""

import re
import sys

import neologdn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.text.normalize import normalizer
from jgpt_dagster.corpus.text.sentence_splitter import split_sentences
from jgpt_dagster.corpus.text.substitutions import SUBSTITUTIONS
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


def as_listed(line: str) -> str:
    """Return the line with each substitution of the list applied in turn."""
    for substitution in SUBSTITUTIONS:
        line = substitution.apply(line)
    return line


# Dense in what `clean` changes or must not, in letters of many scripts and in what attaches to the character before.
CLEAN_TEXT = (
    TEXT
    | st.text(
        alphabet=st.sampled_from(
            "あカ漢aé1д한עن ー－―—～．，。「゛゜\u3099\u309aﾞｶ\ufe0f\U000e0100〰！（\u200b\u200d\u3000▁"
        )
    )
    | st.text(alphabet=st.sampled_from("あカー－゛ \u3099\ufe0f"))
)


@given(CLEAN_TEXT)
def test_clean_is_what_the_list_of_substitutions_says(line: str) -> None:
    assert clean(line) == as_listed(line)


@pytest.mark.slow
@pytest.mark.parametrize("around", ["{}", "あ{}あ", "a {} a", "ー{}ー{}ー"])
def test_clean_is_what_the_list_of_substitutions_says_for_every_character(around: str) -> None:
    for code in CODE_POINTS:
        line = around.format(chr(code), chr(code))
        assert clean(line) == as_listed(line), f"U+{code:04X}"


# What may come or go, written out apart from the code: spaces and invisible characters, ASCII and Japanese signs that
# stand for others, kana and their marks, variation selectors (of what is invisible).
MAY_CHANGE = re.compile(
    "[\x00-\x20\x7f-\xa0\xad\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff\ud800-\udfff"
    "!-~‐-―‘’“”⁃−∼∾─━▁、。「」〜〰・ぁ-ヿ﹣！-～｡-ﾟ\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


@given(CLEAN_TEXT)
def test_clean_keeps_every_other_character_in_its_place(line: str) -> None:
    assert MAY_CHANGE.sub("", clean(line)) == MAY_CHANGE.sub("", line)


@given(CLEAN_TEXT)
def test_what_is_clean_stays_as_it_is(line: str) -> None:
    text = clean(line)
    assert clean(text) == text


SPACED_WORDS = [
    *(
        "Москва столица России",
        "naïve café au lait",
        "العربية لغة سامية",
        "한국어 서울 여행",
        "η πόλη της Αθήνας",
        "שלום עולם",
    ),
    *(
        "Việt Nam",
        "सत्यमेव जयते",
        "สวัสดี ครับ",
        "Հայաստան քաղաք",
        "a * b",
        "☆ ☆",
        "→ x",
        "é : x",
        "x , y . z",
        "«да» и «нет»",
    ),
    *("10⁻³ m", "O͘ o͘", "cafe\u0301 noir", "ﾡ ﾢ"),
]


@pytest.mark.parametrize("text", SPACED_WORDS)
def test_clean_keeps_the_spaces_of_scripts_that_write_them(text: str) -> None:
    assert clean(text) == clean(text.replace(" ", "\u3000 ")) == text
    assert clean(f"これは {text} と 書く。") == f"これは{text}と書く。"


LETTERS = st.text(st.characters(categories=["L", "M", "N"], min_codepoint=0x21, max_codepoint=0x2FFF), min_size=1)


@given(st.lists(LETTERS, min_size=1))
def test_words_of_any_script_but_the_japanese_stay_apart(words: list[str]) -> None:
    words = [word for word in map(clean, words) if word]
    assert clean(" ".join(words)) == " ".join(words)


@pytest.mark.parametrize(
    ("line", "normalized"),
    [
        ("合計¥1,000以上で贈る。", "合計¥1,000以上で贈る。"),
        ("合計￥１，０００", "合計￥1,000"),
        ("ロシア語ではМосква столица Россииと書く。", "ロシア語ではМосква столица Россииと書く。"),
        ("naïve café au lait と言う。", "naïve café au laitと言う。"),
        ("か\u3099くせい、は\u309aン、う\u3099、ワ\u3099、ゝ\u3099", "がくせい、ぱン、ゔ、ヷ、ゞ"),
        ("カ゛ス、ｶﾞｽ、ﾊﾟﾝ、ｶ\u3099", "ガス、ガス、パン、ガ"),
        ("か\u309a、あ゛、ｱﾞ、（゛）", "か\u309a、あ゛、ア゛、(゛)"),
        ("〒１２３－４５６７、コンピュ－タ、ﾊﾟ－ﾄ", "〒123-4567、コンピュータ、パート"),
        ("-10‐20–30−40", "-10-20-30-40"),
    ],
)
def test_clean_has_none_of_the_faults_of_neologdn(line: str, normalized: str) -> None:
    assert clean(line) == normalized


@pytest.mark.parametrize(
    "text",
    [
        "葛\U000e0100城",
        "☺\ufe0f",
        "〰\ufe0f",
        "！\ufe00",
        "か\u3099\ufe00",
        "葛\U000e0100と a",
        "Ａ\ufe00",
        "ー\ufe00ー",
        "漢\U000e0100",
    ],
)
def test_a_variation_selector_stays_with_its_character(text: str) -> None:
    assert clean(text) == text.replace("と ", "と")
    assert clean(f"東京 {text} 大阪").startswith(f"東京{text[:2]}" if text[0] not in "☺" else "東京")


def test_a_variation_selector_takes_part_in_no_rule_for_the_character_beside_it() -> None:
    assert clean("葛\U000e0100 Abc") == "葛\U000e0100Abc", "no space next to Japanese"
    assert clean("☺\ufe0f Abc") == "☺\ufe0f Abc"
    assert clean("彼は辻\U000e0100．次に") == "彼は辻\U000e0100。次に"
    assert clean("あ\u200b\ufe0fい \ufe0fう") == "あいう", "the selector of what is dropped goes with it"
    assert clean("\ufe0f") == ""


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
        assert clean(f"A {dash} B") == "A ― B"
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
