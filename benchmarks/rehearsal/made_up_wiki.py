"""A wiki of the size of jawiki, of which each page is a pure function of its number and the edition of the dump."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from made_up_text import TextBlocks, log_normal, made_up_word

from jgpt_dagster.sample.dump_writer import NAMESPACES, DumpStream, Page, dump_stream

_PAGES_PER_STREAM = 100

_MEAN_ARTICLE, _MEDIAN_ARTICLE = 12_500, 5_000
"""Bytes of wikitext. jawiki has 1.4 million articles and 20 GB of XML, an eighth of it other pages and the XML itself,
which gives the mean. The median and the form are estimates: lengths of articles are about log-normal."""

_MAX_ARTICLE = 2 << 20
"""`$wgMaxArticleSize` of Wikimedia's wikis, in bytes (https://www.mediawiki.org/wiki/Manual:$wgMaxArticleSize)."""

# Pages for each article, estimates from https://ja.wikipedia.org/wiki/特別:統計 and the index of 2022-05-01.
_OTHER_PAGES = {"redirect": 0.58, "Category": 0.2, "Template": 0.1, "Wikipedia": 0.08}
_CHANGED, _DELETED, _ADDED = 20, 500, 500
"""Of how many articles one is edited, deleted and added until the second edition (5 %, 0.2 %, 0.2 %)."""

# 1.46 million articles and 3 million pages have ids up to 5.1 million.
_IDS_PER_PAGE = 1.7

_BLOCKS_PER_SECTION = 5
_MAX_BLOCK = 20_000


def wiki_streams(articles: int, edition: int) -> Iterator[range]:
    """Yield the numbers of the pages of each stream of a dump. The first edition has about `articles` articles."""
    pages = round(articles * (1 + sum(_OTHER_PAGES.values())))
    pages += pages // _ADDED * (edition - 1)
    for first in range(0, pages, _PAGES_PER_STREAM):
        yield range(first, min(pages, first + _PAGES_PER_STREAM))


def wiki_stream(source: Path, edition: int, numbers: range) -> DumpStream:
    """Return the stream with the pages of these numbers in edition 1 or 2, of the `wikitext` in a JSON file."""
    return dump_stream(_pages(_source_blocks(source), numbers, edition))


def _pages(blocks: TextBlocks, numbers: range, edition: int) -> Iterator[Page]:
    for number in numbers:
        random = np.random.default_rng([1, number])
        changes = random.integers(1 << 30)
        if edition == 2 and changes % _DELETED == 1:
            continue
        page = _page(blocks, number, random)
        if edition == 2 and page.ns == 0 and not page.redirect and changes % _CHANGED == 0:
            text = f"{page.text}\n\n{blocks.draw(random, 1)[0].disguised(random)}"
            # Revisions are numbered in steps of two, so that an edit has a number of its own.
            page = replace(page, text=text, parent_id=page.revision_id, revision_id=page.revision_id + 1)
        yield page


def _page(blocks: TextBlocks, number: int, random: np.random.Generator) -> Page:
    page_id, revision_id = 1 + int(number * _IDS_PER_PAGE), 100_000_000 + 2 * number
    title = made_up_word(number)
    kinds = ["article", *_OTHER_PAGES]
    weights = np.array([1, *_OTHER_PAGES.values()])
    kind = kinds[int(np.searchsorted(weights.cumsum() / weights.sum(), random.random()))]
    if kind == "article":
        return Page(title, page_id, revision_id, _article(blocks, title, random))
    if kind == "redirect":
        return Page(title, page_id, revision_id, f"#REDIRECT [[{made_up_word(int(random.integers(number + 1)))}]]")
    namespace = next(key for key, name in NAMESPACES.items() if name == kind)
    return Page(f"{kind}:{title}", page_id, revision_id, blocks.draw(random, 1)[0].disguised(random), namespace)


def _article(blocks: TextBlocks, title: str, random: np.random.Generator) -> str:
    size = log_normal(random, _MEAN_ARTICLE, _MEDIAN_ARTICLE, _MAX_ARTICLE - 4 * _MAX_BLOCK)
    lines = [f"'''{title}'''は、日本の項目である。"]
    for number, block in enumerate(blocks.draw(random, size)):
        if number % _BLOCKS_PER_SECTION == 0 and number:
            lines.append(f"== {made_up_word(int(random.integers(100_000)))} ==")
        lines.append(block.disguised(random))
    return "\n\n".join(lines)


@cache
def _source_blocks(source: Path) -> TextBlocks:
    return TextBlocks(wikitext_blocks(json.loads(source.read_text())["wikitext"]))


def wikitext_blocks(texts: Iterable[str]) -> Iterator[str]:
    """Cut wikitext at blank lines into blocks in which as many brackets end as begin, and leave out the largest."""
    for text in texts:
        pending = ""
        for block in text.split("\n\n"):
            pending = f"{pending}\n\n{block}" if pending else block
            if all(pending.count(opening) == pending.count(end) for opening, end in ("{}", "[]", "<>")):
                if pending and len(pending.encode()) <= _MAX_BLOCK and not pending.startswith("#"):
                    yield pending
                pending = ""
