import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.evaluation.held_out_scores import EvaluationError, bootstrap_interval, evaluate, windows
from jgpt_dagster.lm.model.presets import model_config
from jgpt_dagster_tests.support.training_runs import EOS, VOCABULARY, small_training_set


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("root")
    small_training_set(path)
    return path


def saved_model(directory: Path, context: int = 32, vocabulary: int = VOCABULARY, scale: float = 1.0) -> Path:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(model_config("tiny", vocabulary, bos_id=1, eos_id=EOS, context=context))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    model.save_pretrained(directory)
    return directory


@given(length=st.integers(1, 300), context=st.integers(2, 64))
def test_windows_score_each_prediction_once_with_half_a_context_before_it(length: int, context: int) -> None:
    scored = []
    for window in windows(length, context):
        assert 0 <= window.start <= window.scored < window.stop <= length
        assert window.stop - window.start <= context
        assert window.start == 0 or window.scored - window.start >= context // 2
        scored += range(window.scored, window.stop)
    assert scored == list(range(length))


def test_a_model_without_a_clue_needs_the_logarithm_of_its_vocabulary_for_each_token(
    root: Path, tmp_path: Path
) -> None:
    result = evaluate(saved_model(tmp_path, scale=0.0), root / "training_set", root)
    documents = TrainingSet.open(root / "training_set").counts.validation_documents
    total = result.total
    assert (total.documents, total.tokens, total.characters) == (documents, 60 * documents, 120 * documents)
    assert total.bits == pytest.approx(math.log2(VOCABULARY) * total.tokens, rel=1e-6)
    assert total.perplexity == pytest.approx(VOCABULARY, rel=1e-5)
    assert total.bits_per_character == pytest.approx(math.log2(VOCABULARY) / 2, rel=1e-6)
    assert total.bits_per_byte == pytest.approx(math.log2(VOCABULARY) / 6, rel=1e-6)
    assert result.corpora == {"wikipedia": total}


def test_bits_are_those_of_each_token_after_the_end_of_another_document(root: Path, tmp_path: Path) -> None:
    directory = saved_model(tmp_path, context=64, scale=4.0)
    training_set = TrainingSet.open(root / "training_set")
    tokens = training_set.open_tokens(root)[0]
    model = GPT2LMHeadModel.from_pretrained(directory).eval()
    expected = 0.0
    for offset, length in zip(*(training_set.held_out_documents()[name] for name in ("offset", "length")), strict=True):
        document = torch.tensor([EOS, *tokens[offset : offset + length - 1].tolist()])
        with torch.no_grad():
            chances = model(document[None, :-1]).logits[0].double().log_softmax(-1)
        expected -= chances.gather(1, document[1:, None]).sum().item() / math.log(2)
    for batch in (1, 3):
        result = evaluate(directory, root / "training_set", root, batch=batch)
        assert result.total.bits == pytest.approx(expected, rel=1e-5)


def test_a_limit_takes_the_same_first_documents_each_time(root: Path, tmp_path: Path) -> None:
    model = saved_model(tmp_path)
    some, more = (evaluate(model, root / "training_set", root, max_tokens=limit).total for limit in (61, 121))
    assert (some.documents, more.documents) == (2, 3)
    assert evaluate(model, root / "training_set", root, max_tokens=61).total == some


def test_a_model_with_another_vocabulary_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="vocabulary of 99"):
        evaluate(saved_model(tmp_path, vocabulary=99), root / "training_set", root)


def test_the_interval_covers_the_figure_narrows_with_more_documents_and_is_none_for_a_few() -> None:
    random = np.random.default_rng(1)
    sizes = random.integers(100, 1000, 2000)
    values = sizes * random.normal(4.0, 0.5, 2000)
    wide, narrow = bootstrap_interval(values[:50], sizes[:50]), bootstrap_interval(values, sizes)
    assert wide is not None and narrow is not None
    assert narrow.low < values.sum() / sizes.sum() < narrow.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3
    assert bootstrap_interval(values, sizes) == narrow
    assert bootstrap_interval(values[:9], sizes[:9]) is None
