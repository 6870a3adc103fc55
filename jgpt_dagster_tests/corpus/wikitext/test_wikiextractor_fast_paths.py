"""The fast paths through wikiextractor; `test_bounded_wikiextractor` compares whole pages with the library."""

import inspect
import re
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wikiextractor import extract

from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import BoundedExtractor
from jgpt_dagster.corpus.wikitext.extraction_limits import WikitextError
from jgpt_dagster.corpus.wikitext.wikiextractor_fast_paths import (
    ARGUMENT_NAME,
    ERROR_CLASS,
    TagNames,
    _heading,
    calls,
    fast_compact,
    fast_match,
    fast_unmask_nowiki,
    mask_nowiki,
    split_parts,
)
from jgpt_dagster.corpus.wikitext.wikiextractor_patches import patched_wikiextractor


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


def texts_of(*parts: str, most: int = 12) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(parts), max_size=most).map("".join)


@given(texts_of("'", "=", " ", "a", "\n", "]]"))
@settings(max_examples=200, deadline=None)
def test_an_argument_is_split_as_by_wikiextractors_own_pattern(argument: str) -> None:
    expected, found = extract._TEMPLATE_PARAM_RE.match(argument), ARGUMENT_NAME.match(argument)
    assert (expected is None) == (found is None)
    if expected and found:
        assert (found[1].strip(), found[2]) == (expected[1].strip(), expected[2])


@given(texts_of("{{", "}}", "[[", "]]", "{{{", "}}}", "|", "a", "=", "{", "]"))
@settings(max_examples=200, deadline=None)
def test_a_call_is_split_as_by_wikiextractor(call: str) -> None:
    assert split_parts(extract.findMatchingBraces)(call) == extract.splitParts(call)


@given(texts_of("<nowiki>", "</nowiki>", "<NOWIKI >", "</nowiki\n>", "<nowiki", "{{", "a", "\0NOWIKI1\0"))
@settings(max_examples=200, deadline=None)
def test_literal_text_is_masked_and_restored_as_by_wikiextractor(text: str) -> None:
    expected, originals = extract._mask_nowiki(text)
    assert mask_nowiki(text) == (expected, originals or None)
    unmask = fast_unmask_nowiki(extract._unmask_nowiki, lambda *_: None)
    assert unmask(expected, originals) == extract._unmask_nowiki(expected, originals)


@given(texts_of(" ", "\t", 'class="', "error", '"', ">", "x", " error", '" ', most=8))
@settings(max_examples=200, deadline=None)
def test_an_error_is_recognised_as_by_wikiextractor(rest: str) -> None:
    assert ERROR_CLASS[0] in inspect.getsource(extract.sharp_iferror)
    for text in (f"<p {rest}", f'<span class="{rest}', f'<div a class="x {rest}'):
        assert (fast_match(ERROR_CLASS[0], text) is None) == (re.match(ERROR_CLASS[0], text) is None)


@given(texts_of("<", "nobr", "<nobr", "<ref", " ", "\n", "/", ">", "/>", '"', "'", "x", "</ref>"))
@settings(max_examples=200, deadline=None)
def test_a_tag_with_attributes_is_found_as_by_wikiextractor(text: str) -> None:
    for number in (0, 1):  # nobr, ref
        expected, found = (module.selfClosing_tag_patterns[number] for module in (extract, patched_wikiextractor))
        assert [match.span() for match in found.finditer(text)] == [match.span() for match in expected.finditer(text)]
    opening = r"""<\s*ref\b(?:(?=("[^"]*"|'[^']*'|[^>]))\1)*(?<!/)>"""
    assert opening.replace("ref", "%s") in inspect.getsource(extract.clean)
    expected_text, found_text = (
        module.dropNested(text, opening, r"<\s*/\s*ref\s*>") for module in (extract, patched_wikiextractor)
    )
    assert found_text == expected_text


@given(texts_of("<", "noinclude", "<NoInclude", " ", "\n", "/", ">", "x"))
@settings(max_examples=200, deadline=None)
def test_a_stray_noinclude_is_removed_as_by_wikiextractor(text: str) -> None:
    pattern = r"<\s*noinclude\s*/?\s*>"
    assert pattern in inspect.getsource(extract.clean)
    expected = re.sub(pattern, "", text, flags=re.IGNORECASE)
    assert patched_wikiextractor.re.sub(pattern, "", text, flags=re.IGNORECASE) == expected
