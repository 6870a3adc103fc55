"""Tables and hidden elements go whole, and nothing but them."""

import pytest

from jgpt_dagster_tests.corpus.wikitext.test_article_cleaner import clean


@pytest.mark.parametrize(
    "table",
    [
        "{|\n|a\n<table><tr><td>b\n{|\n|c\n|}\n</td></tr></table>\n|d\n|}",
        "<table><tr><td>a<table class=x><tr><td>b</td></tr></table>c</td></tr></table>",
        "<table><tr><td>\n{|\n|a\n</td></tr></table>",
        "{|\n|<table><tr><td>a\n|}",
        "{|\n|[[a\n|b\n|}",
        "{|\n|{{a\n|b\n|}",
        "{{(!}} class=x\n{{!}}a\n{{!-}}\n{{!}}b{{!!}}c\n{{!)}}",
        "{{{!}}\n{{!}}a\n{{!}}}",
        "{|\n|a\n{{end}}",
        ":{|\n|a\n|}",
    ],
)
def test_a_table_ends_at_its_own_end(table: str) -> None:
    assert clean(f"前\n{table}\n後") == ["前", "後"]


@pytest.mark.parametrize(
    "table",
    [
        "{| class=x\n|-\n! 年 !! 賞\n|-\n| 1990\n| 新人賞",
        "{|\n|a\n{|\n|b\n|}",
        "{|\n|a\n{|\n|b",
        "{|\n|a\n|-\n|b\n\n|c\n \n! d",
        "<table>\n<tr><td>a</td></tr>\n\n<tr><td>b</td></tr>",
        "<table><tr><td>a<table><tr><td>b</td></tr></table>",
    ],
)
@pytest.mark.parametrize(
    "after", ["\n\n本文の段落である。\n\n次である。", "\n== 歴史 ==\n本文の段落である。\n\n次である。"]
)
def test_an_unclosed_table_costs_no_paragraph(table: str, after: str) -> None:
    assert clean(f"前\n{table}{after}") == ["前", "本文の段落である。", "次である。"]


def test_an_unclosed_table_ends_before_a_sentence_of_its_own_line() -> None:
    assert clean("{|\n| 1990\n| 新人賞\n本文の段落である。\n次である。") == ["本文の段落である。次である。"]
    assert clean("<table>\n<tr><td>a</td></tr>\n本文の段落である。") == ["本文の段落である。"]


def test_the_end_of_a_table_that_never_began_costs_nothing() -> None:
    assert clean("前\n|}\n後</table>\n\n{{lang|en|x}}") == ["前", "後", "x"]


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        ("<span style='display:none'>a<span>b</span>c</span>甲。", ["甲。"]),
        ('甲<SPAN STYLE="color:red; DISPLAY : NONE">a</SPAN>乙<div style=visibility:hidden>c</div>', ["甲乙"]),
        ('<div style="display: none;">\n* a\n\n== 出典 ==\n* b\n</div>\n甲', ["甲"]),
        ('<div>甲<div style="display:none">乙{{lang|en|x}}</div>丙</div>', ["甲丙"]),
        ('甲<span style="display:none">閉じない\n\n乙', ["甲", "乙"]),
        ('甲<span style="display:none" />乙<br style="display:none">丙', ["甲乙", "丙"]),
        ('<span style="border:none">甲</span>のdisplay:noneは乙', ["甲のdisplay:noneは乙"]),
    ],
)
def test_what_a_style_hides_is_not_text(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines
