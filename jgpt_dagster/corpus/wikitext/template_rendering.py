"""The visible text of the inline templates of the Japanese Wikipedia.

A dump holds only the call of a template, and most calls (notes, boxes, navigation) show nothing that belongs into
running text. The ones listed here stand in the middle of sentences, and a sentence without them is broken:
`{{仮リンク|地理情報|en|Geoinformation}}` reads 地理情報. Those that show nothing are in `silent_templates`. One in
neither leaves a mark, since a sentence may lack a word without it. To add one, name it with the kind that shows the
same argument. Nothing about how calls are found in a page belongs here.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from jgpt_dagster.corpus.wikitext.country_codes import country
from jgpt_dagster.corpus.wikitext.numbers_and_dates import conversion, date, era_year, fraction, number, quantity
from jgpt_dagster.corpus.wikitext.placeholders import HOLE, TITLE, UNKNOWN
from jgpt_dagster.corpus.wikitext.silent_templates import is_silent
from jgpt_dagster.corpus.wikitext.template_arguments import Arguments, arguments_of, unnamed, value

Renderer = Callable[[Arguments], str]

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


def _shows(*names: str) -> Renderer:
    return lambda arguments: value(arguments, *names)


def _block(*names: str) -> Renderer:
    return lambda arguments: f"\n{value(arguments, *names)}\n"


def _lines(arguments: Arguments) -> str:
    return "\n".join(["", *unnamed(arguments), ""])


def _reading(arguments: Arguments) -> str:
    base, *notes = unnamed(arguments)[:4] or [""]
    return f"{base}（{'、'.join(notes)}）" if notes else base


def _country(arguments: Arguments) -> str:
    name = value(arguments, "1")
    return country(name) or name


def _citation(form: str, arguments: Arguments) -> str:
    *authors, year = unnamed(arguments) or [""]
    return form.format("・".join(authors), year) if authors else year


def _named_language(arguments: Arguments) -> str:
    return f"{value(arguments, '2')}: {value(arguments, '3')}"


_CHINESE = {"c": "中国語", "s": "簡体字", "t": "繁体字", "p": "拼音", "hp": "拼音", "w": "ウェード式", "j": "粤拼"}


def _chinese(heading: str, arguments: Arguments) -> str:
    if text := value(arguments, "1"):
        return f"{heading}{text}"
    return "、".join(f"{label}: {text}" for name, label in _CHINESE.items() if (text := value(arguments, name)))


def _vietnamese(arguments: Arguments) -> str:
    texts = " / ".join(filter(None, (value(arguments, "v"), value(arguments, "hn"))))
    return texts and f"ベトナム語: {texts}"


def _joined(separator: str) -> Renderer:
    return lambda arguments: separator.join(unnamed(arguments))


def _around(before: str, after: str = "") -> Renderer:
    """The first argument between two texts."""
    return lambda arguments: f"{before}{text}{after}" if (text := value(arguments, "1")) else ""


def _always(text: str) -> Renderer:
    return lambda arguments: text


def _doubtful(arguments: Arguments) -> str:
    """What nobody knows to show something: a mark where it may be a word, nothing of a box of several lines."""
    texts = unnamed(arguments)
    return UNKNOWN if texts and not any("\n" in text.strip() for text in texts) else ""


_SHOWS: dict[Renderer, str] = {
    # Names in lower case, a blank within a name written "_".
    _shows("label", "表示", "1"): "仮リンク ill ill2 link-interwiki 日本語版にない記事リンク",
    _shows("text", "1"): "行内引用 citation_needed_span",
    _shows("1"): (
        "ipa ipa2 ipalink ipa音 unicode jis2004フォント jis90フォント jis2000フォント 補助漢字フォント 拡張漢字 "
        "cp932フォント nowrap 改行禁止 inline-block small smaller big larger large center u 下線 取消線 取り消し線 "
        "打ち消し線 strike s 強調 旧字体 old-shinjitai 補助漢字 第3水準漢字 第4水準漢字 ilq abbr 略語 tooltip "
        "ツールチップ key キー kbd keyboard mono code tt samp var math mvar mathbf mathbb mathcal visible_anchor "
        "vanchor nobr bold em underline overline 高線 by by2 mlby 拼音 ピン音 下げ核 au iast polytonic nastaliq "
        "簡体字 繁体字 smallcaps 縦書き right 右寄せ pdflink " + " ".join(code for code in _LANGUAGES if code != "zh")
    ),
    _shows("text", "2", "1"): "font",
    _shows("文章", "1"): "傍点 圏点",
    _shows("2", "1"): "sname snamei w resize ラテン翻字",
    _shows("3", "2"): "transl 翻字 interlang font_color fontcolor colors",
    _shows("2"): (
        "lang lang2 rtl-lang script fontsize font_size color colour 色 背景色 bgcolor background_color legend legend2 "
        "legend0 フォントサイズ wikt-lang audio-ipa audio"
    ),
    _block("text", "quote", "1"): (
        "quotation quote cquote blockquote bquote squote poemquote quote_box quotebox 引用文 引用 bq indent"
    ),
    _block("text", "quote", "2"): "rquote",
    _block("2", "1"): "col-list columns-list",
    _reading: (
        "読み仮名 読み仮名_ruby不使用 読み仮名ruby不使用 ルビ ruby ruby-ja ruby-zh-p ruby-zh-b ふりがな 振り仮名 "
        "furigana"
    ),
    lambda arguments: number(value(arguments, "1")): "formatnum nts",
    partial(_citation, "{} ({})"): "harvtxt harvcoltxt",
    partial(_citation, "({} {})"): "harv harvp harvcol",
    _named_language: "langwithname rtl-langwithname",
    partial(_chinese, ""): "zh",
    partial(_chinese, "中国語: "): "lang-zh",
    _vietnamese: "vie",
    conversion: "convert cvt",
    quantity: "val",
    fraction: "frac sfrac 分数",
    era_year: "和暦",
    date: "年月日",
    _country: "flag flagcountry flagu 国旗 fb fbw",
    _joined(""): "chem chem2 化学式 linktext gaps 語中改行",
    _joined("・"): "hlist",
    _joined("、"): "hlist-comma",
    _joined(", "): "auy",
    _around("<sup>", "</sup>"): "sup 上付き",
    _around("<sub>", "</sub>"): "sub 下付き",
    _around("×10^"): "e",
    _around("√"): "sqrt",
    _around("/", "/"): "ipaslink",
    _around("[", "]"): "ipablink interp",
    _around("ISBN "): "isbn isbn2",
    _around("ISSN "): "issn",
    _around("US$"): "us$ usd",
    _around("£"): "gbp",
    _around("€"): "eur euro €",
    lambda arguments: f"/{''.join(unnamed(arguments))}/": "ipac-en",
    # What a page shows of these is worked out when it is read.
    _always(HOLE): "age age_in_days age_in_years as_of 享年 年数 周年 今日 現在年 to_usd",
    _lines: "bulleted_list unbulleted_list ubl plainlist flatlist plain_list flat_list ul col no_col_break",
    _always("|"): "!",
    _always("="): "=",
    _always("・"): "· • ・ dot",
    _always("–"): "ndash – en_dash",
    _always("—"): "mdash — em_dash",
    _always("π"): "π pi",
    _always(" "): "sp space spaces nbsp スペース pad gap",
    _always("\n"): "br 改行",
}
_RENDERERS = {name.replace("_", " "): show for show, names in _SHOWS.items() for name in names.split()}

# Functions of MediaWiki that show their argument in another form.
_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "formatnum": number,
    "lc": str.lower,
    "uc": str.upper,
    "lcfirst": lambda text: text[:1].lower() + text[1:],
    "ucfirst": lambda text: text[:1].upper() + text[1:],
}
# An article has no pages below it: its name, with or without a namespace, is its title.
_PAGE_NAMES = frozenset(["PAGENAME", "FULLPAGENAME", "BASEPAGENAME", "SUBPAGENAME"])
# Variables of MediaWiki have another value each day or are none of the text's; their names are in capitals.
_VARIABLE = re.compile("(?:CURRENT|LOCAL|NUMBEROF|PAGESIN|PAGEID|REVISION)[A-Z]*(?::|$)|[A-Z]*PAGENAMEE?(?::|$)")

# Titles have at most 255 bytes. What is longer is a call of a parser function, known by its first letters.
_NAME_LIMIT = 256


class _Name(NamedTuple):
    """The name of a template: as the call spells it, and in lower case with blanks and without a namespace."""

    spelled: str
    normalized: str


def _has_suffix(prefix: str) -> Callable[[_Name], bool]:
    return lambda name: name.normalized.startswith(prefix) and name.normalized != prefix


def _language(name: _Name) -> Renderer:
    """Render `{{lang-fr|mot}}` as フランス語: mot and `{{lang-fr-short|mot}}` as 仏: mot."""
    code = name.normalized.removeprefix("lang-")
    full, short = _LANGUAGES.get(code.removesuffix("-short"), ("", ""))
    label = short if code.endswith("-short") else full
    return _around(f"{label}: " if label else "")


def _pronunciation(name: _Name) -> Renderer:
    """Render `{{ipa-fr|mo}}` as フランス語発音: [mo]."""
    language = _LANGUAGES.get(name.normalized.removeprefix("ipa-"), ("", ""))[0]
    return _around(f"{language}発音: [" if language else "[", "]")


# The value of these is worked out when the page is read.
_COMPUTED = ("自治体人口", "自治体面積", "#expr:", "#time:")

# Read from top to bottom: the first predicate that holds decides. None renders nothing.
_RULES: tuple[tuple[Callable[[_Name], bool], Callable[[_Name], Renderer | None]], ...] = (
    (lambda name: country(name.spelled) != "", lambda name: _always(country(name.spelled))),
    (lambda name: name.spelled in _PAGE_NAMES, lambda _: _always(TITLE)),
    (lambda name: _VARIABLE.match(name.spelled) is not None, lambda _: _always(HOLE)),
    (lambda name: name.normalized in _RENDERERS, lambda name: _RENDERERS[name.normalized]),
    (lambda name: name.normalized.startswith(_COMPUTED), lambda _: _always(HOLE)),
    (lambda name: name.normalized.endswith("年齢"), lambda _: _always(HOLE)),
    # Text that an editor doubts: 要出典範囲, 独自研究範囲 …
    (lambda name: name.normalized.endswith("範囲"), lambda _: _shows("1")),
    (_has_suffix("lang-"), _language),
    (_has_suffix("link-"), lambda _: _shows("label", "1")),
    (_has_suffix("ipa-"), _pronunciation),
    (lambda name: is_silent(name.normalized), lambda _: None),
    (lambda name: name.normalized.startswith("#"), lambda _: _always(UNKNOWN)),
    (lambda _: True, lambda _: _doubtful),
)


@lru_cache(maxsize=4096)
def _renderer(spelled: str) -> Renderer | None:
    """Return what renders a template, given its name as a call spells it; None if it shows nothing."""
    spelled = spelled.strip()
    normalized = spelled.replace("_", " ").lower().removeprefix("template:").removeprefix("テンプレート:")
    name = _Name(spelled, normalized)
    return next(factory(name) for applies, factory in _RULES if applies(name))


def render(parts: Sequence[str]) -> str:
    """The visible text of a template call given as its parts between the pipes, the name first.

    Templates and links within the parts have been replaced by their text before.
    """
    function, colon, first = parts[0].partition(":")
    if colon and (shown := _FUNCTIONS.get(function.strip().lower())):
        return shown(first.strip())
    renderer = _renderer(parts[0][:_NAME_LIMIT])
    return renderer(arguments_of(parts[1:])) if renderer else ""
