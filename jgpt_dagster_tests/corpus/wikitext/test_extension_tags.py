"""Comments, extension tags and templates: whichever opens first holds the others, as in MediaWiki."""

import pytest

from jgpt_dagster_tests.corpus.wikitext.test_article_cleaner import clean


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        ("甲<nowiki><ref></nowiki>は乙である。<ref>注</ref>\n\n丙である。", ["甲<ref>は乙である。", "丙である。"]),
        ("甲<nowiki>乙<ref>丙</nowiki>丁<ref>戊</ref>己。", ["甲乙<ref>丙丁己。"]),
        ("甲<nowiki>{{</nowiki>乙<nowiki>}}</nowiki>丙。", ["甲{{乙}}丙。"]),
        ("前。\n\n<pre>\n<!--\n</pre>\n\n後。", ["前。", "後。"]),
        ("前。\n<syntaxhighlight lang=html>\n<!-- a\n<nowiki>\n</syntaxhighlight>\n後。", ["前。", "後。"]),
        ("甲<math>x<!--y</math>は数。\n\n次。", ["甲x<!--yは数。", "次。"]),
        ("甲<ref>注<nowiki></ref></nowiki>乙", ["甲乙"]),
        ("甲<ref>{{cite|</ref>乙}}丙。\n\n丁。", ["甲乙丙。", "丁。"]),
        ('甲<ref name="a>b">注</ref>乙。', ["甲乙。"]),
    ],
)
def test_what_opens_within_an_opaque_element_is_part_of_it(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        ("甲<!-- <nowiki> -->乙。\n\n丙</nowiki>。", ["甲乙。", "丙。"]),
        ("甲<!-- <ref> -->は乙である。<ref>x</ref>丙。", ["甲は乙である。丙。"]),
        ("甲{{lang|en|a<!-- }} -->b}}乙", ["甲ab乙"]),
        ("甲[[乙<!-- ]] -->|丙]]丁", ["甲丙丁"]),
        ("甲<includeonly>乙<!-- </includeonly>丙", ["甲丙"]),
        ("甲。<includeonly>乙", ["甲。"]),
    ],
)
def test_what_opens_within_a_comment_is_part_of_it(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


def test_an_element_within_an_argument_hides_the_ends_in_it() -> None:
    assert clean("甲{{lang|en|<nowiki>}}|</nowiki>}}{{仮リンク|乙<ref>|}}</ref>|en|x}}") == ["甲}}|乙"]


@pytest.mark.parametrize("comment", ["<!-- 注 -->", "  <!-- 注 --> <!-- 注\n\n -->\t"])
def test_a_line_of_comments_is_no_border(comment: str) -> None:
    assert clean(f"新潟\n{comment}\n県") == ["新潟県"]
    assert clean(f"新潟\n\n{comment}\n県") == ["新潟", "県"]


def test_a_poem_keeps_its_lines() -> None:
    assert clean("<poem>\n甲<ref>注</ref>\n乙\n</poem>") == ["甲", "乙"]
    assert clean("{{poemquote|甲\n乙}}") == ["甲", "乙"]
