"""Templates of a dump: `seed` prints, line by line, what wikiextractor's command line prints for a dump with them."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.corpus.fetch.decompress import bz2_chunks
from jgpt_dagster.corpus.wikipedia.articles import PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.page_xml import parse_siteinfo
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext import article_cleaner, template_store
from jgpt_dagster.corpus.wikitext.template_store import (
    FILES,
    REJECTED,
    TemplateCounts,
    collect_templates,
    open_templates,
)
from jgpt_dagster.errors import JgptError
from jgpt_dagster.sample.dump_writer import Page, write_dump
from jgpt_dagster.sample.pack import DATES, WIKI

SITE = SiteInfo(dbname="testwiki", base="https://example.org/wiki/", namespaces={0: "", 10: "Template"})
TEMPLATES = {
    "挨拶": "こんにちは、{{{1|名無し}}}さん。",
    "既定": "{{{名前|{{{1|{{挨拶}}}}}}}}と{{{ 2 |}}}と{{{3}}}",
    "入れ子": "〔{{挨拶|{{{1}}}}}／{{既定|名前={{{1}}}|{{{2|二}}}}}〕",
    "見える部分": "<includeonly>含む</includeonly><noinclude>説明[[Category:T]]</noinclude>\n続き",
    "見える部分/doc": "<noinclude>閉じない説明",
    "部分だけ": "捨てる<onlyinclude>\n残す{{{1|}}}</onlyinclude>捨てる<onlyinclude>二つ目</onlyinclude>",
    "空": "<noinclude>何もない</noinclude>",
    "注釈": "<!-- 消える -->本文<!-- 二行\nの注釈 -->続き<ref>脚注{{挨拶}}</ref>",
    "転送元": "#REDIRECT [[Template:挨拶]]",
    "転送二": "#転送 [[Template:転送元]]\n余り",
    "Redirect三": "#redirect: [[template:挨拶]]",
    "自分": "始{{自分|{{{1}}}}}終",
    "数える": "{{#ifexpr: {{{1}}} > 0 | {{{1}}}、{{数える|{{#expr: {{{1}}} - 1}}}} | 終わり。}}",
    "往復": "{{復路}}。",
    "復路": "{{往復}}、",
    "条件": "{{#if:{{{1|}}}|ある「{{{1}}}」|ない}}{{#ifeq:{{{1|}}}|甲|同じ|違う}}",
    "選ぶ": "{{#switch:{{{1}}}|a|b=甲乙|c={{挨拶|丙}}|#default=他}}",
    "計算": "{{#expr:{{{1|1}}}*2+0.5 round 1}}{{#expr: __import__('os').getpid() }}{{#ifexpr:1>2|大|小}}",
    "呼び出し": "{{#invoke:Ruby|main|{{{1}}}}}{{#invoke:convert|convert}}残り",
    "convert": "{{#invoke:convert|convert}}",
    "表": '{| class="wikitable"\n! {{{1}}}\n|-\n| {{{2|値}}}\n|}',
    "リンク": "[[{{{1}}}|{{{2|{{{1}}}}}}]]と[http://example.org {{{2|外}}}]",
    "名前を作る": "{{{{{1}}}|{{{2}}}}}",
    "小文字": "{{lc:{{{1}}}}}{{ucfirst:{{{1}}}}}{{padleft:{{{1}}}|5|0}}{{#replace:{{{1}}}|A|い}}{{#sub:{{{1}}}|1}}",
    "生": "<nowiki>{{挨拶}}</nowiki>と&amp;lt;b&amp;gt;と<b>太字</b>と<math>x</math>と<code>y</code>",
    "Q&A": 'A&B "引用" <題>',
    "見出し": "== {{{1}}} ==\n* 項目\n本文。",
    "頁名": "{{PAGENAME}}／{{NAMESPACE}}／{{FULLPAGENAME}}",
    "閉じない": "{{挨拶|{{{1}}",
    "波括弧": "{{{{{{1}}}}}}と{{{1|}}}}}{{{|}}}",
    "改行": "\n一行目\n\n{{{1|}}}\n二行目\n",
    "大きい": "字" * 5000 + "{{{1|}}}",
}
OTHER_PAGES = [
    ("Category:T", 14, "分類"),
    ("モジュール:Ruby", 828, "return {}"),
    ("Help:目次", 12, "{{挨拶}}"),
]
ARTICLES = {
    "普通": "{{挨拶|太郎}}と{{挨拶}}と{{ 挨拶 | 次郎 }}と{{Template:挨拶|三}}と{{挨拶|1=四|1=五}}。",
    "入れ子": "{{入れ子|甲|乙}}{{既定|a|b|c}}{{挨拶|{{挨拶|{{既定|x}}}}}}{{subst:挨拶|{{挨拶}}}}",
    "包む": "{{見える部分}}{{見える部分/doc}}{{部分だけ|一}}{{空}}{{注釈}}{{存在しない|引数}}",
    "転送": "{{転送元|a}}{{転送二|b}}{{Redirect三|c}}{{redirect三|d}}",
    "循環": "{{自分|a}}と{{往復}}と{{数える|5}}と{{数える|40}}",
    "関数": "{{条件|甲}}{{条件}}{{選ぶ|b}}{{選ぶ|c}}{{選ぶ|z}}{{計算|3}}{{計算|x}}{{呼び出し|a}}{{convert|10|km}}",
    "表と鎖": "前\n{{表|見出し|値}}\n{{リンク|東京|都}}{{リンク|大阪}}後",
    "名前": "{{名前を作る|挨拶|花子}}{{{{{1|挨拶}}}}}{{小文字|Abc}}{{lc:{{挨拶|ABC}}}}{{頁名}}",
    "生": "{{生}}<nowiki>{{挨拶}}</nowiki>{{Q&A}}{{Q&amp;A}}",
    "構造": "{{見出し|歴史}}\n{{改行|中}}\n* {{挨拶|表の中}}\n{{大きい|末尾}}{{閉じない|a}}{{波括弧|b}}",
    "Template の話": "題名が名前空間の名で始まる記事。",
    "Templates": "同じ。",
    "テンプレート": "{{:普通}}{{Help:目次}}{{w:x}}",
    "空の記事": "",
    "A&B <題> \"'": "{{挨拶|A&B}}<b>{{PAGENAME}}</b>",
    "転送の記事": "#転送 [[普通]]",
    "閉じない": "{{挨拶|{{既定|a}}\n次の段落。{{挨拶|b}}",
}


def pages(templates: dict[str, str], articles: dict[str, str]) -> list[Page]:
    """Articles and templates in turns, so that some are called before they are defined."""
    found = [(f"Template:{title}", 10, text) for title, text in templates.items()]
    articles_first = [(title, 0, text) for title, text in articles.items()]
    half = len(articles_first) // 2
    every = [*articles_first[:half], *found, *OTHER_PAGES, *articles_first[half:]]
    return [Page(title, number + 1, number + 5001, text, ns) for number, (title, ns, text) in enumerate(every)]


def dump_of(root: Path, wiki_pages: Iterable[Page]) -> Path:
    write_dump(root, "testwiki", "20250801", wiki_pages, pages_per_stream=7)
    return root / "testwiki" / "20250801" / "testwiki-20250801-pages-articles-multistream.xml.bz2"


def recipe_lines(dump: Path, work: Path, processes: int) -> list[str]:
    """What the shell lines of the recipe print for a dump, the files in the order in which they were written."""
    command: list[str | Path] = [
        Path(sys.executable).with_name("wikiextractor"),
        "-q",
        "--processes",
        str(processes),
        "-o",
        work / "text",
    ]
    subprocess.run([*command, dump], check=True, capture_output=True, timeout=300)
    script = "find text/ | grep wiki_ | sort | xargs cat > wiki.txt; sed -i 's/<[^>]*>//g; /^$/d' wiki.txt"
    subprocess.run(["sh", "-c", script], cwd=work, check=True)
    return (work / "wiki.txt").read_bytes().decode().split("\n")[:-1]


def seed_lines(dump: Path, folder: Path) -> tuple[list[str], TemplateCounts, list[dict[str, Any]]]:
    """The lines of `seed` for a dump, and what became of its templates and of the pages that it refused."""
    folder.mkdir()
    site = parse_siteinfo(bz2_chunks(dump))
    counts = collect_templates(bz2_chunks(dump), site, folder)
    rejected: list[dict[str, Any]] = []
    clean = article_cleaner("seed", site, open_templates(folder, site))
    rows = read_articles(bz2_chunks(dump), clean, PageCounts(), rejected)
    return [line for *_, lines in rows for line in lines], counts, rejected


def test_seed_prints_what_the_recipe_prints_for_a_dump_with_templates(tmp_path: Path) -> None:
    dump = dump_of(tmp_path, pages(TEMPLATES, ARTICLES))
    lines, counts, rejected = seed_lines(dump, tmp_path / "templates")
    assert lines == recipe_lines(dump, tmp_path, processes=2)
    assert {"太郎" in line for line in lines} == {True, False}
    # Of the words for a redirect, wikiextractor does not know 転送.
    assert (counts.templates, counts.redirects, counts.empty, counts.rejected) == (28, 2, 2, {})
    assert [row["title"] for row in rejected] == ["Template の話", "Templates"]
    assert not any("Template" in line for line in lines)


WORDS = """
{{ }} {{{ }}} [[ ]] | = 1 2 a あ 、 。 {{{1}}} {{{1|}}} {{{2|既定}}} {{{a|{{{1}}}}}} {{挨拶| {{挨拶}} {{条件| {{選ぶ|
{{甲| {{乙| {{丙| {{{{ }}}} {{#if: {{#ifeq: {{#switch: {{#expr:1+ {{lc: {{PAGENAME}} {{subst: <noinclude> </noinclude>
<includeonly> </includeonly> <onlyinclude> </onlyinclude> <noinclude/> <nowiki> </nowiki> <!-- -->
<ref> </ref> &lt; &amp;lt; <b> </b>
"""
FRAGMENTS = [
    *WORDS.split(),
    "\n",
    "\n* ",
    " ",
    "\n== 見出し ==\n",
    "{|",
    "|}",
    "#REDIRECT [[Template:挨拶]]",
    "Template:",
    ":",
]


def test_seed_prints_what_the_recipe_prints_for_random_templates_and_calls(tmp_path: Path) -> None:
    chance = random.Random(20220701)

    def text() -> str:
        return "".join(chance.choices(FRAGMENTS, k=chance.randrange(1, 30)))

    templates = {**TEMPLATES, **{name: text() for name in [*"甲乙丙丁戊", *map("雛形{}".format, range(200))]}}
    articles = {f"記事{number}": text() + f"{{{{雛形{number}|a=x|{text()}}}}}" + text() for number in range(200)}
    dump = dump_of(tmp_path, pages(templates, articles))
    lines, counts, rejected = seed_lines(dump, tmp_path / "templates")
    assert lines == recipe_lines(dump, tmp_path, processes=2)
    assert (counts.rejected, rejected) == ({}, [])
    assert len(lines) > 300


def test_seed_prints_what_the_recipe_prints_for_the_embedded_wiki(mirror: Path, tmp_path: Path) -> None:
    dump = mirror / WIKI / DATES[-1] / f"{WIKI}-{DATES[-1]}-pages-articles-multistream.xml.bz2"
    lines, counts, _ = seed_lines(dump, tmp_path / "templates")
    assert lines == recipe_lines(dump, tmp_path, processes=1)
    assert counts.templates > 1


@pytest.mark.slow
def test_seed_prints_what_the_recipe_prints_for_a_real_dump(tmp_path: Path) -> None:
    root = os.environ.get("JGPT_TEST_DATA")
    if not root:
        pytest.skip("JGPT_TEST_DATA does not name the directory of real data")
    dump = Path(root) / "wiki" / "jawiki-20250801-excerpt-single-stream.xml.bz2"
    lines, counts, rejected = seed_lines(dump, tmp_path / "templates")
    assert lines == recipe_lines(dump, tmp_path, processes=2)
    assert (counts.templates, rejected) == (0, [])


@pytest.mark.parametrize("size", [1, 61])
def test_templates_are_found_wherever_the_xml_is_cut(tmp_path: Path, size: int) -> None:
    dump = dump_of(tmp_path, pages(TEMPLATES, {"記事": "Template:挨拶 <title>Template:挨拶</title>"}))
    xml = b"".join(bz2_chunks(dump))
    site = parse_siteinfo([xml])
    whole = collect_templates([xml], site, tmp_path / "whole")
    cut = collect_templates((xml[start : start + size] for start in range(0, len(xml), size)), site, tmp_path / "cut")
    assert cut == whole and whole.templates > 20
    for name in FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_template_that_cannot_be_read_within_bounds_is_named_and_its_calls_show_nothing(tmp_path: Path) -> None:
    deep = "{{{1|" * 200 + "x" + "}}}" * 200
    dump = dump_of(tmp_path, pages({"深い": deep, "挨拶": "こんにちは"}, {"記事": "前{{深い}}と{{挨拶}}。"}))
    lines, counts, rejected = seed_lines(dump, tmp_path / "templates")
    assert lines == ["記事", "前とこんにちは。"]
    assert (counts.templates, rejected) == (1, [])
    assert list(counts.rejected) == ["Template:深い"]
    assert "parameters nested" in counts.rejected["Template:深い"]
    (row,) = map(json.loads, (tmp_path / "templates" / REJECTED).read_text().splitlines())
    assert row == {"title": "Template:深い", "reason": counts.rejected["Template:深い"]}


def template_pages(*titles: str, text: str) -> list[bytes]:
    return [
        f"<page>\n    <title>Template:{title}</title><ns>10</ns><id>1</id><revision><id>1</id>"
        f"<text>{text}</text></revision></page>".encode()
        for title in titles
    ]


def test_of_many_rejected_templates_the_manifest_names_twenty_and_a_file_all(tmp_path: Path) -> None:
    titles = [f"{number:03}" for number in range(100)] + ["長" * 2700]
    pages = template_pages(*titles, text="{{{1|" * 101 + "}}}" * 101)
    counts = collect_templates(pages, SITE, tmp_path)
    assert list(counts.rejected) == [f"Template:{title}" for title in titles[:20]]
    rows = [*map(json.loads, (tmp_path / REJECTED).read_text().splitlines())]
    assert [row["title"] for row in rows] == [f"Template:{title}"[:1000] for title in titles]
    assert rows[-1]["reason"] == "its title has more than 2,048 characters"


def test_a_dump_without_rejected_templates_has_no_file_of_them(tmp_path: Path) -> None:
    collect_templates(template_pages("甲", text="乙"), SITE, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_more_templates_than_any_wiki_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_store, "_ENTRY_LIMIT", 3)
    with pytest.raises(JgptError, match="more than 3 template pages"):
        collect_templates(template_pages("一", "二", "三", "四", text="乙"), SITE, tmp_path)


def test_a_dump_that_names_no_template_namespace_is_refused_with_what_to_do(tmp_path: Path) -> None:
    site = SiteInfo(dbname="testwiki", base="https://example.org/wiki/", namespaces={0: "", 14: "Category"})
    for refused in (lambda: collect_templates([], site, tmp_path), lambda: article_cleaner("seed", site)):
        with pytest.raises(JgptError, match=r"dump of testwiki names no template namespace .*Set JGPT_TEXT=clean"):
            refused()
    assert list(tmp_path.iterdir()) == []
    assert article_cleaner("clean", site)(1, 2, "題", "本文") == ["題", "本文"]
