"""The corpus as a library: clean wikitext, split and segment text, read a dump. Import it as `jgpt_dagster.corpus`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

from jgpt_dagster.corpus.fetch.decompress import BZ2_MAGIC, DamagedFileError, bz2_chunks
from jgpt_dagster.corpus.rejected_rows import RejectedRows
from jgpt_dagster.corpus.segmenters import Segmenter, open_segmenter
from jgpt_dagster.corpus.text.segment import SPACE_SYMBOL, segment_documents, split_document
from jgpt_dagster.corpus.text_profile import TextProfile, require_profile
from jgpt_dagster.corpus.wikipedia.articles import PageCounts, read_articles
from jgpt_dagster.corpus.wikipedia.page_xml import parse_siteinfo
from jgpt_dagster.corpus.wikipedia.siteinfo import SiteInfo
from jgpt_dagster.corpus.wikitext import article_cleaner

JAPANESE_WIKIPEDIA = SiteInfo(
    dbname="jawiki",
    base="https://ja.wikipedia.org/wiki/",
    namespaces={0: "", 6: "ファイル", 10: "Template", 14: "Category"},
)
"""What cleaning needs to know of the wiki that wikitext is of, for the Japanese Wikipedia."""


@dataclass(frozen=True)
class Article:
    """An article of a dump: its ids, its title, and its cleaned lines without the title."""

    page_id: int
    revision_id: int
    title: str
    lines: list[str]

    @property
    def text(self) -> str:
        """The lines as one string, each ending in a line feed."""
        return "".join(f"{line}\n" for line in self.lines)


def clean_wikitext(
    text: str, *, title: str = "", profile: TextProfile = "clean", site: SiteInfo = JAPANESE_WIKIPEDIA
) -> list[str]:
    """Return the lines of readable text in the wikitext of an article, none of them empty.

    `title` matters to templates that show the name of the page. Raises `wikitext.WikitextError` for a page that
    exceeds fixed limits of nesting and work.

    >>> clean_wikitext("'''富士山'''は[[静岡県]]と[[山梨県]]にまたがる山。<ref>地図</ref>", title="富士山")
    ['富士山は静岡県と山梨県にまたがる山。']
    """
    require_profile(profile)
    return article_cleaner(profile, site)(1, 1, title or "無題", require_text(text))[1:]


def sentences(text: str | Iterable[str], *, profile: TextProfile = "clean") -> list[str]:
    """Return the sentences of a text, or of its lines, normalised as a corpus is.

    >>> sentences("今日は晴れ。明日は雨だ。")
    ['今日は晴れ。', '明日は雨だ。']
    """
    require_profile(profile)
    found = chain.from_iterable(split_document(_lines(text), profile))
    return [sentence.replace(SPACE_SYMBOL, " ") for sentence in found] if profile == "clean" else list(found)


def segment(
    text: str | Iterable[str], *, segmenter: str | Segmenter = "mecab", profile: TextProfile = "clean"
) -> list[list[str]]:
    """Return the words of each sentence of a text, or of its lines. A string is a document, not a list of characters.

    `segmenter` is the name of an engine, or an open one, which is faster for many texts. A half-width space of the text
    stands at the start of the word after it as U+2581. Raises SegmenterError if the engine is not installed.

    >>> segment("富士山に登る。")
    [['富士', '山', 'に', '登る', '。']]
    """
    require_profile(profile)
    with ExitStack() as engines:
        engine = engines.enter_context(open_segmenter(segmenter)) if isinstance(segmenter, str) else segmenter
        (document,) = segment_documents([_lines(text)], profile, engine)
    return [sentence.split(" ") for line in document for sentence in line]


def read_dump(
    path: str | PathLike[str], *, profile: TextProfile = "clean", rejected: RejectedRows | None = None
) -> Iterator[Article]:
    """Yield the articles of a dump (`…-pages-articles-multistream.xml.bz2`), in its order, one at a time in memory.

    Redirects and pages of other namespaces are passed over; `rejected`, such as a list, receives a row with the reason
    for each article that cannot be read. Templates of the dump itself are not expanded, which matters under `seed`.
    Raises DamagedFileError and PageXmlError.
    """
    require_profile(profile)
    dump = Path(path)
    with open(dump, "rb") as file:
        if file.read(len(BZ2_MAGIC)) != BZ2_MAGIC:
            raise DamagedFileError(f"{dump} is no bz2 file. A dump is read as it was downloaded, compressed.")
    site = parse_siteinfo(bz2_chunks(dump), str(dump))
    clean = article_cleaner(profile, site)
    rows: Any = read_articles(
        bz2_chunks(dump), clean, PageCounts(), [] if rejected is None else rejected, source=str(dump)
    )
    for page_id, revision_id, title, lines in rows:
        yield Article(page_id, revision_id, title, lines[1:])


def join_words(words: Sequence[str]) -> str:
    """Return the text of the words of a sentence, as `segment` returns them under `clean`.

    >>> join_words(["New", "▁York", "に", "行く"])
    'New Yorkに行く'
    """
    return "".join(words).replace(SPACE_SYMBOL, " ")


def require_text(text: str) -> str:
    """Return a text as it is given. Raises TypeError for what is no `str`, before anything deep inside does."""
    if not isinstance(text, str):
        raise TypeError(f"expected a text as str, got {type(text).__name__}")
    return text


def _lines(text: str | Iterable[str]) -> list[str]:
    if isinstance(text, str):
        return text.splitlines()
    if isinstance(text, bytes | bytearray) or not isinstance(text, Iterable):
        raise TypeError(f"expected a text as str, or its lines, got {type(text).__name__}")
    return [require_text(line) for line in text]
