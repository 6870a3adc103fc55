"""The visible text of the inline templates of the Japanese Wikipedia.

A page contains only the call of a template, and most calls (notes, boxes, navigation) show nothing that belongs in
running text. The templates listed here are part of sentences: `{{仮リンク|地理情報|en|Geoinformation}}` reads 地理情報.
Those that show nothing are in `invisible_templates`. A template in neither list becomes a placeholder, since a sentence
may lack a word without it. To add one, list its name with the renderer that shows the same argument.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from jgpt_dagster.corpus.wikitext.country_codes import country_name
from jgpt_dagster.corpus.wikitext.invisible_templates import is_invisible
from jgpt_dagster.corpus.wikitext.language_names import LANGUAGES
from jgpt_dagster.corpus.wikitext.numbers_and_dates import (
    conversion,
    date,
    era_year,
    fraction,
    group_thousands,
    quantity,
)
from jgpt_dagster.corpus.wikitext.placeholders import MISSING_VALUE, PAGE_TITLE, UNKNOWN_TEMPLATE
from jgpt_dagster.corpus.wikitext.template_arguments import Arguments, parse_arguments, positional, value

Renderer = Callable[[Arguments], str]


def _argument(*names: str) -> Renderer:
    return lambda arguments: value(arguments, *names)


def _block_argument(*names: str) -> Renderer:
    return lambda arguments: f"\n{value(arguments, *names)}\n"


def _item_lines(arguments: Arguments) -> str:
    return "\n".join(["", *positional(arguments), ""])


def _with_reading(arguments: Arguments) -> str:
    base, *notes = positional(arguments)[:4] or [""]
    return f"{base}（{'、'.join(notes)}）" if notes else base


def _country(arguments: Arguments) -> str:
    name = value(arguments, "1")
    return country_name(name) or name


def _citation(form: str, arguments: Arguments) -> str:
    *authors, year = positional(arguments) or [""]
    return form.format("・".join(authors), year) if authors else year


def _language_label(arguments: Arguments) -> str:
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
    return lambda arguments: separator.join(positional(arguments))


def _enclosed(before: str, after: str = "") -> Renderer:
    """Return a renderer of the first argument between two texts."""
    return lambda arguments: f"{before}{text}{after}" if (text := value(arguments, "1")) else ""


def _constant(text: str) -> Renderer:
    return lambda arguments: text


def _possible_text(arguments: Arguments) -> str:
    """Render an unlisted template: a placeholder if it may show a word, nothing for a box of several lines."""
    texts = positional(arguments)
    return UNKNOWN_TEMPLATE if texts and not any("\n" in text.strip() for text in texts) else ""


_TEMPLATES: dict[Renderer, str] = {
    # Names in lower case, with "_" for a blank.
    _argument("label", "表示", "1"): "仮リンク ill ill2 link-interwiki 日本語版にない記事リンク",
    _argument("text", "1"): "行内引用 citation_needed_span",
    _argument("1"): (
        "ipa ipa2 ipalink ipa音 unicode jis2004フォント jis90フォント jis2000フォント 補助漢字フォント 拡張漢字 "
        "cp932フォント nowrap 改行禁止 inline-block small smaller big larger large center u 下線 取消線 取り消し線 "
        "打ち消し線 strike s 強調 旧字体 old-shinjitai 補助漢字 第3水準漢字 第4水準漢字 ilq abbr 略語 tooltip "
        "ツールチップ key キー kbd keyboard mono code tt samp var math mvar mathbf mathbb mathcal visible_anchor "
        "vanchor nobr bold em underline overline 高線 by by2 mlby 拼音 ピン音 下げ核 au iast polytonic nastaliq "
        "簡体字 繁体字 smallcaps 縦書き right 右寄せ pdflink " + " ".join(code for code in LANGUAGES if code != "zh")
    ),
    _argument("text", "2", "1"): "font",
    _argument("文章", "1"): "傍点 圏点",
    _argument("2", "1"): "sname snamei w resize ラテン翻字",
    _argument("3", "2"): "transl 翻字 interlang font_color fontcolor colors",
    _argument("2"): (
        "lang lang2 rtl-lang script fontsize font_size color colour 色 背景色 bgcolor background_color legend legend2 "
        "legend0 フォントサイズ wikt-lang audio-ipa audio"
    ),
    _block_argument("text", "quote", "1"): (
        "quotation quote cquote blockquote bquote squote poemquote quote_box quotebox 引用文 引用 bq indent"
    ),
    _block_argument("text", "quote", "2"): "rquote",
    _block_argument("2", "1"): "col-list columns-list",
    _with_reading: (
        "読み仮名 読み仮名_ruby不使用 読み仮名ruby不使用 ルビ ruby ruby-ja ruby-zh-p ruby-zh-b ふりがな 振り仮名 "
        "furigana"
    ),
    lambda arguments: group_thousands(value(arguments, "1")): "formatnum nts",
    partial(_citation, "{} ({})"): "harvtxt harvcoltxt",
    partial(_citation, "({} {})"): "harv harvp harvcol",
    _language_label: "langwithname rtl-langwithname",
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
    _enclosed("<sup>", "</sup>"): "sup 上付き",
    _enclosed("<sub>", "</sub>"): "sub 下付き",
    _enclosed("×10^"): "e",
    _enclosed("√"): "sqrt",
    _enclosed("/", "/"): "ipaslink",
    _enclosed("[", "]"): "ipablink interp",
    _enclosed("ISBN "): "isbn isbn2",
    _enclosed("ISSN "): "issn",
    _enclosed("US$"): "us$ usd",
    _enclosed("£"): "gbp",
    _enclosed("€"): "eur euro €",
    lambda arguments: f"/{''.join(positional(arguments))}/": "ipac-en",
    # The value of these is computed when the page is read.
    _constant(MISSING_VALUE): "age age_in_days age_in_years as_of 享年 年数 周年 今日 現在年 to_usd",
    _item_lines: "bulleted_list unbulleted_list ubl plainlist flatlist plain_list flat_list ul col no_col_break",
    _constant("|"): "!",
    _constant("="): "=",
    _constant("・"): "· • ・ dot",
    _constant("–"): "ndash – en_dash",
    _constant("—"): "mdash — em_dash",
    _constant("π"): "π pi",
    _constant(" "): "sp space spaces nbsp スペース pad gap",
    _constant("\n"): "br 改行",
}
_RENDERER_BY_NAME = {name.replace("_", " "): show for show, names in _TEMPLATES.items() for name in names.split()}

# MediaWiki functions that show their argument in another form.
_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "formatnum": group_thousands,
    "lc": str.lower,
    "uc": str.upper,
    "lcfirst": lambda text: text[:1].lower() + text[1:],
    "ucfirst": lambda text: text[:1].upper() + text[1:],
}
# An article has no subpages, so all of these are its title.
_PAGE_NAMES = frozenset(["PAGENAME", "FULLPAGENAME", "BASEPAGENAME", "SUBPAGENAME"])
# MediaWiki variables, whose value changes or is not in the dump; their names are in capitals.
_VARIABLE = re.compile("(?:CURRENT|LOCAL|NUMBEROF|PAGESIN|PAGEID|REVISION)[A-Z]*(?::|$)|[A-Z]*PAGENAMEE?(?::|$)")

# Titles have at most 255 bytes. A longer name is a parser function's, which its first letters identify.
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
    full, short = LANGUAGES.get(code.removesuffix("-short"), ("", ""))
    label = short if code.endswith("-short") else full
    return _enclosed(f"{label}: " if label else "")


def _pronunciation(name: _Name) -> Renderer:
    """Render `{{ipa-fr|mo}}` as フランス語発音: [mo]."""
    language = LANGUAGES.get(name.normalized.removeprefix("ipa-"), ("", ""))[0]
    return _enclosed(f"{language}発音: [" if language else "[", "]")


# The value of these is computed when the page is read.
_COMPUTED = ("自治体人口", "自治体面積", "#expr:", "#time:")

# Read from top to bottom: the first predicate that holds decides. None renders nothing.
_RULES: tuple[tuple[Callable[[_Name], bool], Callable[[_Name], Renderer | None]], ...] = (
    (lambda name: country_name(name.spelled) != "", lambda name: _constant(country_name(name.spelled))),
    (lambda name: name.spelled in _PAGE_NAMES, lambda _: _constant(PAGE_TITLE)),
    (lambda name: _VARIABLE.match(name.spelled) is not None, lambda _: _constant(MISSING_VALUE)),
    (lambda name: name.normalized in _RENDERER_BY_NAME, lambda name: _RENDERER_BY_NAME[name.normalized]),
    (lambda name: name.normalized.startswith(_COMPUTED), lambda _: _constant(MISSING_VALUE)),
    (lambda name: name.normalized.endswith("年齢"), lambda _: _constant(MISSING_VALUE)),
    # Text that an editor doubts: 要出典範囲, 独自研究範囲 …
    (lambda name: name.normalized.endswith("範囲"), lambda _: _argument("1")),
    (_has_suffix("lang-"), _language),
    (_has_suffix("link-"), lambda _: _argument("label", "1")),
    (_has_suffix("ipa-"), _pronunciation),
    (lambda name: is_invisible(name.normalized), lambda _: None),
    (lambda name: name.normalized.startswith("#"), lambda _: _constant(UNKNOWN_TEMPLATE)),
    (lambda _: True, lambda _: _possible_text),
)


@lru_cache(maxsize=4096)
def _renderer(spelled: str) -> Renderer | None:
    """Return what renders a template, given its name as a call spells it; None if it shows nothing."""
    spelled = spelled.strip()
    normalized = spelled.replace("_", " ").lower().removeprefix("template:").removeprefix("テンプレート:")
    name = _Name(spelled, normalized)
    return next(factory(name) for applies, factory in _RULES if applies(name))


def render(parts: Sequence[str]) -> str:
    """Return the visible text of a template call, given as its parts between the pipes, the name first.

    Templates and links within the parts are replaced with their text already.
    """
    function, colon, first = parts[0].partition(":")
    if colon and (shown := _FUNCTIONS.get(function.strip().lower())):
        return shown(first.strip())
    renderer = _renderer(parts[0][:_NAME_LIMIT])
    return renderer(parse_arguments(parts[1:])) if renderer else ""
