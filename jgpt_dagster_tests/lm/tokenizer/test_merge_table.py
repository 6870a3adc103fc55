import json
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE

from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, train_tokenizer
from jgpt_dagster.lm.tokenizer.merge_table import Merge, closed_merges
from jgpt_dagster.lm.tokenizer.text_tokenizer import SegmentedDocument
from jgpt_dagster_tests.support.token_samples import counted_words, segmented_documents

MERGES = [("a", "b"), ("c", "d"), ("ab", "c"), ("b", "c"), ("ab", "cd"), ("bc", "d")]


def test_all_pairs_of_a_token_stand_where_its_first_one_stood() -> None:
    assert closed_merges(MERGES) == [
        *[("a", "b"), ("c", "d")],
        *[("ab", "c"), ("a", "bc")],
        ("b", "c"),
        *[("ab", "cd"), ("a", "bcd"), ("abc", "d")],
        *[("bc", "d"), ("b", "cd")],
    ]


def test_a_closed_table_is_closed() -> None:
    closed = closed_merges(MERGES)
    assert closed_merges(closed) == closed


@pytest.fixture(scope="module")
def trained() -> list[Merge]:
    tokenizer, _ = train_tokenizer(counted_words(segmented_documents(300)), "clean", TokenizerSettings(600, 1, 200))
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def best_score_first(text: str, scores: dict[str, int]) -> list[str]:
    """Encode as SentencePiece does: join the neighbours whose joined text is the best token, the leftmost if equal."""
    symbols = list(text)
    while len(symbols) > 1:
        joined = [left + right for left, right in pairwise(symbols)]
        best = min(range(len(joined)), key=lambda place: (scores.get(joined[place], len(scores)), place))
        if joined[best] not in scores:
            break
        symbols[best : best + 2] = [joined[best]]
    return symbols


@given(st.randoms(use_true_random=False))
def test_with_a_closed_table_following_merges_is_taking_the_best_token_first(
    trained: list[Merge], drawn: random.Random
) -> None:
    merges = closed_merges(trained)
    characters = sorted({character for pair in merges for part in pair for character in part})
    tokens = dict.fromkeys([*characters, *(left + right for left, right in merges)])
    tokenizer = Tokenizer(BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    scores = {token: rank for rank, token in enumerate(dict.fromkeys(left + right for left, right in merges))}
    pieces = drawn.choices(list(tokens), k=30)
    text = "".join(pieces)
    assert tokenizer.encode(text).tokens == best_score_first(text, scores)


def test_closing_a_table_changes_no_line_of_real_text(web_documents: list[SegmentedDocument]) -> None:
    settings = TokenizerSettings(8000, 1, 2000)
    tokenizer, _ = train_tokenizer(counted_words(web_documents), "clean", settings)
    trained = {**json.loads(tokenizer.to_str()), "pre_tokenizer": None}
    merges = closed_merges((left, right) for left, right in trained["model"]["merges"])
    assert len(merges) > len(trained["model"]["merges"])
    closed = {**trained, "model": {**trained["model"], "merges": merges}}
    lines = ["".join(line).replace(" ", "") for document in web_documents for line in document]
    one, other = (Tokenizer.from_str(json.dumps(table)).encode_batch(lines) for table in (trained, closed))
    assert [encoding.ids for encoding in one] == [encoding.ids for encoding in other]
