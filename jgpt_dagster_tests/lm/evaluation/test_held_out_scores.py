import math
from pathlib import Path

import pytest
import torch
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.evaluation.held_out_scores import EvaluationError, evaluate
from jgpt_dagster.lm.model.gpt2 import gpt2_config
from jgpt_dagster_tests.support.training_runs import EOS, VOCABULARY, small_training_set


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("root")
    small_training_set(path)
    return path


def saved_model(directory: Path, context: int = 32, vocabulary: int = VOCABULARY, scale: float = 1.0) -> Path:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(gpt2_config("tiny", vocabulary, bos_id=1, eos_id=EOS, context=context))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    model.save_pretrained(directory)
    return directory


def test_a_uniform_model_needs_the_logarithm_of_its_vocabulary_for_each_token(root: Path, tmp_path: Path) -> None:
    result = evaluate(saved_model(tmp_path, scale=0.0), root / "training_set", root)
    documents = TrainingSet.open(root / "training_set").counts.validation_documents
    total = result.total
    assert (total.documents, total.tokens, total.characters) == (documents, 60 * documents, 120 * documents)
    assert total.bits == pytest.approx(math.log2(VOCABULARY) * total.tokens, rel=1e-6)
    assert total.perplexity == pytest.approx(VOCABULARY, rel=1e-5)
    assert total.bits_per_character == pytest.approx(math.log2(VOCABULARY) / 2, rel=1e-6)
    assert total.bits_per_byte == pytest.approx(math.log2(VOCABULARY) / 6, rel=1e-6)
    assert result.corpora == {"wikipedia": total}


def test_the_bits_are_those_of_each_document_after_an_end(root: Path, tmp_path: Path) -> None:
    directory = saved_model(tmp_path, context=64, scale=4.0)
    training_set = TrainingSet.open(root / "training_set")
    tokens = training_set.open_tokens(root)[0]
    model = GPT2LMHeadModel.from_pretrained(directory).eval()
    expected = 0.0
    for offset, length in zip(*(training_set.held_out_documents()[name] for name in ("offset", "length")), strict=True):
        document = torch.tensor([EOS, *tokens[offset : offset + length - 1].tolist()])
        with torch.no_grad():
            log_probabilities = model(document[None, :-1]).logits[0].double().log_softmax(-1)
        expected -= log_probabilities.gather(1, document[1:, None]).sum().item() / math.log(2)
    for batch_size in (1, 3):
        result = evaluate(directory, root / "training_set", root, batch_size=batch_size)
        assert result.total.bits == pytest.approx(expected, rel=1e-5)


def test_a_token_limit_selects_the_same_first_documents_each_time(root: Path, tmp_path: Path) -> None:
    model = saved_model(tmp_path)
    some, more = (evaluate(model, root / "training_set", root, max_tokens=limit).total for limit in (61, 121))
    assert (some.documents, more.documents) == (2, 3)
    assert evaluate(model, root / "training_set", root, max_tokens=61).total == some


def test_a_model_with_another_vocabulary_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="vocabulary of 99"):
        evaluate(saved_model(tmp_path, vocabulary=99), root / "training_set", root)
