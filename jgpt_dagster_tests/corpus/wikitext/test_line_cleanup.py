"""What `clean` tidies where markup was dropped, and what it leaves as the author wrote it."""

import pytest

from jgpt_dagster_tests.corpus.wikitext.test_article_cleaner import CLEAN, clean


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("<nowiki>()「」（、）</nowiki>と<code>printf( )</code>", "()「」（、）とprintf( )"),
        ("<code>a。。、、b,,c....（；）</code>", "a。。、、b,,c....（；）"),
        ("<math>f() = (;)</math>と<math>(a\\,, b\\,)</math>", "f() = (;)と(a, b)"),
    ],
)
def test_literal_text_keeps_its_brackets_and_stops(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


def test_the_brackets_of_a_call_stay_and_those_of_a_dropped_note_go() -> None:
    assert clean("関数main()とx_1()、Word(<ref>a</ref>)とB({{Sfn|a}})と甲()") == ["関数main()とx_1()、WordとBと甲"]


@pytest.mark.parametrize(
    "line",
    [
        "(^^;)と(^_^;)と（・ω・）と(・∀・)と(;´Д`)",
        "コロン（:）、セミコロン（；）、中黒（・）",
        "近畿（・北陸）とルーテティア（・パリ）",
        "（）内は全国平均",
        "娘。。。と1,,,,2",
    ],
)
def test_punctuation_that_the_author_put_in_brackets_or_repeated_stays(line: str) -> None:
    assert clean(line) == [line]


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("文。<ref>a</ref>。次、{{Sfn|a}}、後。", "文。次、後。"),
        ("甲、{{Sfn|a}}、{{Sfn|b}}、{{Sfn|c}}。", "甲。"),
        ("甲、（<ref>a</ref>）、乙,{{Sfn|a}},丙", "甲、乙,丙"),
        ("（<ref>a</ref>；1900年）と（; 1901年）と（甲;<ref>a</ref>）", "（；1900年）と（1901年）と（甲）"),
    ],
)
def test_one_of_two_signs_around_dropped_markup_stays(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("2<sup>10</sup>=1024、6.02×10<sup>23</sup>、10<sup>-3</sup>m", "2^10=1024、6.02×10^23、10^-3m"),
        (
            "10<SUP>−6</SUP>、10<sup style='x'>&minus;9</sup>、2<sup>''n''</sup>、(a+b)<sup>2</sup>",
            "10^−6、10^−9、2^n、(a+b)^2",
        ),
        ("10{{sup|5}}と10{{上付き|n}}", "10^5と10^n"),
        ("m<sup>2</sup>、km{{sup|2}}、x<sup>n</sup>", "m2、km2、xn"),
        ("2<sup>e</sup>、1<sup>st</sup>、3<sup>[1]</sup>、5<sup>(全部)</sup>", "2e、1st、3[1]、5(全部)"),
    ],
)
def test_a_power_is_marked_so_that_it_does_not_read_as_another_number(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


@pytest.mark.parametrize(
    "wikitext",
    [
        '<ruby><rb>字</rb><rt lang="ja">じ</rt></ruby>',
        "<RUBY>字<RT>じ</RT></RUBY>",
        "<ruby>字<rp>（</rp><rt class='a'>じ</rt><rp>）</rp></ruby>",
    ],
)
def test_ruby_text_is_put_in_brackets_however_its_tag_is_written(wikitext: str) -> None:
    assert clean(wikitext) == ["字（じ）"]


HEADINGS = """
引用・参考文献 参考文献・資料 主な参考文献 参考サイト 関連サイト 関連書籍・資料 注釈・引用 参考文献等 出典・脚注など
参考文献（日本語） 書誌情報 典拠管理 関連記事 参照元 リンク 公式サイト その他の参考文献 主要文献 外部リンク一覧
"""


@pytest.mark.parametrize("heading", HEADINGS.split())
def test_an_appendix_is_dropped_whatever_its_heading_adds(heading: str) -> None:
    assert clean(f"前\n== {heading} ==\n* a\n== 影響 ==\n後") == ["前", "後"]


@pytest.mark.parametrize(
    "heading", ["引用", "資料", "その他", "主な作品", "主な典拠", "資料・書籍", "作品一覧", "概要と出典"]
)
def test_a_section_about_the_subject_stays(heading: str) -> None:
    assert clean(f"前\n== {heading} ==\n* a\n== 影響 ==\n後") == ["前", "a", "後"]


@pytest.mark.parametrize(
    ("wikitext", "line"),
    [
        ("[[ファイル:x.jpg|thumb|出典 [http://a b]]]本文である。", "本文である。"),
        ("[[ファイル:x.jpg|{{lang|en|a}} [http://a {{lang|en|b}}]]]本文", "本文"),
        ("[[a|[b]]]と[http://a [[b|{{lang|en|x}}]]]後", "[b]とx後"),
        ("[[カテゴリ:日本]][[be-x-old:Foo]][[zh-classical:語]][[roa-rup:x|]]本文", "本文"),
        ("[[rfc:1|RFC 1]]と[[pmid:1|PMID 1]]と[[:fr:Paris]]", "RFC 1とPMID 1とfr:Paris"),
    ],
)
def test_a_link_ends_where_its_label_ends_and_shows_it(wikitext: str, line: str) -> None:
    assert clean(wikitext) == [line]


def test_a_paragraph_after_categories_of_any_name_is_not_part_of_the_appendix_above() -> None:
    assert clean("本文。\n== 外部リンク ==\n* a\n[[カテゴリ:例]]\n\n加筆された文。\n") == ["本文。", "加筆された文。"]


def test_every_kind_of_blank_becomes_a_space_and_invisible_characters_go() -> None:
    for blank in "\t\u00a0\u2000\u2009\u200a\u2028\u2029\u202f\u205f":
        assert clean(f"甲{blank}乙") == ["甲 乙"], hex(ord(blank))
    for unseen in "\x00\x08\x0b\r\x1f\x7f\u00ad\u200b\u200e\u202a\u202e\u2060\ufeff\ufffe\U00100000\U0010007f":
        assert clean(f"甲{unseen}乙") == ["甲乙"], hex(ord(unseen))
    for seen in "\u3000 ~\u00a1\u00e9\u1fff\u200c\u200d\u2014\u2027\u205e\u2061\ufefe\uff00\ufffd\U0001f600\U000fffff":
        assert clean(f"甲{seen}乙") == [f"甲{seen}乙"], hex(ord(seen))


HOLE = "{{自治体人口/甲県|甲市}}"


@pytest.mark.parametrize(
    ("wikitext", "lines"),
    [
        (f"1) 人口は{HOLE}人。2) 面積は広い（約{HOLE}）。3) 産業。", ["3) 産業。"]),
        (f"a) 甲。b) {HOLE}。c) 丙。", ["a) 甲。c) 丙。"]),
        (f"(甲。人口は{HOLE}人。次である。", ["(甲。次である。"]),
        (f"「甲。人口は{HOLE}人。次である。", ["「甲。次である。"]),
        (f"甲）は乙（丙。人口は{HOLE}人。）。次である。", ["次である。"]),
        (f"甲（人口{HOLE}人。最大）は市。「乙。{HOLE}。」と丙。次。", ["次。"]),
        (f"（甲。1) 人口は{HOLE}人。次である。", ["（甲。次である。"]),
        (f"（甲。{HOLE}。乙)は市。次である。", ["次である。"]),
        (f"甲か？人口は{HOLE}人。乙！ {HOLE}人だ。次。", ["甲か？乙！次。"]),
    ],
)
def test_a_hole_takes_its_sentence_and_no_more_whatever_brackets_are_open(wikitext: str, lines: list[str]) -> None:
    assert clean(wikitext) == lines


@pytest.mark.parametrize(
    "name",
    [
        "モーニング娘。の数", "[[モーニング娘。]]", "[[グループ|娘。]]数",
        "'''モーニング娘。'''（もーにんぐむすめ）の数",
        "けいおん！", "けいおん！ファン", "Hello! Project", "Yahoo!", "藤岡弘、", "『甲。乙』", "ジョン．Ｆ．ケネディ",
    ],
)  # fmt: skip
def test_a_stop_within_a_name_does_not_cut_a_sentence_with_a_hole(name: str) -> None:
    assert clean(f"前の文。{name}は{HOLE}人。次の文。") == ["前の文。次の文。"]


def test_a_stop_in_the_title_does_not_cut_a_sentence_with_a_hole() -> None:
    title, *lines = CLEAN(1, 2, "娘。", f"娘。（むすめ）数は{HOLE}人。娘。")
    assert [title, *lines] == ["娘。", "娘。"]
