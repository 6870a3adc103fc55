from pathlib import Path

import numpy as np
import pytest

from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter
from jgpt_dagster.lm.data.span_index import (
    SUFFIXES,
    Match,
    SpanIndex,
    SpanIndexError,
    maximal_matches,
    part_ends,
    write_span_index,
)
from jgpt_dagster.lm.data.token_files import DOCUMENTS, DOCUMENTS_SCHEMA

pytest.importorskip("pydivsufsort")
EOS = 2


def token_file(directory: Path, seed: int, vocabulary: int, documents: int = 60) -> np.ndarray:
    """Write the table of a made-up token file and return its tokens; every document ends in </s>."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 40, documents)
    tokens = np.concatenate([[*draw.integers(3, 3 + vocabulary, length - 1), EOS] for length in lengths])
    columns = {name: np.zeros(documents, np.int64) for name in DOCUMENTS_SCHEMA.names}
    columns |= {"key": np.arange(documents), "offset": np.cumsum(lengths) - lengths, "length": lengths}
    with IntegerTableWriter(directory / DOCUMENTS, DOCUMENTS_SCHEMA) as table:
        table.append(columns)
    return tokens.astype("<u2")


def built(directory: Path, tokens: np.ndarray, limit: int) -> SpanIndex:
    ends = part_ends(directory, limit)
    assert sum(write_span_index(tokens, ends, directory)) == len(tokens)
    return SpanIndex.open(directory, tokens)


def occurrences(tokens: np.ndarray, query: np.ndarray) -> list[int]:
    text, wanted = tokens.tolist(), query.tolist()
    return [place for place in range(len(text)) if text[place : place + len(wanted)] == wanted]


@pytest.mark.parametrize(("seed", "vocabulary", "limit"), [(1, 2, 1 << 25), (2, 3, 100), (3, 60000, 300), (4, 1, 50)])
def test_answers_are_those_of_brute_force(tmp_path: Path, seed: int, vocabulary: int, limit: int) -> None:
    tokens = token_file(tmp_path, seed, vocabulary)
    index, draw = built(tmp_path, tokens, limit), np.random.default_rng(seed)
    assert (tmp_path / SUFFIXES).stat().st_size == 4 * len(tokens)
    for _ in range(40):
        place = int(draw.integers(0, len(tokens) - 1))
        copied = tokens[place : place + int(draw.integers(1, 12))]
        query = np.concatenate([draw.integers(3, 3 + vocabulary, 3), copied[copied != EOS], [3]]).astype(np.uint16)
        lengths = index.longest_matches(query)
        for start, length in enumerate(lengths.tolist()):
            assert not length or occurrences(tokens, query[start : start + length])
            assert start + length == len(query) or not occurrences(tokens, query[start : start + length + 1])
        for match in maximal_matches(lengths, 2):
            span = query[match.start : match.start + match.length]
            assert index.count(span) == len(occurrences(tokens, span))
            assert sorted(index.positions(span, 10_000)) == occurrences(tokens, span)
            assert len(index.positions(span, 1)) == 1


def test_what_never_occurs_is_not_found(tmp_path: Path) -> None:
    tokens = token_file(tmp_path, 5, 50)
    index = built(tmp_path, tokens, 200)
    query = np.full(5, 65_000, np.uint16)
    assert index.longest_matches(query).tolist() == [0] * 5
    assert (index.count(query), index.positions(query, 3)) == (0, [])
    assert index.longest_matches(np.empty(0, np.uint16)).tolist() == []


def test_an_empty_token_file_has_an_index(tmp_path: Path) -> None:
    with IntegerTableWriter(tmp_path / DOCUMENTS, DOCUMENTS_SCHEMA):
        pass
    index = built(tmp_path, np.empty(0, "<u2"), 10)
    assert index.longest_matches(np.array([3], np.uint16)).tolist() == [0]


def test_the_index_of_another_token_file_is_refused(tmp_path: Path) -> None:
    tokens = token_file(tmp_path, 6, 50)
    built(tmp_path, tokens, 200)
    with pytest.raises(SpanIndexError, match="is the index of another token file"):
        SpanIndex.open(tmp_path, tokens[:-1])


def test_parts_hold_whole_documents(tmp_path: Path) -> None:
    tokens = token_file(tmp_path, 7, 50)
    ends = part_ends(tmp_path, 100)
    assert ends[-1] == len(tokens) and len(ends) > 5
    assert all(tokens[end - 1] == EOS for end in ends)
    assert max(np.diff([0, *ends])) <= 100


def test_a_match_within_a_longer_one_is_left_out() -> None:
    assert maximal_matches(np.array([0, 5, 4, 3, 6, 1, 0, 2]), 2) == [Match(1, 5), Match(4, 6)]
    assert maximal_matches(np.array([3, 2, 1]), 4) == []
