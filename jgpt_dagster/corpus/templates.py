"""The visible text of the inline templates of the Japanese Wikipedia.

A dump holds only the call of a template, and most calls (notes, boxes, navigation) show nothing that belongs into
running text. The ones listed here stand in the middle of sentences, and a sentence without them is broken:
`{{仮リンク|地理情報|en|Geoinformation}}` reads 地理情報. A template that is not listed shows nothing. To add one, name
it with the kind that shows the same argument. Nothing about how calls are found in a page belongs here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from jgpt_dagster.corpus.countries import country

HOLE = "\U00100001"
"""Stands where a page shows something that cannot be said here: a sentence with it is no sentence and is left out."""

_NO_NAME = re.compile(r"[<>\[\]\n\"']")

Arguments = Mapping[str, str]
"""The arguments of one call by name; the unnamed ones are "1", "2", … as in MediaWiki."""


def _named(part: str) -> tuple[str, str] | None:
    """Name and value of an argument; None for an unnamed one, also where the "=" is that of a tag or a sentence."""
    name, equals, value = part.partition("=")
    name = name.strip()
    return (name, value.strip()) if equals and len(name) < 60 and not _NO_NAME.search(name) else None


# Code: (name, short name) as Template:Lang-xx and Template:Lang-xx-short print them.
_LANGUAGES: dict[str, tuple[str, str]] = {
    "ar": ("アラビア語", "アラビア語"),
    "bg": ("ブルガリア語", "ブルガリア語"),
    "cs": ("チェコ語", "チェコ語"),
    "da": ("デンマーク語", "デンマーク語"),
    "de": ("ドイツ語", "独"),
    "el": ("ギリシア語", "希"),
    "en": ("英語", "英"),
    "eo": ("エスペラント", "エスペラント"),
    "es": ("スペイン語", "西"),
    "fa": ("ペルシア語", "ペルシア語"),
    "fi": ("フィンランド語", "フィンランド語"),
    "fr": ("フランス語", "仏"),
    "grc": ("古代ギリシア語", "古希"),
    "he": ("ヘブライ語", "ヘブライ語"),
    "hi": ("ヒンディー語", "ヒンディー語"),
    "hu": ("ハンガリー語", "ハンガリー語"),
    "id": ("インドネシア語", "インドネシア語"),
    "it": ("イタリア語", "伊"),
    "ja": ("日本語", "日"),
    "ko": ("朝鮮語", "朝"),
    "la": ("ラテン語", "羅"),
    "mn": ("モンゴル語", "モンゴル語"),
    "nl": ("オランダ語", "蘭"),
    "no": ("ノルウェー語", "ノルウェー語"),
    "pl": ("ポーランド語", "ポーランド語"),
    "pt": ("ポルトガル語", "葡"),
    "ro": ("ルーマニア語", "ルーマニア語"),
    "ru": ("ロシア語", "露"),
    "sa": ("サンスクリット語", "梵"),
    "sv": ("スウェーデン語", "スウェーデン語"),
    "th": ("タイ語", "タイ語"),
    "tr": ("トルコ語", "トルコ語"),
    "uk": ("ウクライナ語", "ウクライナ語"),
    "vi": ("ベトナム語", "ベトナム語"),
    "zh": ("中国語", "中"),
}


def _value(arguments: Arguments, *names: str) -> str:
    """The first of the named arguments that is not blank."""
    return next((value for name in names if (value := arguments.get(name, "").strip())), "")


def _unnamed(arguments: Arguments) -> list[str]:
    return [value for name, value in arguments.items() if name.isdecimal() and value.strip()]


def _shows(*names: str) -> Callable[[Arguments], str]:
    return lambda arguments: _value(arguments, *names)


def _block(*names: str) -> Callable[[Arguments], str]:
    return lambda arguments: f"\n{_value(arguments, *names)}\n"


def _lines(arguments: Arguments) -> str:
    return "\n".join(["", *_unnamed(arguments), ""])


def _reading(arguments: Arguments) -> str:
    base, *notes = _unnamed(arguments)[:4] or [""]
    return f"{base}（{'、'.join(notes)}）" if notes else base


def _country(arguments: Arguments) -> str:
    name = _value(arguments, "1")
    return country(name) or name


def _conversion(arguments: Arguments) -> str:
    """Number and unit as given, also of a range (`10|-|20|km`), and not what they are converted to."""
    first, second, *more = [*_unnamed(arguments), "", ""]
    if second in _RANGES and len(more) > 3:
        return f"{first}{_RANGES[second]}{more[0]} {more[1]}"
    return f"{first} {second}".strip()


_RANGES = {"-": "–", "–": "–", "to": "–", "～": "〜", "〜": "〜", "and": "、", "x": "×", "×": "×", "by": "×"}


def _quantity(arguments: Arguments) -> str:
    number, exponent, unit = (_value(arguments, *names) for names in (("1",), ("e",), ("u", "ul")))
    return f"{number}{exponent and f'×10^{exponent}'}{unit and f' {unit}'}" if number else ""


def _fraction(arguments: Arguments) -> str:
    parts = _unnamed(arguments)
    return f"1/{parts[0]}" if len(parts) == 1 else " ".join([*parts[:-2], "/".join(parts[-2:])])


def _number(arguments: Arguments) -> str:
    number = _value(arguments, "1")
    return f"{int(number):,}" if re.fullmatch(r"-?[0-9]{1,30}", number) else number


def _author_and_year(arguments: Arguments) -> str:
    *authors, year = _unnamed(arguments) or [""]
    return f"{'・'.join(authors)} ({year})" if authors else year


def _named_language(arguments: Arguments) -> str:
    return f"{_value(arguments, '2')}: {_value(arguments, '3')}"


_SHOWS: dict[Callable[[Arguments], str], str] = {
    # Names in lower case, a blank within a name written "_".
    _shows("label", "表示", "1"): "仮リンク ill ill2 link-interwiki 日本語版にない記事リンク",
    _shows("1"): (
        "ipa ipa2 ipalink ipa音 unicode jis2004フォント jis90フォント jis2000フォント 補助漢字フォント 拡張漢字 "
        "cp932フォント nowrap 改行禁止 inline-block small smaller big larger large sup sub center u 下線 取消線 "
        "strike 強調 旧字体 old-shinjitai 補助漢字 第3水準漢字 第4水準漢字 ilq 行内引用 abbr tooltip "
        "key kbd keyboard mono code tt samp var math mvar mathbf mathbb mathcal visible_anchor vanchor "
        "nobr bold em underline by by2 mlby 拼音 ピン音 下げ核 au " + " ".join(_LANGUAGES)
    ),
    _shows("text", "2", "1"): "font",
    _shows("文章", "1"): "傍点 圏点",
    _shows("2", "1"): "sname snamei",
    _shows("3", "2"): "transl 翻字 interlang",
    _shows("2"): (
        "lang lang2 rtl-lang fontsize color colour 色 fontcolor font_color 背景色 bgcolor legend legend2 legend0 "
        "フォントサイズ wikt-lang audio-ipa"
    ),
    _block("1"): "quotation quote cquote blockquote 引用文 引用 bq indent",
    _block("2"): "col-list columns-list",
    _reading: "読み仮名 読み仮名_ruby不使用 読み仮名ruby不使用 ルビ ruby ruby-ja ふりがな 振り仮名 furigana",
    _number: "formatnum nts",
    _author_and_year: "harvtxt",
    _named_language: "langwithname",
    _conversion: "convert cvt",
    _quantity: "val",
    _fraction: "frac sfrac 分数",
    _country: "flag flagcountry flagu 国旗 fb fbw",
    lambda arguments: "".join(_unnamed(arguments)): "chem chem2 linktext",
    lambda arguments: f"×10^{_value(arguments, '1')}": "e",
    lambda arguments: f"√{_value(arguments, '1')}": "sqrt",
    lambda arguments: f"/{''.join(_unnamed(arguments))}/": "ipac-en",
    lambda arguments: f"ISBN {_value(arguments, '1')}": "isbn isbn2",
    # What a page shows of these is worked out when it is read.
    lambda arguments: HOLE: "age 年齢 age_in_days age_in_years 和暦 pagename currentyear currentmonth currentday",
    _lines: "bulleted_list unbulleted_list ubl plainlist flatlist plain_list flat_list ul col no_col_break",
    lambda arguments: "・".join(_unnamed(arguments)): "hlist",
    lambda arguments: "、".join(_unnamed(arguments)): "hlist-comma",
    lambda arguments: "|": "!",
    lambda arguments: "=": "=",
    lambda arguments: "・": "· • ・ dot",
    lambda arguments: "–": "ndash – en_dash",
    lambda arguments: "—": "mdash — em_dash",
    lambda arguments: " ": "sp space spaces nbsp スペース",
}
_RENDERERS = {name.replace("_", " "): show for show, names in _SHOWS.items() for name in names.split()}


# Titles have at most 255 bytes. What is longer is a call of a parser function, known by its first letters.
_NAME_LIMIT = 256


@lru_cache(maxsize=4096)
def _renderer(name: str) -> Callable[[Arguments], str] | None:
    """What shows a template, given its name as a call has it; None where it shows nothing."""
    if name_of_country := country(name.strip()):
        return lambda arguments: name_of_country
    name = name.strip().replace("_", " ").lower().removeprefix("template:").removeprefix("テンプレート:")
    if known := _RENDERERS.get(name):
        return known
    if name.startswith(("自治体人口", "自治体面積", "#expr:", "#time:")):
        return lambda arguments: HOLE
    if name.endswith("範囲"):  # text that somebody doubts: 要出典範囲, 独自研究範囲 …
        return _shows("1")
    prefix, _, code = name.partition("-")
    if prefix == "lang" and code:
        full, short = _LANGUAGES.get(code.removesuffix("-short"), ("", ""))
        label = short if code.endswith("-short") else full
        return lambda arguments: f"{label}: {text}" if (text := _value(arguments, "1")) and label else text
    if prefix == "link" and code:
        return _shows("label", "1")
    if prefix == "ipa" and code:
        language = _LANGUAGES.get(code, ("", ""))[0]
        heading = f"{language}発音: " if language else ""
        return lambda arguments: f"{heading}[{text}]" if (text := _value(arguments, "1")) else ""
    return None


def render(parts: Sequence[str]) -> str:
    """The visible text of a template call given as its parts between the pipes, the name first.

    Templates and links within the parts have been replaced by their text before.
    """
    function, colon, first = parts[0].partition(":")
    if colon and function.strip().lower() == "formatnum":
        return _number({"1": first})
    renderer = _renderer(parts[0][:_NAME_LIMIT])
    if renderer is None:
        return ""
    arguments: dict[str, str] = {}
    position = 0
    for part in parts[1:]:
        if named := _named(part):
            arguments[named[0]] = named[1]
        else:
            position += 1
            arguments[str(position)] = part
    return renderer(arguments)
