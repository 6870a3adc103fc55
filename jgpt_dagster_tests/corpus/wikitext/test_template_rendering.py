"""What `clean` shows of templates: an argument, nothing, or no sentence where a word of it would be missing."""

import re
from collections import Counter

import pytest
from babel.core import get_global

from jgpt_dagster.corpus.wikitext import invisible_templates, template_rendering
from jgpt_dagster.corpus.wikitext.country_codes import country_name
from jgpt_dagster_tests.corpus.wikitext.test_article_cleaner import clean


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("{{UK}}と{{COL}}と{{ KSA }}、{{flag|UAE}}", "イギリスとコロンビアとサウジアラビア、アラブ首長国連邦"),
        ("{{USA1912}}と{{flag|FRA1794}}と{{RUS1883}}", "アメリカ合衆国とフランスとロシア帝国"),
        ("{{Vie}}{{Fin}}ハノイ", "ハノイ"),
    ],
)
def test_a_country_code_in_capitals_shows_the_country_whatever_its_year(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("「し{{高線|るしが}}」と{{縦書き|縦}}と{{取り消し線|線}}と{{キー|Ctrl}}", "「しるしが」と縦と線とCtrl"),
        ("6つの「{{PDFlink|[http://a 報告]|1 MB}}」に分ける", "6つの「報告」に分ける"),
        ("主に{{Harvcoltxt|嶋村|2012|p=3}}と{{harv|甲|乙|2011}}に基づく", "主に嶋村 (2012)と(甲・乙 2011)に基づく"),
        ("{{IAST|ā}}、{{polytonic|ἀ}}、{{script|Hebr|א}}、{{smallcaps|Abc}}", "ā、ἀ、א、Abc"),
        (
            "{{zh|s=汉|t=漢|p=hàn}}、{{Lang-zh|中}}、{{Vie|v=Hà Nội|hn=河內}}",
            "簡体字: 汉、繁体字: 漢、拼音: hàn、中国語: 中、ベトナム語: Hà Nội / 河內",
        ),
        ("{{ruby-zh-p|漢字|hàn zì}}、{{IPAslink|s}}、{{audio|a.ogg|アー}}", "漢字（hàn zì）、/s/、アー"),
        (
            "{{US$|5}}、{{GBP|6}}、{{EUR|7}}、{{gaps|1|234}}、{{π}}、{{ISSN|1234-5678}}",
            "US$5、£6、€7、1234、π、ISSN 1234-5678",
        ),
        ("{{Font color|red|white|赤}}、{{Font color|red|青}}、{{colors|a|b|緑}}、{{resize|80%|小}}", "赤、青、緑、小"),
        ("{{行内引用|text=甲=乙}}、{{w|日本}}、{{語中改行|恐羅漢|スキー場}}", "甲=乙、日本、恐羅漢スキー場"),
        ("{{lc:ABC}}、{{ucfirst: abc}}、{{年月日|2010|4|1}}", "abc、Abc、2010年4月1日"),
        ("{{PAGENAME}}と{{ FULLPAGENAME }}と<nowiki>{{PAGENAME}}</nowiki>", "題名と題名と{{PAGENAME}}"),
    ],
)
def test_an_inline_template_shows_what_a_reader_sees(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        (
            "{{Quote|text=甲}}{{Quote box|quote=乙}}{{poemquote|丙}}{{squote|丁}}{{rquote|right|戊|己}}",
            ["甲", "乙", "丙", "丁", "戊"],
        ),
        ("{{Blockquote|text=x=1|sign=人}}{{rquote|right|甲|乙}}", ["x=1", "甲"]),
        ("{{columns-list|colwidth=30em|\n* 甲\n* 乙}}{{columns-list|2|\n* 丙}}", ["甲", "乙", "丙"]),
        ("{{Bquote|引用}}と主張", ["引用", "と主張"]),
    ],
)
def test_a_block_shows_its_text_however_that_is_named(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("convert|6|ft|2|in|m", "6 ft 2 in"),
        ("convert|10|km|0", "10 km"),
        ("convert|10|km|mi|0", "10 km"),
        ("convert|1|-|2|km", "1–2 km"),
        ("val|1.5|-|2.5|ul=km", "1.5–2.5 km"),
        ("val|1.5|0.1|e=3", "1.5±0.1×10^3"),
        ("val|1.5|(2)|u=m", "1.5(2) m"),
        ("和暦|2008", "2008年（平成20年）"),
        ("和暦|1990", "1990年（平成2年）"),
        ("和暦|1869", "1869年（明治2年）"),
        ("和暦|2025", "2025年（令和7年）"),
    ],
)
def test_a_quantity_is_shown_whole_and_as_given(call: str, text: str) -> None:
    assert clean(f"甲は{{{{{call}}}}}。") == [f"甲は{text}。"]


@pytest.mark.parametrize(
    "call",
    [
        "CURRENTYEAR", "LOCALTIME", "NUMBEROFARTICLES", "#ifexpr:1|a", "#invoke:a|b", "#switch:a|b=c", "As of|2020",
        "没年齢|1|2|3", "周年|1990", "和暦|1989", "和暦|1600", "val|1|2|3", "ウィキ座標度分秒|33|17", "未知|語",
        "未知", "未知|text=語",
    ],
)  # fmt: skip
def test_a_sentence_that_lacks_the_text_of_a_template_is_dropped(call: str) -> None:
    assert clean(f"前。甲は{{{{{call}}}}}に位置する。後。") == ["前。後。"]


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        ("前\n{{未知|箱}}\n後", ["前", "後"]),
        ("{{未知|箱}}文。{{未知|注}}\n* 項目{{未知|印}}", ["文。", "項目"]),
        ("甲（{{未知|a}}）は（{{未知|a}}、英: b）と（c、{{未知|a}}）。", ["甲は（英: b）と（c）。"]),
        (
            "甲{{要出典|date=2020年}}は{{誰|date=2020年}}乙{{Sfn|丙|2020}}{{JR北路線記号|H}}{{flagicon|JPN}}。",
            ["甲は乙。"],
        ),
        ("甲{{未知|date=2020年}}は乙{{未知|名=値}}。", ["甲は乙。"]),
        ("甲{{未知|\n* 乙\n* 丙\n}}", ["甲"]),
    ],
)
def test_a_template_that_shows_no_word_of_a_sentence_costs_none(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


@pytest.mark.parametrize(
    "line", ["* {{未知|語}} - 説明", "{{未知|語}}は乙である。", "標高: {{未知|5}}", "{{未知|語}}（甲）"]
)
def test_a_line_that_lacks_its_first_or_last_word_is_dropped(line: str) -> None:
    assert clean(f"前\n\n{line}\n\n後") == ["前", "後"]


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("甲は{{要検証|範囲= 乙 |date=2014年7月}}と{{誰|date=2014年|範囲=丙=丁}}である。", "甲は乙と丙=丁である。"),
        ("甲は{{要出典範囲|text=乙|date=2014年}}と{{独自研究範囲|範囲=丙}}である。", "甲は乙と丙である。"),
        ("{{sic|誤り}}と{{not a typo|teh}}と{{要出典|date=2014年}}", "誤りとtehと"),
    ],
)
def test_text_that_an_editor_doubts_stays(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


@pytest.mark.parametrize(
    ("box", "lines"),
    [
        ("{{表3列|\n* 甲\n|\n* 乙\n|\n* 丙}}", ["甲", "乙", "丙"]),
        ("{{dl2|用語|\n* 甲\n* 乙\n|語|丙}}", ["用語", "甲", "乙", "語", "丙"]),
        ("{{no col break|\n=== 見出し ===\n* 甲\n* 乙=丙\n}}", ["甲", "乙=丙"]),
        ("{{no col break|前文\n== 見出し ==\n* 甲}}", ["前文", "甲"]),
        ("{{columns|text1=甲|text2=\n* 乙\n* 丙}}", ["甲", "乙", "丙"]),
        ("{{quotation|text1=甲。|text2=乙。}}", ["甲。", "乙。"]),
        ("{{段組|2|\n* 甲\n* 乙}}{{col-list|20em|\n* 丙}}", ["甲", "乙", "丙"]),
        ('{{quotation|<span style="color:red" lang=en>a</span>と<br clear=all>乙}}', ["aと", "乙"]),
        ("{{hidden|甲|\n* 乙}}{{箇条書き|丙|丁}}", ["甲", "乙", "丙", "丁"]),
    ],
)
def test_a_box_shows_the_text_and_lists_in_it(box: str, lines: list[str]) -> None:
    assert clean(f"名物は次の通り。\n{box}\n終わり。") == ["名物は次の通り。", *lines, "終わり。"]


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        (
            "{{llang|fr|mot}}、{{langx|eu|hitz}}、{{llang|言語記事名=甲語|la|x}}",
            "フランス語: mot、バスク語: hitz、甲語: x",
        ),
        ("{{lang-oc|mot}}、{{lang-zh-Hant|詞}}、{{lang-pt-br|x}}", "オック語: mot、繁体中国語: 詞、ポルトガル語: x"),
        ("{{lang-*-Latn|ru|Moskva}}、{{lang-grc-Latn|philosophía}}", "Moskva、philosophía"),
        ("{{lang-eu-short|hitz}}、{{lang-iw|x}}、{{lang-xyz|y}}、{{eu|z}}", "バスク語: hitz、ヘブライ語: x、y、z"),
        ("{{IPA-eu|x}}と{{言語名|haw}}", "バスク語発音: [x]とハワイ語"),
    ],
)
def test_a_language_template_of_any_code_shows_text_and_label(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


@pytest.mark.parametrize("name", ["enlink", "delink", "frlink", "kolink2", "ja icon", "要ページ番号", "R", "flagicon"])
def test_a_link_icon_or_note_leaves_no_hole(name: str) -> None:
    assert clean(f"リトアニア人{{{{{name}|x}}}}の人口。") == ["リトアニア人の人口。"]


def test_a_template_without_arguments_shows_its_word_or_leaves_a_hole() -> None:
    assert clean("{{C Sharp}}と{{!(}}a{{)!}}と{{(}}b{{)}}と{{snd}}と{{'s}}") == ["C#と[a]と{b}と – と's"]
    assert clean("{{ABW}}と{{ALA}}と{{XKX}}と{{EUN}}と{{SADR}}と{{JPN}}") == [
        "アルバとオーランド諸島とコソボとEUNとサハラ・アラブ民主共和国と日本"
    ]
    assert clean("前。{{未知の語}}は乙である。{{QQQ}}は丙。次。") == ["前。次。"]


def test_every_country_of_iso_3166_has_a_name_in_japanese() -> None:
    codes = [code for code, names in get_global("territory_aliases").items() if re.fullmatch("[A-WYZ][A-Z]{2}", code)]
    private = re.compile("AAA|Q[M-Z][M-Z]|ZZZ|NTZ")
    unnamed = [code for code in codes if not country_name(code) and not private.fullmatch(code)]
    assert len(codes) > 240
    assert unnamed == []
    assert not re.search("[()（）]", "".join(map(country_name, codes)))


def test_no_template_is_listed_twice() -> None:
    shown = [name for names in template_rendering._TEMPLATES.values() for name in names.split()]
    shown += template_rendering._CONSTANTS
    for names in (shown, [*invisible_templates._INLINE_NAMES.split(), *invisible_templates._BLOCK_NAMES.split()]):
        assert [name for name, count in Counter(names).items() if count > 1] == []
