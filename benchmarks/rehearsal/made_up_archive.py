"""An archive in the form of CC-100 ja, of which each document is a pure function of its number."""

import json
import lzma
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from made_up_text import TextBlocks, log_normal

_DOCUMENTS_PER_STREAM = 2_000

_MEAN_DOCUMENT, _MEDIAN_DOCUMENT, _MAX_DOCUMENT = 1_136, 500, 1 << 20
"""Bytes of text. CC-100 ja has 75 GB in 66 million documents, which gives the mean; the median is an estimate."""

_NEAR_DUPLICATES = 0.0304
"""Share of documents that are near copies of others: that of C4 in table 2 of https://arxiv.org/abs/2107.06499."""

_DISTANCE = 100_000


def archive_streams(documents: int) -> Iterator[range]:
    """Yield the numbers of the documents of each xz stream of an archive of `documents` documents."""
    for first in range(0, documents, _DOCUMENTS_PER_STREAM):
        yield range(first, min(documents, first + _DOCUMENTS_PER_STREAM))


def archive_stream(source: Path, numbers: range) -> bytes:
    """Return the xz stream of the documents of these numbers, drawn from the `paragraphs` in a JSON file."""
    paragraphs = _source_paragraphs(source)
    text = "".join(_document(paragraphs, number) + "\n" for number in numbers)
    return lzma.compress(text.encode(), preset=1)


def _document(paragraphs: TextBlocks, number: int) -> str:
    random = np.random.default_rng([2, number])
    distance = int(random.integers(1, _DISTANCE))
    if number < distance or random.random() >= _NEAR_DUPLICATES:
        return _original(paragraphs, number)
    # A near copy is another document with a paragraph of its own at its end.
    return _original(paragraphs, number - distance) + paragraphs.draw(random, 1)[0].disguised(random) + "\n"


def _original(paragraphs: TextBlocks, number: int) -> str:
    random = np.random.default_rng([3, number])
    size = log_normal(random, _MEAN_DOCUMENT, _MEDIAN_DOCUMENT, _MAX_DOCUMENT)
    return "".join(paragraph.disguised(random) + "\n" for paragraph in paragraphs.draw(random, size))


@cache
def _source_paragraphs(source: Path) -> TextBlocks:
    return TextBlocks(filter(None, json.loads(source.read_text())["paragraphs"]))
