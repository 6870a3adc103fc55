"""Headings and appendices (notes, references, external links), which are dropped from an article."""

import re
from collections.abc import Iterator
from functools import lru_cache

from jgpt_dagster.corpus.left_out.account import Account
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext.placeholders import PRIVATE_RANGE

_APPENDIX_NAMES = """
脚注 脚註 注釈 注解 註釈 註解 註 注 注記 出典 典拠 典拠管理 参考 参考文献 参考資料 参考図書 参考書籍 参考サイト
参考リンク 文献 文献案内 推薦文献 日本語文献 書誌情報 参照 参照元 参照文献 引用元 引用文献 関連項目 関連記事 関連文献
関連資料 関連図書 関連書籍 関連サイト 関連リンク リンク 外部リンク 外部サイト 外部資料 公式サイト ギャラリー
references notes footnotes sources bibliography externallinks seealso furtherreading citations gallery
"""
_APPENDIX_TITLES = frozenset(_APPENDIX_NAMES.split())
# In characters, markup included. Longer headings are no appendix titles and would fill the cache.
_MAX_APPENDIX_HEADING = 1000
# Appendix titles only beside one of the above (引用・参考文献); alone they may name a subject.
_COMPANIONS = frozenset(["引用", "資料", "図書", "書籍", "サイト", "ウェブサイト", "webサイト", "その他"])
# A section 主な典拠 describes sources in sentences, so it stays.
_QUALIFIER = re.compile(r"^(?:主な|主要な?|その他の?)(?!典拠|$)|(?:など|等|類|一覧|リスト|[（(][^（()）]*+[）)])$")
_CONJUNCTION = re.compile("[・、,/／]|および|及び|ならびに|と|and")
_MARKUP_IN_HEADING = re.compile(rf"'{{2,}}|<[^<>]*>|[\s{PRIVATE_RANGE}]+")


HEADING = "="
"""In the place of a heading."""


def _heading(line: str) -> tuple[int, str] | None:
    """Return the level and title of a heading line (`== 歴史 ==` is level 2), None for any other line."""
    line = line.rstrip()
    if len(line) < 3 or line[0] != "=" or line[-1] != "=":
        return None
    level = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), 6, (len(line) - 1) // 2)
    return level, line[level:-level].strip()


@lru_cache(1000)  # few titles account for most sections
def _is_appendix(title: str) -> bool:
    """Return whether this title is an appendix's, such as `主な参考文献・資料など（日本語）`."""
    title = _QUALIFIER.sub("", _MARKUP_IN_HEADING.sub("", title).lower())
    names = {_QUALIFIER.sub("", name) for name in _CONJUNCTION.split(title)}
    return not _APPENDIX_TITLES.isdisjoint(names) and names <= _APPENDIX_TITLES | _COMPANIONS


def running_text_lines(text: str, account: Account) -> Iterator[str]:
    """Yield the lines that are not part of an appendix, with HEADING for each heading."""
    appendix = 0  # the heading level of the current appendix
    headings: list[str] = []
    appendices: list[str] = []
    for line in text.split("\n"):
        if line.startswith("=") and (heading := _heading(line)):
            level, title = heading
            if not appendix or level <= appendix:
                appendix = level if len(title) <= _MAX_APPENDIX_HEADING and _is_appendix(title) else 0
            headings.append(title)
            yield HEADING
        elif appendix:
            appendices.append(line)
        else:
            yield line
    account.drop("heading", "\n".join(headings))
    account.drop("appendix", "\n".join(appendices))


def category_pattern(site: SiteInfo) -> re.Pattern[str]:
    """Return a pattern that matches a line that puts a page into a category."""
    names = "|".join(map(re.escape, {"Category", "カテゴリ", site.namespaces.get(14) or "Category"}))
    return re.compile(rf"\[\[(?<=^\[\[)(?:{names}):[^\[\]\n]*\]\][ \t]*$", re.MULTILINE | re.IGNORECASE)


def end_sections_at_categories(wikitext: str, category: re.Pattern[str]) -> str:
    """Return `wikitext` with an empty heading after its last category.

    Categories stand at the end of a page and end its last section, usually an appendix. A paragraph added after them is
    not part of that section.
    """
    ends = [match.end() for match in category.finditer(wikitext)]
    return f"{wikitext[: ends[-1]]}\n= =\n{wikitext[ends[-1] :]}" if ends else wikitext
