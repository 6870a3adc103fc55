"""The selection of documents as one pass in source order, with all hashes in memory: what the merge must choose too.

It makes its own hashes, one document at a time. Tests compare the merge with it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from rensa import RMinHash

from jgpt_dagster.corpus.duplicates.character_ngrams import code_points, ngram_hashes
from jgpt_dagster.corpus.web.document_selection import SelectionSettings


class Choice(NamedTuple):
    """The kept documents with their kept lines, why others are dropped, and the repeated lines of kept ones."""

    kept: list[tuple[int, list[str]]]
    dropped: dict[int, tuple[str, str]]
    repeated: dict[int, list[str]]

    @property
    def reasons(self) -> Counter[str]:
        return Counter(reason for reason, _ in self.dropped.values())


def select_in_one_pass(documents: Iterable[tuple[int, Sequence[str]]], selection: SelectionSettings) -> Choice:
    choice, seen = Choice([], {}, {}), set[int]()
    for document_id, lines in documents:
        if reason := selection.drop_reason(lines):
            choice.dropped[document_id] = reason
            continue
        bands = _bands(selection, lines)
        if found := len(seen.intersection(bands)):
            choice.dropped[document_id] = ("near_duplicate", f"{found} of {len(bands)} bands seen before")
            continue
        kept, repeated, own = list[str](), list[str](), set[int]()
        for line in lines:
            value = _paragraph(selection, line)
            if value is not None and (value in seen or value in own):
                repeated.append(line)
                continue
            kept.append(line)
            if value is not None:
                own.add(value)
        characters = sum(map(len, kept))
        if repeated and characters < max(selection.minimum_characters, 1):
            detail = f"{characters} characters without the paragraphs seen before"
            choice.dropped[document_id] = ("nothing_new", detail)
            continue
        if repeated:
            choice.repeated[document_id] = repeated
        choice.kept.append((document_id, kept))
        seen.update(own, bands)
    return choice


def _bands(selection: SelectionSettings, lines: Sequence[str]) -> list[int]:
    if not selection.near_duplicates:
        return []
    bands, rows = selection.minhash_bands, selection.minhash_rows
    ngrams = ngram_hashes(code_points("\n".join(lines)), 5)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(ngrams, [0, len(ngrams)], bands * rows, 1)
    signature = np.array(matrix.to_rows()[0], "<u4").tobytes()
    width = len(signature) // bands
    return [_hash(signature[band * width : (band + 1) * width], b"band %d" % band) for band in range(bands)]


def _paragraph(selection: SelectionSettings, line: str) -> int | None:
    text = line.strip()
    long = selection.duplicate_paragraphs and len(text) >= selection.paragraph_characters
    return _hash(text.encode(), b"paragraph") if long else None


def _hash(data: bytes, kind: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8, person=kind).digest(), "big", signed=True)
