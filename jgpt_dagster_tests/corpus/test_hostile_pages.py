"""No page costs hours: hostile pages take work in proportion to their bytes, or are rejected with their ids.

The whole chain is measured, from a page's XML to words and to the report of leftover markup, in CPU time and against
plain prose in the same process. Other load on the machine slows both alike; what exceeds its budget is measured again.
"""

import time
from html import escape
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jgpt_dagster.assets.metadata import preview
from jgpt_dagster.corpus.rejected_rows import RejectedRows
from jgpt_dagster.corpus.schemas import ARTICLES
from jgpt_dagster.corpus.segmenters.mecab import MecabSegmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.corpus.wikipedia.articles import ArticleRow, ArticleTotals, PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.leftover_markup import excerpt, lines_with_leftovers
from jgpt_dagster.corpus.wikipedia.page_xml import MAX_TEXT_BYTES
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext import WikitextError, article_cleaner
from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import TemplateLibrary

SITE = SiteInfo(
    dbname="jawiki", base="https://ja.wikipedia.org/wiki/", namespaces={6: "ファイル", 10: "Template", 14: "Category"}
)
TEMPLATES = {
    "Lang": "{{{2|}}}",
    "T": "{{{1|}}}{{{a|{{{b|}}}}}}",
    "Literal": "<nowiki>" * 250,
    "Closed literal": "<nowiki>}}</nowiki>" * 100 + "{{{1}}}",
    "Twice": "{{twice|{{{1}}}a}}{{twice|{{{1}}}b}}",
}
LIBRARY = TemplateLibrary(
    {f"Template:{name}": text for name, text in TEMPLATES.items()}, {}, "Template:", frozenset(["Template"])
)

BUDGET = 60
"""How many times as much as a byte of prose, which takes some 0.2 µs, a byte of any page may cost."""

CHEAP = 3
"""What costs less, compared with prose, is not measured at a second size."""

GROWTH = 24
"""How many times as long as a page an eight times as long one may take: linear time takes 8 times, quadratic 64."""

SMALL, LARGE = 6_000, 48_000
PROSE = """
[[日本]]の首都は東京である。人口は約1,400万人で、[[江戸時代|江戸]]から栄えた（1603年）<ref>年鑑</ref>。
== 歴史 ==
{{lang|en|Tokyo}}という名は'''明治'''に付けられ、「東の都」を意味する。1964年と2021年に五輪が開かれた。
"""

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
    "ends of headings": "a==",
    "headings of equals signs": "===",
    "parameters": "{{{1|",
    "language variants": "-{",
    "behavior switches": "__NOTOC_",
    "underscores": "_",
    "ampersands": "&",
    "unfinished entities": "&amp",
    "addresses": "http://example.org/ ",
    "opened addresses": "[[http://a",
    "tags with a slash": "<ref/",
    "tags of other alphabets": "<あ ",
    "unclosed blocks": "<div><p",
    "arguments": "{{t|1=",
    "conditions": "{{#if:a|b|c}}",
    "calls of a template": "{{t|a}}",
    "template within a name": "{{{{t|a}}",
    "calls in arguments": "{{#switch:a|{{t|a}}=",
    "nested switches": "{{#switch:a|b={{t|",
    "page names": "{{PAGENAME}}",
    "combining marks": "\u3099",
    "voiced kana": "か\u3099",
    "zero width spaces": "\u200b",
    "joiners": "👩\u200d",
    "right to left": "\u202e\u05d0",
    "ideographic spaces": "\u3000",
    "spaces between kana": "あ ",
    "kana": "あ",
    "kanji": "漢",
    "letters": "a",
    "letters and kana": "aあ",
    "long vowels": "ーア",
    "half-width kana": "ｶﾞ",
    "tildes": "〜～",
    "dashes": "—―",
    "wide punctuation": "あ．",
    "stops": "。",
    "quotations": "「。",
    "line separators": "\u2028a",
    "carriage returns": "\ra",
    "private characters": "\U00100001",
    "table rows": "\n|-\n|a||b",
    "definition lists": "\n;a:b",
    "line ends in text": "a\n",
    "line ends in kana": "あ\n",
    "poems": "<poem>\n",
    "closed poems": "<poem>a\n</poem>",
    "comments on lines of their own": "\n <!-- a --> ",
    "comments in literal text": "<nowiki><!--</nowiki>",
    "opened HTML tables": "<table <table>",
    "closed HTML tables": "<table>\n</table>",
    "tables within each other": "\n{|\n<table>\n|}\n</table>",
    "hidden elements": '<b style="display:none">',
    "closed hidden elements": '<b style="display : none"><b></b>',
    "hiding values": ":none visibility",
    "formulas on lines of their own": "\n:<math>\\frac12</math>",
    "unknown templates on lines of their own": "\n{{t|a}}",
    "notes on lines of their own": "\n<ref/>",
    "values that are missing": "1) {{CURRENTYEAR}}。",
    "brackets around values that are missing": "（{{CURRENTYEAR}}「。",
    "stops in names": "[[a。]]",
    "country codes": "{{ABC}}",
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
    "a line of equals signs": lambda size: "a" + "=" * size + "a",
    "an argument of blanks and a quote": lambda size: "{{t|" + " " * size + "'=x}}",
    "an argument of links": lambda size: "{{#if:1|" + "[[a]]" * (size // 5) + "}}",
    "an argument of calls": lambda size: "{{t|" + "{{t|a}}" * (size // 7) + "}}",
    "a switch of many cases": lambda size: "{{#switch:a" + "|b" * (size // 2) + "=c}}",
    "an error of words": lambda size: "{{#iferror:{{urldecode:%3Cp class=%22" + "error " * (size // 6) + "x}}}}",
    "an error of blanks": lambda size: "{{#iferror:{{urldecode:%3Cp%20" + " " * size + "x}}}}",
    "literal text in an address": lambda size: "{{urldecode:" + "%3Cnowiki%3E" * (size // 12) + "}}",
    "closed literal text in an address": (
        lambda size: "{{t|{{urldecode:" + "%3Cnowiki%3E%3C/nowiki%3E" * (size // 25) + "}}}}"
    ),
    "an expression of tuples": lambda size: "{{#expr:" + "1," * (size // 2) + "}}",
    "an expression of conditions": lambda size: "{{#expr:" + "1 if 1 else " * (size // 12) + "1}}",
    "blanks after angle brackets": lambda size: "<" * 300 + " " * size + ">",
    "as many opened references as pass": lambda size: "<ref " * 95 + "a " * (size // 2),
    "as many opened bold tags as pass": lambda size: "<b " * 95 + "a " * (size // 2),
    "as many opened tags as pass": lambda size: "<nobr <div <ref <s " * 24 + "a " * (size // 2),
    "as many link brackets as pass": lambda size: "[[[ " * 60 + "a " * (size // 2),
    "as many formulas as pass": lambda size: "<math>" * 95 + "a " * (size // 2),
    "as many external links as pass": lambda size: "[http://a " * 9 + "a " * (size // 2),
    "as much of everything as passes": (
        lambda size: "<ref " * 95 + "[[[ " * 60 + "[http://a " * 9 + "&lt;math&gt;" * 95 + "a " * (size // 2)
    ),
    "runs of blanks in a tag": lambda size: "<nobr" * 9 + (" " * 999 + "x") * (size // 1000),
    "different templates": lambda size: "".join(f"{{{{{number:x}|a}}}}" for number in range(size // 9)),
    "different arguments": lambda size: "{{t|" + "|".join(f"{number}=a" for number in range(size // 8)) + "}}",
    "different entities": lambda size: "".join(f"&#{number};" for number in range(0x3041, 0x3041 + size // 8)),
    "a template of literal text": lambda size: "{{literal}}" * (size // 4000) + "a " * (size // 2),
    "a template of closed literal text": (
        lambda size: "{{closed literal|<nowiki>a</nowiki>}}" * (size // 4000) + "a " * (size // 2)
    ),
    "a template in itself": lambda size: "{{t|" * 25 + "あ" * size + "}}" * 25,
    "an unclosed table of blanks": lambda size: "{|\n" + "\n" * size + "|",
    "an unclosed table of rows": lambda size: "{|" + "\n\n|a" * (size // 4),
    "unclosed tables": lambda size: "\n{|" * (size // 6) + "\n\n|" * (size // 6),
    "a hidden element of elements": lambda size: (
        '<b style="display:none">' + "<b>" * (size // 7) + "</b>" * (size // 7)
    ),
    "a long incomplete sentence": lambda size: "（" * (size // 3) + "{{CURRENTYEAR}}" + "）。" * (size // 3),
    "indents before a formula": lambda size: ":" * size + "<math>x</math>" * (size // 16),
    "languages": lambda size: "".join(f"{{{{lang-x{number}-a-b-c|a}}}}" for number in range(size // 20)),
    "link brackets that close late": lambda size: ("[[[a" + "x" * 60) * (size // 64),
    "nested conditions": lambda size: "{{#if:1|" * 99 + "あ" * size + "}}" * 99,
}


def hostile(family: str, size: int) -> str:
    return SHAPED[family](size) if family in SHAPED else HOSTILE[family] * (size // len(HOSTILE[family]))


@pytest.fixture(scope="module")
def mecab() -> MecabSegmenter:
    return MecabSegmenter()


def page_xml(page_id: int, wikitext: str) -> str:
    return (
        f"<page><title>題{page_id}</title><ns>0</ns><id>{page_id}</id><revision><id>9</id>"
        f"<text>{escape(wikitext)}</text></revision></page>"
    )


def rows_of(profile: TextProfile, wikitext: str, rejected: RejectedRows) -> list[ArticleRow[list[str]]]:
    clean = article_cleaner(profile, SITE, LIBRARY if profile == "seed" else None)
    pages = read_articles([page_xml(1, wikitext).encode()], clean, PageCounts(), rejected)
    return list(ArticleTotals().count(pages))


def seconds(profile: TextProfile, engine: MecabSegmenter, wikitext: str) -> float:
    """Return the CPU time of all that is done with one page."""
    start = time.process_time()
    rejected = list[dict[str, Any]]()
    rows = rows_of(profile, wikitext, rejected)
    for _, _, title, lines in rows:
        for line, kinds in lines_with_leftovers(lines[1:]):
            assert len(excerpt(line, kinds[0])) < 200
        preview(("title", "lines"), [(title, " ⏎ ".join(lines))])
        pa.array([lines], ARTICLES.field("lines").type)
    list(segment_documents((lines for *_, lines in rows), profile, engine))
    taken = time.process_time() - start
    assert len(rows) + len(rejected) == 1
    return taken


def seconds_of_prose(profile: TextProfile, engine: MecabSegmenter) -> float:
    """Return the CPU time for a byte of prose."""
    text = PROSE * (LARGE // len(PROSE))
    return min(seconds(profile, engine, text) for _ in range(3)) / len(text.encode())


def excess(profile: TextProfile, engine: MecabSegmenter, pages: list[str], prose: float) -> str:
    """Say what of a page's work is above its budget, given the page in one or two sizes; "" if nothing is."""
    *smaller, page = pages
    taken = seconds(profile, engine, page)
    cost = taken / len(page.encode()) / prose
    if cost > BUDGET:
        return f"{cost:.0f} times as much as prose"
    if cost > CHEAP and smaller:
        growth = taken / max(seconds(profile, engine, smaller[0]), 1e-3)
        if growth > GROWTH:
            return f"{growth:.0f} times as long for {LARGE // SMALL} times the size"
    return ""


def lasting_excess(profile: TextProfile, engine: MecabSegmenter, pages: list[str], prose: float) -> str:
    """Say what is above its budget in each of three measurements, so that no pause of the machine decides."""
    found = ""
    for _ in range(3):
        if not (found := excess(profile, engine, pages, prose)):
            break
    return found


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_a_hostile_page_takes_work_in_proportion_to_its_bytes(profile: TextProfile, mecab: MecabSegmenter) -> None:
    prose = seconds_of_prose(profile, mecab)
    for family in [*HOSTILE, *SHAPED]:
        pages = ["本文<b>a</b>\n" + hostile(family, size) + "\n終わり" for size in (SMALL, LARGE)]
        assert lasting_excess(profile, mecab, pages, prose) == "", family


SIGNS = r"""
= == {{ }} {{{ }}} [[ ]] [ ] { } {| |} | ' '' ``` " < > & ; &amp; &lt; &# -{ }- __ * # : . .... 。 、 （ ） ( ) 「 」 !
// http:// [http://a <!-- --> <ref <ref> </ref> <br> <p </p> <math> </math> <code> </code> <nowiki> <nobr <noinclude
<pre> <syntaxhighlight <ruby> <rt> <sup> [[ファイル:a| [[Category:a]] {{#if:1| {{#expr: {{t| {{lang|en| {{#switch:a|
{{#iferror: {{#replace:a|b| {{lc: {{urldecode:%3C {{PAGENAME}} {{flag| a あ ア ー 漢 1 😀 ﾊﾞ 〜 ― formula_1 脚注
""".replace("`", "'").split()
BLANKS = [" ", "  ", "\n", "\n\n", "\t", "\u3000", "\n*", "\n=", "\n|", "\n{|", "\r", "\u200b", "\u0301", "か\u3099"]
PIECES = st.sampled_from([*SIGNS, *BLANKS])


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_a_page_of_any_repeated_signs_takes_work_in_proportion_to_its_bytes(
    profile: TextProfile, mecab: MecabSegmenter
) -> None:
    prose = seconds_of_prose(profile, mecab)

    @given(st.lists(PIECES, max_size=2), st.lists(PIECES, min_size=1, max_size=4), st.lists(PIECES, max_size=2))
    @settings(max_examples=150, deadline=None, derandomize=True)
    def holds(before: list[str], repeated: list[str], after: list[str]) -> None:
        unit = "".join(repeated)
        page = "".join(before) + unit * (12_000 // len(unit)) + "".join(after)
        assert lasting_excess(profile, mecab, [page], prose) == ""

    holds()


def test_a_page_whose_templates_never_end_is_rejected_with_its_id() -> None:
    rejected = list[dict[str, Any]]()
    assert rows_of("seed", "{{twice|}}", rejected) == []
    assert rejected[0]["page_id"] == 1
    assert "characters of wikitext to expand" in rejected[0]["reason"]


@pytest.mark.parametrize("profile", ["seed", "clean"])
def test_a_page_that_grows_beyond_what_mediawiki_shows_is_rejected(profile: TextProfile) -> None:
    title, wikitext = "あ" * 85, "{{PAGENAME}}" * 60_000
    with pytest.raises(WikitextError, match=r"above the limit of 4,194,304"):
        article_cleaner(profile, SITE, LIBRARY if profile == "seed" else None)(1, 2, title, wikitext)


def test_a_page_nested_too_deeply_is_rejected_with_the_reason() -> None:
    clean = article_cleaner("clean", SITE)
    assert clean(1, 2, "題名", "{{nowrap|" * 100 + "核" + "}}" * 100) == ["題名", "核"]
    with pytest.raises(WikitextError, match="more than 100 templates and links nested"):
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
