import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jgpt_dagster.corpus.duplicates.character_ngrams import code_points, distinct, ngram_hashes
from jgpt_dagster.corpus.web.quality_filters import QualityFilters

ORDINARY = [
    "港町の朝は早い。魚市場に灯りがともるころ、坂の上のパン屋ではもう窯に火が入っている。",
    "「おはようございます」と声をかけると、店の人は粉だらけの手を振って、焼きたてのクロワッサンを一つくれた。",
]


def reason(lines: list[str], **settings: Any) -> str | None:
    drop_reason = QualityFilters(**settings).drop_reason(lines)
    return drop_reason and drop_reason[0]


def test_ordinary_text_stays():
    assert reason(ORDINARY) is None
    assert (
        reason(
            ["1955年4月3日、東京都北区生まれ。東京大学法学部卒、大蔵省に入省し、理財局長などを務めた日本の官僚である。"]
        )
        is None
    )


def test_a_document_is_too_short_by_its_characters_without_line_ends():
    lines = ["港町の朝は早い。", "魚市場に灯りがともる。"]
    assert reason(lines, minimum_characters=19) is None
    assert QualityFilters(minimum_characters=20).drop_reason(lines) == ("too_short", "19 characters")


@pytest.mark.parametrize(
    "text",
    [
        "The ferry leaves the harbour at seven in the morning and comes back before noon. 港へ行く。",
        "12,345 67,890 11,223 44,556 77,889 90,011 22,334 45,566 77,889 90,012 です。",
        "这家面包店早上七点开门，附近的居民经常在上班之前来买刚出炉的面包和咖啡，周末的时候还要排队等候，生意非常好。",
        "항구 도시의 아침은 빠르다. 어시장에 불이 켜질 무렵 언덕 위의 빵집에서는 벌써 가마에 불이 들어가 있다. です",
    ],
    ids=["English", "figures", "Chinese", "Korean"],
)
def test_other_scripts_are_not_japanese(text):
    assert reason([text]) == "not_japanese"
    assert reason([text], minimum_japanese=0, minimum_hiragana=0) is None


def test_repeated_lines_make_a_document_repetitive():
    lines = [*ORDINARY, *ORDINARY[:1]]
    assert reason(lines, maximum_repeated_ngrams=1) == "repetitive"  # a third of its lines
    assert reason(lines, maximum_repeated_ngrams=1, maximum_repeated_lines=0.34) is None


def test_repeated_phrases_within_lines_make_a_document_repetitive():
    chooser = random.Random(1)
    once = "".join(chooser.choices("あいうえおかきくけこさしすせそ", k=400))
    again = once[:150] + "。"
    drop_reason = QualityFilters().drop_reason([once, again])
    assert drop_reason == ("repetitive", "0.246 of its 20-grams repeat an earlier one")  # 131 of 532
    assert reason([once, again[:100]]) is None


def test_every_rule_can_be_switched_off():
    off = {"minimum_characters": 0, "minimum_japanese": 0, "minimum_hiragana": 0}
    assert reason(["a"] * 90, **off, maximum_repeated_lines=1, maximum_repeated_ngrams=1) is None


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1))
def test_no_document_breaks_it(lines):
    QualityFilters(minimum_characters=0).drop_reason(lines)


@given(st.text(st.sampled_from("あいう。𠮷\U0010ffff"), min_size=1, max_size=60), st.integers(1, 25))
def test_two_ngrams_are_equal_where_their_hashes_are(text, n):
    n = min(n, len(text))
    hashes = ngram_hashes(code_points(text), n)
    ngrams = [text[start : start + n] for start in range(len(text) - n + 1)]
    assert len(hashes) == len(ngrams)
    assert distinct(hashes) == len(set(ngrams)) == len(set(zip(ngrams, hashes.tolist(), strict=True)))
