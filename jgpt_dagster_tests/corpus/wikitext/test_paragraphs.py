"""Which lines of a page are one: line ends within paragraphs, borders, and formulas between the parts of a sentence."""

import pytest

from jgpt_dagster_tests.corpus.wikitext.test_article_cleaner import clean

FORMULA = r"<math>\frac12</math>"


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("雨が多く、新潟\n県から", "雨が多く、新潟県から"),
        ("'''新潟'''\n<b>県</b>", "新潟県"),
        ("[[新潟]]\n{{lang|ja|県}}", "新潟県"),
        ("New\nYork", "New York"),
        ("{{lang|en|New\nYork}}\nは", "New Yorkは"),
        ("語った\n<ref>本</ref>。\n作品", "語った。作品"),
        ("語った\n<ref name=a />{{Sfn|b}}{{要出典|date=x}}\n。作品", "語った。作品"),
        ("甲は\n[[ファイル:a.svg|20px]]\n乙", "甲は乙"),
    ],
)
def test_a_line_end_within_a_paragraph_is_no_border(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        ("甲\n* 乙\n丙\n丁\n: 戊\n己", ["甲", "乙", "丙丁", "戊", "己"]),
        ("甲\n 乙\n 丙\n丁", ["甲", "乙", "丙", "丁"]),
        ("甲\n----\n乙\n== 歴史 ==\n丙\n__NOTOC__\n丁", ["甲", "乙", "丙", "丁"]),
        ("甲<br>\n乙\n<div>丙\n丁</div>\n戊", ["甲", "乙", "丙丁", "戊"]),
        ("甲\n{{quote|乙\n丙}}\n丁\n{{clear}}\n戊", ["甲", "乙丙", "丁", "戊"]),
        ("甲\n[[ファイル:a.jpg|thumb|乙]]\n丙\n<gallery>\na.jpg\n</gallery>\n丁", ["甲", "丙", "丁"]),
        ("甲\n{{Infobox\n|a=b\n}}\n乙\n{{未知|箱}}\n丙", ["甲", "乙", "丙"]),
        ("{{legend|red|甲}}\n{{legend|blue|乙}}", ["甲", "乙"]),
    ],
)
def test_lists_indents_blank_lines_and_boxes_are_borders(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


@pytest.mark.parametrize(
    "wikitext",
    [
        f"甲は\n:{FORMULA}\nに属する。後の文。",
        f"甲は\n{FORMULA}\nに属する。後の文。",
        f"甲は\n\n:{FORMULA}\n\nに属する。後の文。",
        f"甲は\n\n {FORMULA}\n\nに属する。後の文。",
        f"甲は\n:{FORMULA}\n::{FORMULA}\nに属する。後の文。",
        f"* 甲は\n*: {FORMULA}\nに属する。後の文。",
        f"甲は次の通り：\n:{FORMULA}。\n後の文。",
        "甲は{{未知|語}}\nという\n語である。後の文。",
        "甲は\n{{自治体人口|甲県}}\n人\nである。後の文。",
        "甲は\n{{未知|語}}\nに属する。後の文。",
        f"甲は\n{{{{NumBlk|:|{FORMULA}|1}}}}\nに属する。後の文。",
    ],
)
def test_a_hole_takes_its_sentence_over_all_its_lines(wikitext: str) -> None:
    assert clean(f"前の文。\n{wikitext}")[0].startswith("前の文。")
    assert "".join(clean(f"前の文。\n{wikitext}")) == "前の文。後の文。"


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        (f"甲である。\n:{FORMULA}\nここで、乙である。", ["甲である。", "ここで、乙である。"]),
        (f"甲である。\n:{FORMULA}\nところで、乙である。", ["甲である。", "ところで、乙である。"]),
        (f"甲である。\n:{FORMULA}\nとなる。後の文。", ["甲である。", "後の文。"]),
        (f"== 甲は ==\n:{FORMULA}\n乙である。", ["乙である。"]),
        (f"* 甲\n* {FORMULA}\n* 乙", ["甲", "乙"]),
        ("甲は\n:<math>x = 1</math>\nである。後の文。", ["甲はx = 1である。後の文。"]),
        (f"ここで、\n:{FORMULA}：加速度\n:<math>m</math>：質量\nである。", ["ここで、", "m：質量", "である。"]),
        (f"甲は\n:{FORMULA}である。後の文。\n乙。", ["後の文。", "乙。"]),
        ("甲である。\n:<math>x = 1</math>\nここで", ["甲である。", "x = 1", "ここで"]),
    ],
)
def test_a_formula_on_its_own_line_takes_no_other_sentence(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines
