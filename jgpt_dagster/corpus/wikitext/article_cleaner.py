"""The two profiles of cleaning, and their line rules.

`seed` is what the published recipe's shell lines print for an article. `clean` is what a reader sees of its running
text: that of inline templates and of lists is kept, headings and reference sections are left out, and no markup is left
over. Nothing here is about dumps.
"""

import html
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Literal

from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext.bounded_wikiextractor import BoundedExtractor, TemplateLibrary, escaped
from jgpt_dagster.corpus.wikitext.extraction_limits import WikitextError
from jgpt_dagster.corpus.wikitext.line_cleanup import LEFTOVER, tidy_lines
from jgpt_dagster.corpus.wikitext.placeholders import PRIVATE, TITLE, hide, literal
from jgpt_dagster.corpus.wikitext.template_store import no_templates
from jgpt_dagster.corpus.wikitext.wikitext_parser import hidden_namespaces, visible_text

__all__ = ["WikitextError", "article_cleaner"]

ArticleCleaner = Callable[[int, int, str, str], list[str]]


def article_cleaner(
    profile: Literal["seed", "clean"], site: SiteInfo, library: TemplateLibrary | None = None
) -> ArticleCleaner:
    """A pure function (page id, revision id, title, wikitext) -> cleaned lines, the title first, none of them empty.

    `library` holds the dump's templates, which `seed` expands; `clean` has its own idea of them and needs none. Title
    and wikitext are as an XML parser gives them. The function raises `WikitextError`, with the reason, for a page
    that cannot be cleaned within fixed bounds of nesting and work; it expects at most 2 MiB of wikitext (MediaWiki's
    $wgMaxArticleSize) and takes some seconds at worst.
    """
    if profile == "seed":
        return partial(_seed_lines, library or no_templates(site))
    hidden = hidden_namespaces([site.namespaces[number] for number in (6, 14) if number in site.namespaces])
    category = _category_line(site)
    return lambda page_id, revision_id, title, wikitext: _clean_lines(
        title, _with_end_of_foot(wikitext, category), hidden
    )


_SURROGATE = re.compile("[\ud800-\udfff]")


def _seed_lines(library: TemplateLibrary, page_id: int, revision_id: int, title: str, wikitext: str) -> list[str]:
    """The lines of `wikiextractor` 3.1's command line, `sed 's/<[^>]*>//g'` and `sed '/^$/d'`.

    The command line never parses the XML: it works on the escaped text of a page and prints its escaped title, hence
    the escaping. It prints text HTML-safe, so no `<` is left and the first sed takes the `<doc>` tags alone, which are
    not made here.
    """
    title = escaped(title)
    namespace = library.prefix.removesuffix(":")
    if title.startswith(namespace):
        raise WikitextError(f"the recipe takes a page whose title starts with '{namespace}' for a template")
    lines = BoundedExtractor(page_id, revision_id, title, library).clean_text(escaped(wikitext))
    lines = [line for line in (title, *lines) if line]
    if _SURROGATE.search("\n".join(lines)):
        raise WikitextError("a character reference to half a surrogate pair, which no UTF-8 file can hold")
    return lines


def _clean_lines(title: str, wikitext: str, hidden: frozenset[str]) -> list[str]:
    text = visible_text(_with_calls(_visible(wikitext)), hidden)
    text = "\n".join(_prose(text))
    text = LEFTOVER.sub("", _SWITCH.sub("", text))
    text = _EXTERNAL_LINK.sub(r"\1", _decoded(_untagged(text)))
    return [title, *tidy_lines(text.replace(TITLE, literal(title)))]


_CALL = re.compile(r"\((?<=[A-Za-z0-9_]\()\)")


def _with_calls(wikitext: str) -> str:
    """`wikitext` with the brackets of calls such as `main()` as literal ones, since they are empty from the first."""
    return _CALL.sub(literal("()"), wikitext)


def _category_line(site: SiteInfo) -> re.Pattern[str]:
    """Matches a line that puts a page into a category."""
    names = "|".join(map(re.escape, {"Category", "カテゴリ", site.namespaces.get(14) or "Category"}))
    return re.compile(rf"\[\[(?<=^\[\[)(?:{names}):[^\[\]\n]*\]\][ \t]*$", re.MULTILINE | re.IGNORECASE)


def _with_end_of_foot(wikitext: str, category: re.Pattern[str]) -> str:
    """`wikitext` with a mark, a heading without a name, behind its last category.

    Categories are the foot of a page and end its last section, mostly an appendix: a paragraph that somebody adds
    behind them is no part of that.
    """
    ends = [match.end() for match in category.finditer(wikitext)]
    return f"{wikitext[: ends[-1]]}\n= =\n{wikitext[ends[-1] :]}" if ends else wikitext


_APPENDIX_NAMES = """
脚注 脚註 注釈 注解 註釈 註解 註 注 注記 出典 典拠 典拠管理 参考 参考文献 参考資料 参考図書 参考書籍 参考サイト
参考リンク 文献 文献案内 推薦文献 日本語文献 書誌情報 参照 参照元 参照文献 引用元 引用文献 関連項目 関連記事 関連文献
関連資料 関連図書 関連書籍 関連サイト 関連リンク リンク 外部リンク 外部サイト 外部資料 公式サイト ギャラリー
references notes footnotes sources bibliography externallinks seealso furtherreading citations gallery
"""
_APPENDICES = frozenset(_APPENDIX_NAMES.split())
# In characters, markup included; longer titles tell of something, and would fill the cache.
_LONGEST_APPENDIX = 1000
# Beside such a name these are one (引用・参考文献), alone they may be a subject.
_PARTNERS = frozenset(["引用", "資料", "図書", "書籍", "サイト", "ウェブサイト", "webサイト", "その他"])
# 主な典拠 is where an article tells of its sources in sentences.
_KIND = re.compile(r"^(?:主な|主要な?|その他の?)(?!典拠|$)|(?:など|等|類|一覧|リスト|[（(][^（()）]*+[）)])$")
_CONJUNCTION = re.compile("[・、,/／]|および|及び|ならびに|と|and")
_MARKUP_IN_HEADING = re.compile(rf"'{{2,}}|<[^<>]*>|[\s{PRIVATE}]+")


def _heading(line: str) -> tuple[int, str] | None:
    """The level and title of a heading line (`== 歴史 ==` is level 2), else None."""
    line = line.rstrip()
    if len(line) < 3 or line[0] != "=" or line[-1] != "=":
        return None
    level = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), 6, (len(line) - 1) // 2)
    return level, line[level:-level].strip()


@lru_cache(1000)  # most sections bear one of a few titles
def _names_appendix(title: str) -> bool:
    """Whether a section of this title is about the article and not its subject: `主な参考文献・資料など（日本語）`."""
    title = _KIND.sub("", _MARKUP_IN_HEADING.sub("", title).lower())
    names = {_KIND.sub("", name) for name in _CONJUNCTION.split(title)}
    return not _APPENDICES.isdisjoint(names) and names <= _APPENDICES | _PARTNERS


def _prose(text: str) -> Iterator[str]:
    """The lines that are neither headings nor below the heading of an appendix, without list markers."""
    appendix = 0  # the level of the appendix that the line is in
    for line in text.split("\n"):
        if line.startswith("=") and (heading := _heading(line)):
            level, title = heading
            if not appendix or level <= appendix:
                appendix = level if len(title) <= _LONGEST_APPENDIX and _names_appendix(title) else 0
        elif not appendix:
            line = line.lstrip("*#:;").lstrip(" \u3000")
            if not line.startswith(("|", "!!", "{|")):  # rows of a table that is never closed
                yield line


_LINE_TAG_NAMES = """
br hr p div center blockquote poem ul ol li dl dt dd tr td th caption h1 h2 h3 h4 h5 h6 section
"""
_INLINE_TAG_NAMES = """
a abbr b bdi bdo big cite code data del dfn em font i ins kbd mark noinclude nobr onlyinclude q rb rp rt rtc ruby s samp
small span strike strong sub sup templatestyles time translate tt tvar u var wbr references nowiki ref pre table tbody
thead tfoot includeonly gallery math
"""
_LINE_TAGS = frozenset(_LINE_TAG_NAMES.split())
_TAG_NAMES = "|".join([*_LINE_TAG_NAMES.split(), *_INLINE_TAG_NAMES.split()])
_TAG = re.compile(rf"<(/?)\s*+({_TAG_NAMES})\b([^<>]*)>", re.IGNORECASE)
_ATTRIBUTES = re.compile(r"[\s/\w]*+", re.ASCII)
_RUBY_WITHOUT_BRACKETS = re.compile(r"<(?<!<rp>[（(]<)(?<!</rp><)rt(?:\s[^<>]*+)?>([^<>]*+)</rt\s*+>", re.IGNORECASE)
# 2<sup>e</sup> and 1<sup>o</sup> are ordinal numbers.
_RAISED = re.compile(r"<sup(?:\s[^<>]*+)?>\s*+((?:[-−+]|&minus;)?[0-9]++|(?![eo])[a-z])\s*+</sup\s*+>", re.IGNORECASE)


def _power(raised: re.Match[str]) -> str:
    """`^10` behind a number or a bracket, where 2<sup>10</sup> would be another number; no `^` as in m<sup>2</sup>."""
    before = raised.string[max(raised.start() - 1, 0) : raised.start()]
    return f"^{raised[1]}" if before.isdecimal() or before == ")" else raised[1]


def _untagged(text: str) -> str:
    """`text` without HTML tags, a line break where a tag makes one; `a<b かつ c>d` is no tag and stays."""
    if "<" not in text:
        return text
    text = _RAISED.sub(_power, _RUBY_WITHOUT_BRACKETS.sub(r"（\1）", text))

    def replacement(tag: re.Match[str]) -> str:
        attributes = tag[3]
        if "=" not in attributes and not _ATTRIBUTES.fullmatch(attributes):
            return tag[0]
        return "\n" if tag[2].lower() in _LINE_TAGS else ""

    for _ in range(3):  # tags within broken tags
        text = _TAG.sub(replacement, text)
    return text.replace("<", hide("<")).replace(">", hide(">"))


_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#38|#[xX]26);)++")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def _decoded(text: str) -> str:
    """`text` with its character references replaced, also those escaped twice (`&amp;nbsp;`), by literal characters."""
    if "&" not in text:
        return text
    for _ in range(2):
        text = _AMPERSAND.sub("&", text)
        text = _ENTITY.sub(lambda entity: hide(_visible(html.unescape(entity[0]))), text)
    return text


_SWITCH = re.compile(r"__(?:[A-Z]{3,30}|[ぁ-んァ-ヶー一-龠]{2,20})__")

_PROTOCOL = (
    "(?:(?:https?|ftps?|sftp|git|gopher|ircs?|mms|nntp|ssh|svn|telnet|worldwind):)?//|(?:mailto|news|tel|urn|geo):"
)
# A label holds no other link: each part of a line is read once.
_EXTERNAL_LINK = re.compile(
    rf"\[(?:{_PROTOCOL})[^\[\]<>\"\s]++[^\S\n]*+((?:[^\[\]\n]++|\[(?!{_PROTOCOL}))*+)\]", re.IGNORECASE
)

_OTHER_BLANKS = "\t\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f"
# Neither a line end nor a sign that shows: a blank of another kind, a control or format character, a mark of `marks`.
# A search for what is not among a few ranges is faster than one for these many.
_ODD = re.compile(
    "[^\n -~\u00a1-\u00ac\u00ae-\u1fff\u200c\u200d\u2010-\u2027\u2030-\u205e\u2061-\ufefe\uff00-\ufffd"
    "\U00010000-\U000fffff\U00100080-\U0010ffff]"
)


def _visible(text: str) -> str:
    """`text` without invisible characters, with a space for a blank of another kind, the ideographic one excepted."""
    return _ODD.sub(lambda odd: " " if odd[0] in _OTHER_BLANKS else "", text)
