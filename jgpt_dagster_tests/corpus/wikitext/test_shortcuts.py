"""The shorter ways through wikiextractor; that their lines are the library's is tested with `extractor`."""

import pytest

from jgpt_dagster.corpus.wikitext.extractor import BoundedExtractor, WikitextError
from jgpt_dagster.corpus.wikitext.shortcuts import TagNames


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
def test_a_tag_is_known_by_its_whole_name(text: str, there: bool) -> None:
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
