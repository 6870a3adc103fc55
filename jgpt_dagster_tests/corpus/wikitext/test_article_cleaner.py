"""Cleaned articles: `seed` line by line against the recipe's shell lines, `clean` promise by promise."""

import bz2
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jgpt_dagster.corpus.wikipedia.leftover_markup import count_leftovers, lines_with_leftovers
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext import WikitextError, article_cleaner

SITE = SiteInfo(
    dbname="jawiki",
    base="https://ja.wikipedia.org/wiki/メインページ",
    namespaces={0: "", 6: "ファイル", 10: "Template", 14: "Category"},
)
SEED = article_cleaner("seed", SITE)
CLEAN = article_cleaner("clean", SITE)

HEADER = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="ja">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>jawiki</dbname>
    <base>https://ja.wikipedia.org/wiki/%E3%83%A1</base>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">ファイル</namespace>
      <namespace key="10" case="first-letter">Template</namespace>
      <namespace key="14" case="first-letter">Category</namespace>
    </namespaces>
  </siteinfo>
"""
PAGE = """  <page>
    <title>{title}</title>
    <ns>0</ns>
    <id>{page_id}</id>
    <revision>
      <id>{revision_id}</id>
      <timestamp>2025-08-01T00:00:00Z</timestamp>
      <contributor>
        <username>利用者</username>
        <id>9</id>
      </contributor>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="{size}" sha1="0" xml:space="preserve">{text}</text>
      <sha1>0</sha1>
    </revision>
  </page>
"""
Article = tuple[int, int, str, str]


def write_dump(path: Path, articles: list[Article]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(HEADER)
        for page_id, revision_id, title, wikitext in articles:
            title, text = (escape(part, {'"': "&quot;"}) for part in (title, wikitext))
            size = len(wikitext.encode())
            file.write(PAGE.format(title=title, page_id=page_id, revision_id=revision_id, size=size, text=text))
        file.write("</mediawiki>\n")


def shell_lines(dump: Path, work: Path) -> list[str]:
    """What the shell lines of the recipe print for a dump."""
    command = Path(sys.executable).with_name("wikiextractor")
    subprocess.run(
        [command, "-q", "-b", "1G", "--processes", "1", "-o", work / "text", dump], check=True, capture_output=True
    )
    script = (
        "find text/ | grep wiki_ | sort | xargs cat > wiki.txt; sed -i 's/<[^>]*>//g' wiki.txt; sed -i '/^$/d' wiki.txt"
    )
    subprocess.run(["sh", "-c", script], cwd=work, check=True)
    return (work / "wiki.txt").read_bytes().decode().split("\n")[:-1]


def read_articles(path: Path) -> list[Article]:
    articles = []
    with bz2.open(path) as file:
        for _, page in ElementTree.iterparse(file):
            if page.tag.endswith("}page"):
                if page.findtext("{*}ns") == "0" and page.find("{*}redirect") is None:
                    number, revision = page.findtext("{*}id"), page.findtext("{*}revision/{*}id")
                    title, text = page.findtext("{*}title"), page.findtext("{*}revision/{*}text")
                    articles.append((int(number or 0), int(revision or 0), title or "", text or ""))
                page.clear()
    return articles


@pytest.fixture(scope="module")
def excerpt() -> list[Article]:
    root = os.environ.get("JGPT_TEST_DATA")
    if not root:
        pytest.skip("JGPT_TEST_DATA does not name the directory of real data")
    return read_articles(Path(root) / "wiki" / "jawiki-20250801-excerpt-single-stream.xml.bz2")


# Every fragment is something that one of the steps of wikiextractor treats in its own way.
WORDS = """
{{ }} {{{ }}} [[ ]] [[[ {| |} | ' '' ''' ''''' == === " < > & * # : ; （ ） ( ) . ! 、 。 あ 漢字 A 12
<b> </b> <ref> </ref> <ref/> <br/> <p> <math> </math> <!-- --> <nowiki> </nowiki> <small> </small>
&lt; &amp;lt; &nbsp; &amp;nbsp; &#38; [[ファイル: [[Category: [http://a {{仮リンク|a|b}} {{lang|en|x}}
{{#if:a| {{#expr:1+1}} {{PAGENAME}} {{lc:ABC}} {{formatnum:1234}} __NOTOC__ [[a|b]] <span> </span> 本文の文。
"""
SPACED = ["\n", "\n\n", " ", "\n== 歴史 ==\n", "\n* ", "\n: ", "\n{|\n|a\n|}\n", "[http://a b]", "\t", "\u3000"]
FRAGMENTS = [*WORDS.split(), *SPACED]
EXAMPLES = [
    (
        "言語",
        "'''言語'''（げんご、{{lang-en|x}}）は[[記号]]だ。<ref name=\"a>b\">[[x]]</ref>\n\n== 歴史 ==\n本文",
    ),
    ("AT&T", '{{PAGENAME}}は"会社"。A&B<br />C &lt;tag&gt; &amp;nbsp; &quot;x&quot;'),
    ('"引用符" <題>', "一行だけ"),
    ("空の記事", ""),
    (
        "式",
        "<math>x</math>と<code>y</code>。{{#expr: 2 * 3}}人 {{formatnum:1234}} {{#if:|a|b}}\n* 一\n:二\n{|\n|b\n|}",
    ),
    ("改行", "\n\n前の空行\n \n　\n後の空行\n\n"),
]


def test_seed_prints_what_the_shell_lines_of_the_recipe_print(tmp_path: Path) -> None:
    chance = random.Random(20220701)
    texts = ["".join(chance.choices(FRAGMENTS, k=chance.randrange(1, 60))) for _ in range(500)]
    examples = [*EXAMPLES, *((f"記事{number}", text) for number, text in enumerate(texts))]
    articles = [(number + 1, number + 1000, title, text) for number, (title, text) in enumerate(examples)]
    write_dump(tmp_path / "dump.xml", articles)
    expected = shell_lines(tmp_path / "dump.xml", tmp_path)
    assert [line for article in articles for line in SEED(*article)] == expected
    assert len(expected) > 1000


@pytest.mark.slow
def test_seed_prints_what_the_shell_lines_print_for_real_articles(excerpt: list[Article], tmp_path: Path) -> None:
    write_dump(tmp_path / "dump.xml", excerpt)
    assert [line for article in excerpt for line in SEED(*article)] == shell_lines(tmp_path / "dump.xml", tmp_path)


def test_seed_refuses_a_page_that_no_file_can_hold() -> None:
    with pytest.raises(WikitextError, match="surrogate"):
        SEED(1, 2, "題", "&#xD800;")


def clean(wikitext: str) -> list[str]:
    title, *lines = CLEAN(1, 2, "題名", wikitext)
    assert title == "題名"
    return lines


CASES = [json.loads(line) for line in Path(__file__).with_name("text_cases.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=[case["why"] for case in CASES])
def test_clean_shows_what_a_reader_sees(case: dict[str, Any]) -> None:
    assert clean(case["wikitext"]) == case["clean"]


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        (
            "{{仮リンク|地理情報|en|Geo}}と{{仮リンク|A (B)|en|C|label=A}}、{{ill2|動物の言語|en|x}}",
            ["地理情報とA、動物の言語"],
        ),
        ("{{読み仮名|'''言語'''|げんご|{{lang-en-short|language}}}}は", ["言語（げんご、英: language）は"]),
        ("{{lang|de|Straße}} {{Lang-fr|langue}} {{lang-xx|y}} {{en|word}}", ["Straße フランス語: langue y word"]),
        (
            "{{ルビ|漢字|かんじ}}と{{Ruby|漢|かん}}と<ruby>字<rt>じ</rt></ruby>",
            ["漢字（かんじ）と漢（かん）と字（じ）"],
        ),
        ("{{convert|10|mi|km}} {{IPA|ɬ}} {{IPA-en|x}}", ["10 mi ɬ 英語発音: [x]"]),
        (
            "{{nowrap|一 二}}{{fontsize|large|大}}{{color|red|赤}}{{small|小}}{{要出典範囲|主張|date=2025年}}",
            ["一 二大赤小主張"],
        ),
        ("{{JPN}}と{{flag|カナダ}}{{flagicon|JPN}}{{en icon}}", ["日本とカナダ"]),
        ("{{Quotation|引用[[a|文]]|出典}}", ["引用文"]),
        ("{{JIS2004フォント|か&#x309A;}}", ["か\u309a"]),
        ("{{formatnum:1234567}}人", ["1,234,567人"]),
        (
            "{{convert|10|-|20|km|mi}}と{{val|1.5|e=3|u=km}}と{{frac|2|1|3}}と{{e|5}}",
            ["10–20 kmと1.5×10^3 kmと2 1/3と×10^5"],
        ),
        ("{{Chem|H|2|O}}と{{IPAc-en|k|æ|t}}と{{mathbf|R}}と{{sqrt|2}}", ["H2Oと/kæt/とRと√2"]),
        ("{{link-en|甲|Kou}}と{{Link-de|乙|Otsu|label=丙}}と{{linktext|丁|戊}}", ["甲と丙と丁戊"]),
        ("{{lang|en|a|b}}{{lang-en-short|word}}{{lang-ko-short|한국}}", ["a英: word朝: 한국"]),
        (
            "{{ふりがな|漢字|かんじ}}、{{傍点|文章=強い}}、{{Visible anchor|錨}}{{Anchors|a|b}}",
            ["漢字（かんじ）、強い、錨"],
        ),
        (
            "{{補助漢字フォント|𠮷}}{{拡張漢字|㐂}}{{CP932フォント|①}}{{old-shinjitai|學|学}}{{JIS90フォント|葛}}",
            ["𠮷㐂①學葛"],
        ),
        ("{{独自研究範囲|甲|date=2025年}}{{要校閲範囲|乙|date=x}}{{要出典|date=2025年}}", ["甲乙"]),
        (
            "{{fb|JPN}}と{{flag|FRG}}と{{by|2005年}}、ISBN 4-00と{{ISBN2|4-01}}",
            ["日本と西ドイツと2005年、ISBN 4-00とISBN 4-01"],
        ),
        ("{{翻訳中}}{{継続中の作品}}{{暫定記事名|x}}{{Main|歴史}}{{節スタブ}}本文", ["本文"]),
        ("{{Bulleted list|[[一|いち]]|二}}{{col-list|7em|\n* 三\n* 四\n}}", ["いち", "二", "三", "四"]),
        ("{{lang|en|{{nowrap|w{{=}}1}}}}{{lang|en|[[x|y=z]]}}", ["w=1y=z"]),
        ("本文{{Sfn|益田|2018|p=19}}{{Efn|注}}{{Refnest|注<ref>x</ref>}}{{R|a}}。{{未知の雛形|文}}", ["本文。"]),
        ("{{Infobox\n| a = {{lang|en|x}}\n| b = {{空|}}\n|}}\n本文", ["本文"]),
    ],
)
def test_clean_keeps_the_visible_text_of_inline_templates(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        ("式<math>x^2 + \\alpha = 1</math>と<math>a < b</math>。", ["式x^2 + α = 1とa < b。"]),
        ("<chem>H2O</chem>と<math>\\mathrm{NaCl}</math>", ["H2OとNaCl"]),
        ("<code>a[b[0]] = {1}</code>を<code>{{nowrap|x}}</code>", ["a[b[0]] = {1}をx"]),
        (
            "前<syntaxhighlight>\nint x;\n</syntaxhighlight>後<syntaxhighlight inline>y</syntaxhighlight>",
            ["前後y"],
        ),
        ("<nowiki>[[リンク]]と''斜体''と&lt;br&gt;</nowiki>", ["[[リンク]]と''斜体''と<br>"]),
        ("a<b かつ c>d", ["a<b かつ c>d"]),
        ("10<x<20 と y>5、&lt;br&gt;タグ", ["10<x<20 と y>5、<br>タグ"]),
        ("{{sup|2}}m<sup>3</sup>、<small>小さい字</small>", ["2m3、小さい字"]),
    ],
)
def test_clean_mangles_neither_formulas_nor_code_nor_literal_text(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        ("前の文。比は<math>\\frac{a}{b}</math>である。後の文。", ["前の文。後の文。"]),
        (": <math>\\begin{matrix}a&b\\end{matrix}</math>\n後", ["後"]),
        ("人口は{{formatnum:{{自治体人口/北海道|札幌市}}}}人。広い。", ["広い。"]),
        ("札幌市（面積{{自治体面積|札幌市}}km²。最大。）は市。次。", ["次。"]),
        ("密度は{{#expr: 10 / 4 round 1}}人、今年は{{CURRENTYEAR}}年。後", ["後"]),
        ("{{Infobox|人口={{自治体人口|x}}}}[[ファイル:a.jpg|<math>\\frac12</math>]]文。", ["文。"]),
    ],
)
def test_clean_drops_a_sentence_that_lacks_a_value_or_a_formula(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        ('<ref name=x/>甲<ref name="y" group=z />の<ref>{{Infobox|a=b\n|c=d}}</ref>乙', ["甲の乙"]),
        ("{|\n|a\n{|\n|b\n|}\n|c\n|}\n後", ["後"]),
        ("<!-- 行\nをまたぐ\n注 -->本文", ["本文"]),
        (";用語:定義\n; [[語]]：意味\n: 字下げ", ["用語:定義", "語：意味", "字下げ"]),
        ("[[:en:Language|言語]]と[[en:Language]][[a#節|節]]と[[a|]]", ["言語と節とa"]),
        ("[http://a 公式]と[//b.c 相対]と[mailto:a@b 宛先]", ["公式と相対と宛先"]),
        ("<score>{ c d e }</score><hiero>A1</hiero><ce>CO2</ce>", ["CO2"]),
        ("[[画像:a.png|thumb\n|二行の[[説明]]<ref>q</ref>]]後", ["後"]),
        ('前\n<syntaxhighlight lang="python">\na = b[[0]]\n</syntaxhighlight>\n後', ["前", "後"]),
        ("{{#if:あ|い|う}}{{#switch:a|b}}{{DEFAULTSORT:げんご}}{{#tag:ref|注}}本文", ["本文"]),
        ("本文{{\nsmall|次}}と{{{1|既定}}}", ["本文次と既定"]),
        ("&lt;ref&gt;と&hearts;と&unknown;", ["<ref>と♥と&unknown;"]),
        (
            "集合は{1, 2}\n\n(1) 甲 (2)\n\n文<br>*注<br>:字\n\n++i\n\n<b>{a} と</b>",
            ["集合は{1, 2}", "(1) 甲 (2)", "文", "*注", ":字", "++i", "{a} と"],
        ),
    ],
)
def test_clean_handles_markup_found_on_real_pages(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


def test_clean_keeps_lists_as_lines_without_their_markers() -> None:
    assert clean("* 一\n** 二\n# 三\n: 四\n; 五\n:* 六\n七") == ["一", "二", "三", "四", "五", "六", "七"]


def test_clean_leaves_out_headings() -> None:
    assert clean("= 題 =\n一\n== 歴史 ==\n二\n=== ''近代'' ===\n三\n==空==\n") == ["一", "二", "三"]


@pytest.mark.parametrize("name", ["脚注", "出典", "参考文献", "関連項目", "外部リンク", "脚注・出典", "References"])
def test_clean_leaves_out_appendices_with_what_is_below_them_and_nothing_after(name: str) -> None:
    assert clean(f"前\n== {name} ==\n* a\n=== 本 ===\n* b\n== 影響 ==\n後") == ["前", "後"]
    assert clean(f"前\n=== {name} ===\n* a\n== 影響 ==\n後") == ["前", "後"]


def test_clean_leaves_out_see_also_and_external_links_sections() -> None:
    assert clean("前\n== See also ==\na\n== External links ==\nb") == ["前"]


@pytest.mark.parametrize(
    "wikitext",
    [
        '{| class="wikitable"\n! a !! b\n|-\n| c || {{lang|en|d}}\n|}',
        "{|\n| a\n{|\n| b\n|}\n| c\n|}",
        ":{|\n| a\n|}",
        "{{枠|\n{|\n| a\n|}}}",
        "<gallery>\na.jpg|説明\n</gallery>",
        "[[ファイル:a.jpg|thumb|説明[[b|c]]と{{lang|en|d}}]]",
        "[[File:a.jpg]][[画像:b.png|右]][[Category:言語|*]][[en:Language]][[zh-tw:語]]",
        "<!-- 注 [[a]] -->__NOTOC____NOEDITSECTION__",
        '<ref>a</ref><ref name="b" /><ref name=c>{{Cite web|url=x}}</ref><references />',
        "<timeline>\na\n</timeline><pre>b</pre><table><tr><td>c</td></tr></table>",
        "<!-- 閉じない注",
    ],
)
def test_clean_drops_everything_but_running_text(wikitext: str) -> None:
    unclosed = wikitext.startswith("<!--") and "-->" not in wikitext
    assert clean(f"前\n\n{wikitext}\n\n後") == (["前"] if unclosed else ["前", "後"])


def test_clean_keeps_the_text_of_links_whose_title_holds_a_colon() -> None:
    assert clean("[[Re:ゼロ]]と[[:en:Foo|フー]]と[[Wikipedia:井戸端|井戸端]]と[[wikt:語|語]]") == [
        "Re:ゼロとフーと井戸端と語"
    ]


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("言語（{{読み|x}}、英: language）", "言語（英: language）"),
        (
            "言語（、）と()と「」と（（））と（英: x、{{注|a}}）",
            "言語ととととと（英: x）".replace("とととと", "ととと", 1),
        ),
        ("読点「、」は残る", "読点「、」は残る"),
        ("A&nbsp;B&amp;nbsp;C&#160;&ndash;&amp;ndash;D&amp;amp;E", "A B C ––D&E"),
        ("AT&T  は '''太字''' と ''斜体''", "AT&T は 太字 と 斜体"),
        ("雑誌 ''Orbit'''s 春号と新聞L''''équipe'''は古い。", "雑誌 Orbit's 春号と新聞L'équipeは古い。"),
        ("1990年〜2000年", "1990年〜2000年"),
        ("[https://example.org 公式]、[https://example.org]と[[a|b]", "公式、とa|b]"),
        ("a{{nbsp}}b", "a b"),
        ("[http://a 甲[http://b 乙]丙", "[http://a 甲乙丙"),
        ("[ [甲] ]と{''{乙}{{注}}}", "甲と乙"),
        ("（ 甲 ,&nbsp;乙 ) と [ 丙 ]", "（甲 , 乙) と [丙]"),
        ("「 甲 」と .NET の .com 、2 : 3 .", "「甲」と .NET の .com、2 : 3 ."),
        ("甲,{{注}},乙....丙、''\"丁\"''", '甲,乙...丙、"丁"'),
        ('甲""乙""丙\u00ad\u200b', '甲"乙"丙'),
        ("a<b {{注}}''かつ'' c>d", "a<b かつ c>d"),
        ("文 {{注|a}}。", "文。"),
    ],
)
def test_clean_leaves_no_trace_of_dropped_markup(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ('* 形容詞 ::= "小さい"', '形容詞 ::= "小さい"'),
        ("[[BNF]] ::= ''x'' , {{lang|en|y}} . <small>z</small> : 2", "BNF ::= x , y . z : 2"),
        ("[https://e.org x] , y", "x , y"),
        ("x {{sfn|a|2000}}, y", "x, y"),
        ("x<ref>a</ref> , y", "x, y"),
        ("x {{sfn|a}} <ref>b</ref> : y .", "x: y ."),
        ("x [https://e.org], y {{sfn|a}}.", "x, y."),
        ("x （{{sfn|a}}） , y (（）), z", "x, y, z"),
        ("x {{sfn|a}} .NET", "x .NET"),
    ],
)
def test_a_blank_before_a_sign_goes_only_where_something_was_dropped(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


def test_a_line_break_tag_ends_a_line() -> None:
    assert clean("一<br />二<p>三</p><div style='a'>四</div>") == ["一", "二", "三", "四"]


def test_an_unclosed_template_costs_no_later_text() -> None:
    assert clean("{{仮リンク|甲|en\n\n次の段落。[[乙|丙]]{{lang|en|x}}")[-1] == "次の段落。丙x"


# The empty brackets of a call, `A()`, are its author's, and so are apostrophes beside bold and italics.
FORBIDDEN = re.compile(
    r"\[\[|\]\]|\{\{|\}\}|\{\||\|\}|formula_|codice_|（[\s、]*）|「\s*」|[（(][、,]|  "
    r"|(?<![A-Za-z0-9_](?=\(\)))\([\s,]*\)|&(?:amp|nbsp|lt|gt|#\d+);|</?(?:b|br|p|ref|span|small|div|math)\b[\s/]*>|__NOTOC__"
)
# Literal text may show markup, so nothing literal is among these.
MARKUP = st.lists(
    st.sampled_from(
        [fragment for fragment in FRAGMENTS if "nowiki" not in fragment and not fragment.startswith(("<math", "&"))]
        + [
            "&nbsp;",
            "&amp;nbsp;",
            "{{ルビ|",
            "{{読み仮名|",
            "{{col|",
            "{{!}}",
            "（{{x}}、",
            "「",
            "」",
            "\n|}",
            "\n|",
            "=",
            "[",
            "]",
        ]
        + [
            "{",
            "}",
            "<gallery>",
            "</gallery>",
            "<table>",
            "<ref ",
            '"',
            "\n== 脚注 ==\n",
            "\u200b",
            "&#8203;",
            "\U0010005b",
        ]
    ),
    max_size=60,
).map("".join)


@given(MARKUP)
@settings(max_examples=1500, deadline=None)
def test_clean_shows_no_markup_whatever_the_page_holds(wikitext: str) -> None:
    try:
        lines = clean(wikitext)
    except WikitextError:
        return
    for line in lines:
        assert line == line.strip() != ""
        assert "\n" not in line
        assert not FORBIDDEN.search(line), line


@given(st.text(max_size=300) | MARKUP)
@settings(max_examples=500, deadline=None)
def test_any_text_is_cleaned_or_rejected_with_a_wikitext_error(wikitext: str) -> None:
    for cleaner in (SEED, CLEAN):
        try:
            lines = cleaner(1, 2, "題名", wikitext)
        except WikitextError:
            continue
        assert lines[0] == "題名"
        assert "" not in lines
        "\n".join(lines).encode()


@pytest.mark.slow
def test_clean_shows_no_markup_on_real_articles(excerpt: list[Article]) -> None:
    pattern = re.compile(r"\]\]|\}\}|\{\||'''|&\w+;|  ")
    seed = [line for article in excerpt for line in SEED(*article)]
    lines = [line for article in excerpt for line in CLEAN(*article)]
    assert [line for line in lines if pattern.search(line)] == []
    assert list(lines_with_leftovers(lines)) == []
    assert count_leftovers(seed).total() > 400
    assert sum(map(len, lines)) > 1.2 * sum(map(len, seed))


def test_a_paragraph_after_the_categories_is_not_part_of_the_appendix_above() -> None:
    wikitext = "本文。\n== 外部リンク ==\n* [http://example.org 例]\n[[Category:例]]\n\n加筆された文。\n"
    assert CLEAN(1, 2, "題名", wikitext) == ["題名", "本文。", "加筆された文。"]
    assert CLEAN(1, 2, "題名", "本文。\n[[Category:例]]\n") == ["題名", "本文。"]
