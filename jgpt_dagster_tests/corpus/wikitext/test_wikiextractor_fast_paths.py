"""The fast paths through wikiextractor; `test_bounded_wikiextractor` compares whole pages with the library."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wikiextractor import extract

from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import BoundedExtractor
from jgpt_dagster.corpus.wikitext.extraction_limits import WikitextError
from jgpt_dagster.corpus.wikitext.wikiextractor_fast_paths import TagNames, _heading, calls, fast_compact


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("あ", False),
        ("a < c", False),
        ("<b>", True),
        ("< / B >", True),
        ("a < b", True),  # it may be one
        ("<br>", False),
        ("<\u017f>", True),  # not ASCII: it may be any name to a pattern that ignores case
    ],
)
def test_a_tag_is_matched_by_its_whole_name(text: str, there: bool) -> None:
    assert TagNames(lambda _: None).among(text, ["b"]) is there


def test_each_text_is_checked_once() -> None:
    checked: list[str] = []
    tags = TagNames(checked.append)
    for text in ("<b>", "<b>", "<i>"):
        tags.among(text, ["b", "i"])
    assert checked == ["<b>", "<i>"]


def test_a_page_of_unclosed_links_takes_no_longer_than_its_length_allows() -> None:
    lines = BoundedExtractor(1, 2, "題").clean_text("[[あ " * 100_000)
    assert lines == [("[[あ " * 100_000)]


def test_a_page_of_unclosed_comments_is_refused_though_it_holds_no_tag() -> None:
    with pytest.raises(WikitextError, match="unclosed tags"):
        BoundedExtractor(1, 2, "題").clean_text("<!-- " * 20_000)


@given(st.text(alphabet="{{{}}}[]a|", max_size=40))
@settings(max_examples=1000, deadline=None)
def test_braces_are_paired_as_wikiextractor_pairs_them(text: str) -> None:
    found = [*calls(text, extract.findMatchingBraces)]
    assert [(start, end) for start, end, _ in found] == [*extract.findMatchingBraces(text, 2)]
    for start, end, title in found:
        assert title is None or extract.splitParts(text[start + 2 : end - 2])[0] == title


@given(st.text(alphabet="==== \t　題x", max_size=30))
@settings(max_examples=1000, deadline=None)
def test_a_heading_is_read_as_by_wikiextractors_own_pattern(line: str) -> None:
    expected = extract.section.match(line)
    assert _heading(line) == (expected and (len(expected[1]), expected[2]))


LINES = st.text(alphabet="=*#;:{|}()+-.!? \x1c題x", max_size=8) | st.sampled_from(
    [
        "== 章 ==",
        "=== 節 ===",
        "==== 項！ ====",
        "== ? ==",
        "==  ==",
        "++題++",
        "++++",
        "本文。",
        "　",
        "（注）",
        "(注)",
    ]
)


@given(st.lists(LINES, max_size=30))
@settings(max_examples=1000, deadline=None)
def test_paragraphs_and_headings_are_those_of_wikiextractor(lines: list[str]) -> None:
    text = "\n".join(lines)
    extractor = SimpleNamespace(HtmlFormatting=False, keepSections=True)
    assert fast_compact(text) == extract.compact(text, extractor=extractor)
