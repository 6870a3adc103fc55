"""The visible text of the inline templates of the Japanese Wikipedia.

A page contains only the call of a template, and most calls (notes, boxes, navigation) show nothing that belongs in
running text. The templates listed here are part of sentences: `{{仮リンク|地理情報|en|Geoinformation}}` reads 地理情報.
Those that show nothing are in `invisible_templates`. A template in neither list becomes a placeholder, since a sentence
may lack a word without it. To add one, list its name with the renderer that shows the same argument.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from jgpt_dagster.corpus.left_out.account import Account
from jgpt_dagster.corpus.left_out.figures import Kind
from jgpt_dagster.corpus.wikitext.country_codes import country_name
from jgpt_dagster.corpus.wikitext.invisible_templates import is_invisible_block, is_invisible_inline
from jgpt_dagster.corpus.wikitext.language_names import language_name, short_language_name
from jgpt_dagster.corpus.wikitext.numbers_and_dates import (
    conversion,
    date,
    era_year,
    fraction,
    group_thousands,
    quantity,
)
from jgpt_dagster.corpus.wikitext.placeholders import (
    DISPLAYED_FORMULA,
    DROPPED_BLOCK,
    DROPPED_INLINE,
    HOLE_SOURCES,
    MISSING_VALUE,
    PAGE_TITLE,
    PRIVATE_CHARACTER,
    UNKNOWN_TEMPLATE,
    escape_literal,
)
from jgpt_dagster.corpus.wikitext.template_arguments import Arguments, numbered, parse_arguments, positional, value
from jgpt_dagster.corpus.wikitext.template_rules import TemplateRules, template_name

Renderer = Callable[[Arguments], str]


def _argument(*names: str) -> Renderer:
    return lambda arguments: value(arguments, *names)


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n\n".join(["", *texts, ""])


def _block(*positions: str, lines: bool = False) -> Renderer:
    """Return a renderer of the named text of a block, text1 and text2 … as well, or of the first of `positions`.

    With `lines`, each line end is a line break.
    """

    def show(arguments: Arguments) -> str:
        text = _paragraphs(numbered(arguments, *_TEXT_NAMES) or [value(arguments, *positions)])
        return text.replace("\n", "\n\n") if lines else text

    return show


# How templates name the argument that holds a text or list.
_TEXT_NAMES = ("text", "quote", "content", "contents", "文章", "本文", "引用文", "内容")
_LIST_NAMES = (*_TEXT_NAMES, "", "col", "column", "list", "item", "列", "項目")
_WIDTH = re.compile(r"\s*[0-9.]+ ?(?:em|px|%|列|段|cols?)?\s*")


def _items(arguments: Arguments) -> str:
    """Render the columns or items of a box, each of which may hold a list, but not their number or width."""
    return _paragraphs(text for text in numbered(arguments, *_LIST_NAMES) if not _WIDTH.fullmatch(text))


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


def _labelled(arguments: Arguments) -> str:
    """Render the code of a language and a text as フランス語: mot."""
    label, text = value(arguments, "言語記事名", "label") or language_name(value(arguments, "1")), value(arguments, "2")
    return f"{label}: {text}" if label and text else text


def _numbered_formula(arguments: Arguments) -> str:
    return f"\n:{DISPLAYED_FORMULA}{value(arguments, '2')}{DISPLAYED_FORMULA}\n"


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


def _possible_text(arguments: Arguments) -> str:
    """Render an unlisted template: a placeholder if it may show a word, nothing for a box of several lines.

    One without arguments may stand for a word; one with named arguments only is a note, unless they name a text.
    """
    texts = numbered(arguments, "", *_TEXT_NAMES)
    if texts:
        return UNKNOWN_TEMPLATE if not any("\n" in text.rstrip() for text in texts) else ""
    return "" if arguments else UNKNOWN_TEMPLATE


_TEMPLATES: dict[Renderer, str] = {
    # Names in lower case, with "_" for a blank.
    _argument("label", "表示", "1"): "仮リンク ill ill2 link-interwiki 日本語版にない記事リンク",
    _argument("text", "1"): "行内引用 citation_needed_span",
    _argument("1"): (
        "ipa ipa2 ipalink ipa音 unicode jis2004フォント jis90フォント jis2000フォント 補助漢字フォント 拡張漢字 "
        "cp932フォント nowrap 改行禁止 inline-block small smaller big larger large u 下線 取消線 取り消し線 "
        "打ち消し線 strike s 強調 旧字体 old-shinjitai 補助漢字 第3水準漢字 第4水準漢字 ilq abbr 略語 tooltip "
        "ツールチップ key キー kbd keyboard mono code tt samp var math mvar mathbf mathbb mathcal visible_anchor "
        "vanchor nobr bold em underline overline 高線 by by2 mlby 拼音 ピン音 下げ核 au iast polytonic nastaliq "
        "簡体字 繁体字 smallcaps 縦書き pdflink grc"
    ),
    _argument("text", "2", "1"): "font",
    _argument("文章", "1"): "傍点 圏点",
    _argument("2", "1"): "sname snamei w resize ラテン翻字 sort",
    _argument("3", "2"): "transl 翻字 interlang font_color fontcolor colors",
    _argument("2", "text"): (
        "lang lang2 rtl-lang script fontsize font_size color colour 色 背景色 bgcolor background_color legend2 legend0 "
        " フォントサイズ wikt-lang audio-ipa audio"
    ),
    _block("1"): (
        "quotation quotation2 quote quote2 quote_frame cquote blockquote bquote squote quote_box quotebox 引用文 引用 "
        "bq indent 字下げ center 中央 right 右寄せ pull_quote epigraph "
        "block_indent blockindent"
    ),
    _block("1", lines=True): "poemquote poem 詩 歌詞 verse",
    _block("2"): "rquote legend",
    _with_reading: (
        "読み仮名 読み仮名_ruby不使用 読み仮名ruby不使用 ルビ ruby ruby-ja ruby-zh-p ruby-zh-b ふりがな 振り仮名 "
        "furigana"
    ),
    lambda arguments: group_thousands(value(arguments, "1")): "formatnum nts",
    partial(_citation, "{} ({})"): "harvtxt harvcoltxt",
    partial(_citation, "({} {})"): "harv harvp harvcol",
    _language_label: "langwithname rtl-langwithname",
    _labelled: "llang langx lang-*",
    lambda arguments: language_name(value(arguments, "1")): "言語名 iso639言語名 iso_639_name_ja",
    partial(_chinese, ""): "zh",
    partial(_chinese, "中国語: "): "lang-zh",
    _vietnamese: "vie",
    conversion: "convert cvt",
    quantity: "val",
    fraction: "frac sfrac 分数",
    era_year: "和暦",
    date: "年月日",
    _country: "flag flag2 flagcountry flagu 国旗 fb fbw",
    _numbered_formula: "numblk 数式番号",
    _joined(""): "sic ママ 原文ママ not_a_typo typo chem chem2 化学式 linktext gaps 語中改行",
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
    lambda arguments: MISSING_VALUE: "age age_in_days age_in_years as_of 享年 年数 周年 to_usd",
    _items: (
        "bulleted_list unbulleted_list unordered_list ordered_list numbered_list 番号付きリスト 箇条書き ubl olist "
        "plainlist flatlist plain_list flat_list definition_list 定義リスト ul no_col_break hidden 折り畳み 折りたたみ "
        "collapsible_list blist "
        "col-list columns-list"
    ),
}
# What a template without arguments stands for: words, signs with a meaning in wikitext, and the parts of a table.
_CONSTANTS = {
    **{"!": "|", "!!": "||", "!-": "|-", "(!": "{|", "!)": "|}", "end": "|}", "=": "="},
    **{name: escape_literal(name[-1]) for name in ("'", ":", ";", "#", "@", "&", "<", ">", "~")},
    **{"(": escape_literal("{"), ")": escape_literal("}"), "((": escape_literal("{{"), "))": escape_literal("}}")},
    **{"!(": escape_literal("["), ")!": escape_literal("]"), "!((": escape_literal("[["), "))!": escape_literal("]]")},
    **dict.fromkeys(["'s"], escape_literal("'s")),
    **dict.fromkeys(["·", "•", "・", "dot"], "・"),
    **dict.fromkeys(["ndash", "–", "en dash"], "–"),
    **dict.fromkeys(["mdash", "—", "em dash"], "—"),
    **dict.fromkeys(["snd", "spnd", "spaced ndash", "spaced en dash"], " – "),
    **dict.fromkeys(["minus", "−"], "−"),
    **dict.fromkeys(["π", "pi"], "π"),
    **dict.fromkeys(["times", "×"], "×"),
    **dict.fromkeys(["±", "plus-minus"], "±"),
    **dict.fromkeys(["prime", "′"], "′"),
    **dict.fromkeys(
        ["sp", "space", "spaces", "nbsp", "スペース", "pad", "gap", "thinsp", "hairsp", "ensp", "emsp"], " "
    ),
    **dict.fromkeys(["br", "改行", "crlf", "crlf2"], "\n\n"),
    **{"tex": "TeX", "latex": "LaTeX", "c++": "C++", "c sharp": "C#", "csharp": "C#", "f sharp": "F#"},
    **{"♂": "♂", "♀": "♀", "♯": "♯", "♭": "♭", "♮": "♮", "♪": "♪", "♥": "♥", "yen": "¥"},
    # The value of these is computed when the page is read.
    **dict.fromkeys(["今日", "現在年", "今年"], MISSING_VALUE),
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
    """Render `{{lang-fr|mot}}` as フランス語: mot and `{{lang-fr-short|mot}}` as 仏: mot.

    A text in Latin letters, `{{lang-grc-Latn|philosophía}}`, is a transliteration without a label.
    """
    code = name.normalized.removeprefix("lang-")
    if code.startswith("*"):  # {{lang-*-Latn|grc|philosophía}}
        return _argument("2")
    if code.endswith("-latn"):
        return _argument("1")
    label = short_language_name(code.removesuffix("-short")) if code.endswith("-short") else language_name(code)
    return _enclosed(f"{label}: " if label else "")


def _pronunciation(name: _Name) -> Renderer:
    """Render `{{ipa-fr|mo}}` as フランス語発音: [mo]."""
    language = language_name(name.normalized.removeprefix("ipa-"))
    return _enclosed(f"{language}発音: [" if language else "[", "]")


# The value of these is computed when the page is read.
_COMPUTED = ("自治体人口", "自治体面積", "#expr:", "#time:")
# Boxes whose number of columns or terms is part of the name: 表2列, dl3, 段組2.
_NUMBERED_BOX = re.compile(r"表[0-9]+列|(?:dl|col|columns?|段組み?)[0-9]*")

# Read from top to bottom: the first predicate that holds decides.
_RULES: tuple[tuple[Callable[[_Name], bool], Callable[[_Name], Renderer | str]], ...] = (
    (lambda name: country_name(name.spelled) != "", lambda name: country_name(name.spelled)),
    (lambda name: name.spelled in _PAGE_NAMES, lambda _: PAGE_TITLE),
    (lambda name: _VARIABLE.match(name.spelled) is not None, lambda _: MISSING_VALUE),
    (lambda name: name.normalized in _CONSTANTS, lambda name: _CONSTANTS[name.normalized]),
    (lambda name: name.normalized in _RENDERER_BY_NAME, lambda name: _RENDERER_BY_NAME[name.normalized]),
    (lambda name: name.normalized.startswith(_COMPUTED), lambda _: MISSING_VALUE),
    (lambda name: name.normalized.endswith("年齢"), lambda _: MISSING_VALUE),
    # Text that an editor doubts: 要出典範囲, 独自研究範囲 …
    (lambda name: name.normalized.endswith("範囲"), lambda _: _argument("範囲", "1", "text")),
    (_has_suffix("lang-"), _language),
    (_has_suffix("link-"), lambda _: _argument("label", "1")),
    (_has_suffix("ipa-"), _pronunciation),
    (lambda name: is_invisible_inline(name.normalized), lambda _: DROPPED_INLINE),
    (lambda name: is_invisible_block(name.normalized), lambda _: DROPPED_BLOCK),
    (lambda name: _NUMBERED_BOX.fullmatch(name.normalized) is not None, lambda _: _items),
    # {{fr|mot}}
    (lambda name: len(name.normalized) == 2 and language_name(name.normalized) != "", lambda _: _argument("1")),
    (lambda name: name.normalized.startswith("#"), lambda _: UNKNOWN_TEMPLATE),
    (lambda _: True, lambda _: _possible_text),
)


class _Template(NamedTuple):
    """A template by its name in reports, what it shows or how, and how it is treated."""

    name: str
    shows: Renderer | str
    kind: Kind


_KINDS: dict[Renderer | str, Kind] = {
    **{DROPPED_INLINE: "silent", DROPPED_BLOCK: "silent"},
    **{UNKNOWN_TEMPLATE: "unknown", _possible_text: "unknown"},
}


@lru_cache(maxsize=4096)
def _template(spelled: str) -> _Template:
    """Return what is known of a template, given its name as a call spells it."""
    spelled = spelled.strip()
    name = _Name(spelled, template_name(spelled))
    shows = next(factory(name) for applies, factory in _RULES if applies(name))
    return _Template(_reported_name(name.normalized), shows, _KINDS.get(shows, "shown"))


def _reported_name(normalized: str) -> str:
    """Return the name by which reports and rules know a template: `#expr:` for a function and whatever it computes."""
    function, colon, _ = normalized.partition(":")
    name = f"{function}:" if colon and function.startswith("#") else normalized
    return PRIVATE_CHARACTER.sub("", name)


def _settled(template: _Template, rules: TemplateRules) -> _Template:
    """Return what is known of a template by the rules of the root."""
    rule = rules.get(template.name)
    if rule is None:
        return template
    if rule.shows:
        return _Template(template.name, _argument(*rule.shows), "shown")
    return _Template(template.name, *((MISSING_VALUE, "shown") if rule.is_hole else (DROPPED_INLINE, "silent")))


def render(parts: Sequence[str], rules: TemplateRules, account: Account) -> str:
    """Return the visible text of a template call, given as its parts between the pipes, the name first.

    Templates and links within the parts are replaced with their text already. `rules` go before those of this module.
    """
    function, colon, first = parts[0].partition(":")
    if colon and (function_text := _FUNCTIONS.get(function.strip().lower())):
        text = function_text(first.strip())
        account.call(function, "shown", (first, *parts[1:]), text)
        return text
    template = _template(parts[0][:_NAME_LIMIT])
    if rules:
        template = _settled(template, rules)
    if not isinstance(template.shows, str):
        text = template.shows(parse_arguments(parts[1:]))
    elif template.shows == DROPPED_INLINE and len(parts) > 1:
        text = _doubted_text(parts[1:]) or DROPPED_INLINE
    else:
        text = template.shows
    account.call(template.name, template.kind, parts[1:], text)
    if text in (MISSING_VALUE, UNKNOWN_TEMPLATE):
        kind = template.kind if template.kind == "unknown" else "hole"
        text += HOLE_SOURCES[account.source(template.name, kind)]
    return text


def _doubted_text(parts: Sequence[str]) -> str:
    """Return the text that a doubt is about, which stays visible: {{要出典|範囲=主張}}."""
    return next(
        (text.strip() for name, _, text in (part.partition("=") for part in parts) if name.strip() == "範囲"), ""
    )
