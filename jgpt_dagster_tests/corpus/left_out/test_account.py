"""The account of a page: whatever is dropped is counted, with its reason and its template."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jgpt_dagster.corpus.fetch.decompress import bz2_chunks
from jgpt_dagster.corpus.left_out.account import MAX_SOURCES
from jgpt_dagster.corpus.left_out.figures import FORMULA, OTHER_TEMPLATES, Figures, costliest, summed
from jgpt_dagster.corpus.left_out.letters import count_letters
from jgpt_dagster.corpus.wikipedia.page_xml import Page, parse_pages, parse_siteinfo
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext import article_cleaner
from jgpt_dagster.sample.pack import DATES, read_pages
from jgpt_dagster_tests.corpus.wikitext.test_article_cleaner import SITE
from jgpt_dagster_tests.support.visible_prose import letters, visible_prose

CASES = Path(__file__).parents[1] / "wikitext" / "text_cases.jsonl"


def account(wikitext: str, title: str = "題", site: SiteInfo = SITE) -> Figures:
    found: list[Figures] = []
    article_cleaner("clean", site, report=lambda _, figures: found.append(figures))(1, 2, title, wikitext)
    return found[0]


def difference(wikitext: str) -> int:
    """Return how many characters are neither kept nor counted, by the independent parser."""
    figures = account(wikitext)
    return figures.kept + figures.total - figures.added - letters(visible_prose(wikitext))


@pytest.mark.parametrize(
    ("wikitext", "reason", "characters"),
    [
        ("前。<ref>注の''文''、[[橋 (川)|橋]]{{cite web|title=題名}}</ref>後。", "note", 6),
        ("前。<ref name='a'>注<!-- ない --></ref>後。<ref name='a' />", "note", 1),
        ("前。\n{|class='wikitable'\n! 見出し !! style='color:red' | 色\n|-\n| 甲 || 乙\n|}\n後。", "table", 6),
        ("前。\n<table><tr><td width='3'>甲</td></tr></table>\n後。", "table", 1),
        ("前。\n{|\n|甲\n\n後。", "table", 1),
        ("前。\n| 行 || だけ\n後。", "table", 3),
        ("式<math>\\alpha + 1</math>である。", "formula", 4),
        ("== 歴史 ==\n後。", "heading", 2),
        ("前。\n== 脚注 ==\n* 一つ\n* 二つ\n", "appendix", 4),
        ("[[ファイル:山.jpg|thumb|200px|山の[[絵画|絵]]]]前。", "picture", 3),
        ("<gallery>\n山.jpg|山\n</gallery>前。", "picture", 5),
        ("前。\n<syntaxhighlight lang='c'>int main</syntaxhighlight>\n後。", "code", 7),
        ("前。\n<timeline>a = 1</timeline>\n後。", "element", 2),
        ("前<span style='display:none'>隠す</span>。", "hidden", 2),
        ("前。<!-- 終わりがない[[橋 (川)|橋]]", "hidden", 7),
        ("前<includeonly>隠す</includeonly>。", "hidden", 2),
        ("{{基礎情報 国|公式国名=日本|首都=東京}}\n前。", "silent_template", 4),
        ("{{知らない箱|名=甲|text=一行\n二行}}\n前。", "unknown_template", 5),
        ("前{{lang|en|word}}。", "argument", 2),
        ("これは{{知らない|言葉}}である。次。", "sentence", 6),
    ],
)
def test_every_place_that_drops_text_counts_its_letters(wikitext: str, reason: str, characters: int) -> None:
    figures = account(wikitext)
    assert {name: count for name, count in figures.characters.items() if name == reason} == {reason: characters}
    assert difference(wikitext) == 0


def test_what_templates_add_is_counted_apart() -> None:
    figures = account("語は{{lang-fr|mot}}、{{tex}}、{{PAGENAME}}。", title="題名")
    assert figures.added == len("フランス語" + "TeX" + "題名")
    assert figures.total == 0


def test_a_dropped_sentence_is_charged_to_the_template_that_made_the_hole() -> None:
    figures = account(
        "前の文。これは{{知らない|言葉}}と{{他の}}である。人口は{{自治体人口/県|市}}人。式<math>\\frac{1}{2}</math>。"
    )
    named = {
        name: (found.kind, found.sentences, found.sentence_characters) for name, found in figures.templates.items()
    }
    assert named["知らない"] == ("unknown", 1, 7)
    assert named["自治体人口/県"] == ("hole", 1, 4)
    assert named[FORMULA] == ("hole", 1, 1)
    assert "他の" not in named or named["他の"][1] == 0  # one hole is enough
    assert figures.templates["知らない"].sample == "これは{{知らない}}と{{他の}}である。"
    assert figures.characters["sentence"] == 12
    assert [name for name, _ in costliest(figures.templates, 1)] == ["知らない"]


def test_a_function_is_one_name_whatever_it_computes() -> None:
    figures = account("".join(f"面積は{{{{#expr:{{{{自治体面積/県|市{n}}}}}+{n}}}}}である。" for n in range(3)))
    assert figures.templates["#expr:"].sentences == 3
    assert all(name.isprintable() for name in figures.templates)


def test_a_template_that_spans_lines_and_one_that_is_not_missed_cost_no_sentence() -> None:
    figures = account("{{知らない}}\n本文である。\n\n{{知らない|一\n二}}\n\n終わり（{{知らない}}）。")
    (template,) = (found for name, found in figures.templates.items() if name == "知らない")
    assert (template.uses, template.sentences, template.characters) == (3, 0, 2)
    assert figures.kept == len("本文である" + "終わり")


def test_holes_of_very_many_templates_on_a_page_are_all_counted() -> None:
    figures = account("".join(f"文{number}は{{{{知らない{number}}}}}である。" for number in range(2 * MAX_SOURCES)))
    assert sum(found.sentences for found in figures.templates.values()) == 2 * MAX_SOURCES
    assert figures.templates[OTHER_TEMPLATES].sentences == MAX_SOURCES + 1
    assert figures.kept == 0


def test_nested_templates_are_counted_once_however_deep() -> None:
    wikitext = "{{lang|en|" * 30 + "語" * 60_000 + "}}" * 30
    assert difference(wikitext) == 0
    assert account(wikitext).kept == 60_000


def test_the_account_changes_no_line_and_letters_are_those_of_unicode() -> None:
    texts = ["", "aé1９語かй", "、。 !-_", "\U00020000\U000e0100\U0010fffd", "語"]
    assert count_letters(texts) == [letters(text) for text in texts] == [0, 7, 0, 1, 1]


def test_kept_and_counted_is_what_an_independent_parser_sees_on_the_sample_and_the_cases() -> None:
    cases = [json.loads(line) for line in CASES.read_text().splitlines()]
    texts = [page.text for page in read_pages(DATES[-1]) if page.ns == 0]
    texts += [case["wikitext"] for case in cases if "wikitext" in case]
    differences = [difference(text) for text in texts]
    visible = sum(letters(visible_prose(text)) for text in texts)
    assert len(texts) > 140 and visible > 50_000
    assert abs(sum(differences)) <= 0.0005 * visible


def real_pages() -> Iterator[tuple[Path, list[Page]]]:
    for path in sorted(Path(os.environ["JGPT_TEST_DATA"]).glob("wiki/*excerpt*.xml.bz2")):
        pages = parse_pages(bz2_chunks(path))
        yield path, [page for page in pages if page.namespace == 0 and not page.redirect and page.text]


@pytest.mark.long
@pytest.mark.skipif("JGPT_TEST_DATA" not in os.environ, reason="JGPT_TEST_DATA names no folder of real data")
def test_kept_and_counted_is_what_an_independent_parser_sees_on_real_pages() -> None:
    for path, pages in real_pages():
        site = parse_siteinfo(bz2_chunks(path), str(path))
        total = summed(account(page.text or "", page.title, site) for page in pages)
        visible = sum(letters(visible_prose(page.text or "")) for page in pages)
        assert abs(total.kept + total.total - total.added - visible) <= 0.0005 * visible
