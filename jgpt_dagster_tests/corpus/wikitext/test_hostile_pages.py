"""Pages built to take forever are cleaned or rejected within seconds, with the same result on every machine."""

import time
from contextlib import suppress
from typing import Any

import pytest

from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.corpus.wikipedia.articles import PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.page_xml import MAX_TEXT_BYTES
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext import WikitextError, article_cleaner

SITE = SiteInfo(
    dbname="jawiki", base="https://ja.wikipedia.org/wiki/", namespaces={6: "ファイル", 10: "Template", 14: "Category"}
)

HOSTILE = {
    "link brackets": "[",
    "opened links": "[[ ",
    "doubled link brackets": "[[[[a]] ",
    "braces": "{",
    "opened templates": "{{a|",
    "opened conditions": "{{#if:1|",
    "expressions": "{{#expr:9*9}}",
    "opened tables": "{|\n",
    "pipes": "|",
    "opened references": "<ref",
    "quotes in tags": "<ref \"'",
    "opened bold tags": "<b ",
    "comments": "<!-- a",
    "comments closed within links": "<!-- [[ファイル:a|-->]]",
    "tags closed within tags": "<ref <b>",
    "tags without a line break": "<nobr ",
    "preformatted text": "<pre>",
    "literal text": "<nowiki>",
    "formulas": "<math>",
    "closed formulas": "<math>x</math>",
    "escaped formulas": "&lt;math&gt;",
    "apostrophes": "'",
    "quoted italics": "''\"",
    "external links": "[http://a ",
    "program code": "<syntaxhighlight a>",
    "equals signs": "=",
    "entities": "&amp;amp;",
    "blanks": " ",
    "line ends": "\n",
    "list markers": "*",
    "empty brackets": "（）",
    "opened brackets": "（、",
    "headings": "\n== 脚注 ==",
    "reading aids": "<ruby>a<rt>",
    "angle brackets": "<",
    "reading aids with attributes": "<rt a ",
    "powers": "1<sup>2</sup>",
    "opened powers": "1<sup> ",
    "unknown templates": "{{a|b}}、",
    "triple link brackets": "[[a|[b]]]",
    "doubled stops": "、、。。",
    "ends of links and external links": "]]] ",
    "external links in labels": "[[a|{{b}}[c]]]",
    "calls": "a() ",
}
SHAPED = {
    "a long address": lambda size: "[http://" + "a" * size,
    "a heading of blanks": lambda size: "== " + " " * size,
    "an argument of blanks": lambda size: "{{lang|en|" + " " * size + "x}}",
    "blanks in a tag": lambda size: "<noinclude" + " " * size,
    "nested brackets": lambda size: "（" * (size // 2) + "）" * (size // 2),
    "nested brackets with text": lambda size: "（" * (size // 2) + "あ" + "）" * (size // 2) + "（）",
    "angle brackets after code": lambda size: "<syntaxhighlight " + ">" * size,
    "different formulas": lambda size: "".join(f"<math>{number}</math>" for number in range(size // 18)),
    "code around code": lambda size: "<code>" * (size // 6) + "''</code>",
    "code that holds markup": lambda size: "<code>''" * (size // 15) + "</code>" * (size // 15),
    "elements of one closing tag": lambda size: "<ref><code><math>" * (size // 17) + "</code></math></ref>",
    "nested templates": lambda size: "{{nowrap|" * 99 + "あ" * size + "}}" * 99,
    "nested conditions": lambda size: "{{#if:1|" * 99 + "あ" * size + "}}" * 99,
}


def hostile(family: str, size: int) -> str:
    return SHAPED[family](size) if family in SHAPED else HOSTILE[family] * (size // len(HOSTILE[family]))


def seconds(profile: TextProfile, wikitext: str) -> float:
    start = time.process_time()
    with suppress(WikitextError):
        article_cleaner(profile, SITE)(1, 2, "題名", wikitext)
    return time.process_time() - start


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_a_hostile_page_is_cleaned_or_rejected_within_two_seconds(profile: TextProfile) -> None:
    for family in [*HOSTILE, *SHAPED]:
        assert seconds(profile, "本文\n" + hostile(family, 20_000)) < 2, family


@pytest.mark.slow
@pytest.mark.parametrize("family", [*HOSTILE, *SHAPED])
@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_a_hostile_page_of_a_megabyte_is_cleaned_or_rejected_in_seconds(profile: TextProfile, family: str) -> None:
    assert seconds(profile, "本文<b>a</b>\n" + hostile(family, 1_000_000) + "\n終わり") < 15


def test_a_page_nested_too_deeply_is_rejected_with_the_reason() -> None:
    clean = article_cleaner("clean", SITE)
    assert clean(1, 2, "題名", "{{nowrap|" * 100 + "核" + "}}" * 100) == ["題名", "核"]
    with pytest.raises(WikitextError, match="more than 100 templates, links and tables nested"):
        clean(1, 2, "題名", "{{nowrap|" * 101 + "核" + "}}" * 101)


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_a_page_beyond_a_limit_is_rejected_with_its_id_and_its_neighbours_are_rows(
    profile: TextProfile,
) -> None:
    texts = ["前の本文。", "[" * 10_000, "長" * (MAX_TEXT_BYTES // 3 + 1), "後の本文。"]
    xml = "".join(
        f"<page><title>題{number}</title><ns>0</ns><id>{number}</id><revision><id>9</id><text>{text}</text></revision></page>"
        for number, text in enumerate(texts, start=1)
    )
    counts, rejected = PageCounts(), list[dict[str, Any]]()
    rows = list(read_articles([xml.encode()], article_cleaner(profile, SITE), counts, rejected))
    assert [(page_id, lines[1].rstrip("。")) for page_id, _, _, lines in rows] == [(1, "前の本文"), (4, "後の本文")]
    assert [row["page_id"] for row in rejected] == [2, 3]
    assert "WikitextError" in rejected[0]["reason"]
    assert rejected[1]["reason"] == "its text has more than 4,194,304 bytes"
    assert counts == PageCounts(pages=4, articles=2, rejected=2)
