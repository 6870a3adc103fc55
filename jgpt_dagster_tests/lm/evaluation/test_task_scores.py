import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jgpt_dagster.lm.evaluation.task_items import TaskItem
from jgpt_dagster.lm.evaluation.task_scores import TaskScores, pair_log_likelihoods, score_task, wilson_interval
from jgpt_dagster.lm.evaluation.text_models import open_text_model
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster_tests.lm.evaluation.foreign import save

PAIRS = [("", "吾輩は猫"), ("吾輩は", "猫"), ("名前は ", "まだ無い。"), ("今" * 30, "東京")]


def item(choices: tuple[str, ...], answer: int, group: str = "") -> TaskItem:
    return TaskItem("吾輩は", choices, answer, group, "", "made:1")


@pytest.mark.parametrize("family", ["gpt_neox", "llama"])
def test_a_log_likelihood_is_that_of_the_tokens_beyond_the_context(family: str, tmp_path: Path) -> None:
    directory = save(tmp_path, family)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    expected = []
    for context, continuation in PAIRS:
        text = context.rstrip()
        before = tokenizer(text).input_ids if text else [tokenizer.bos_token_id]
        whole = tokenizer(text + context[len(text) :] + continuation, add_special_tokens=bool(text)).input_ids
        ids = whole if text else [*before, *whole]
        kept = torch.tensor(ids[-17:])  # the context of the model, and one
        with torch.no_grad():
            log_probabilities = model(kept[None, :-1]).logits[0].double().log_softmax(-1)
        scores = log_probabilities.gather(1, kept[1:, None])[-(len(ids) - len(before)) :]
        expected.append(scores.sum().item())
    with open_text_model(directory) as opened:
        assert pair_log_likelihoods(opened, PAIRS, batch=2) == pytest.approx(expected, abs=1e-4)


def test_a_choice_that_is_one_token_with_its_context_has_a_probability(tmp_path: Path) -> None:
    with open_text_model(save(tmp_path, "llama")) as opened:  # unknown characters are one token together
        assert opened.encoder.encode(["a"])[0].tolist() == opened.encoder.encode(["ab"])[0].tolist() == [0]
        merged, alone = pair_log_likelihoods(opened, [("a", "b"), ("", "a")], batch=2)
        assert merged == pytest.approx(alone) and merged < 0


def test_a_choice_without_a_token_is_refused(tmp_path: Path) -> None:
    class Forgetful:
        def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
            return [np.empty(0, np.int64) for _ in texts]

        def decode(self, ids: np.ndarray) -> str:
            return ""

    with open_text_model(save(tmp_path, "gpt_neox")) as opened:
        model = replace(opened, encoder=Forgetful())
        with pytest.raises(ModelError, match="no token for '①'"):
            pair_log_likelihoods(model, [("", "①")], batch=2)
        assert model.bits([np.array([0])], 16, 4) == [0]


def test_accuracy_has_an_interval_and_the_level_of_chance(tmp_path: Path) -> None:
    with open_text_model(save(tmp_path, "gpt_neox")) as opened:
        likely = ("猫", "猫" * 10)
        scores = score_task(opened, [item(likely, 0, "a"), item(likely, 0, "a"), item(likely, 1, "b")], batch=4)
    figures = scores.to_dict()
    assert figures["accuracy"] == pytest.approx(2 / 3) and figures["chance"] == 0.5
    assert figures["groups"] == {"a": 1.0, "b": 0.0} and figures["majority"] == pytest.approx(2 / 3)
    low, high = wilson_interval(2, 3)
    assert (figures["accuracy_low"], figures["accuracy_high"]) == (low, high)
    rows = scores.item_rows()
    assert [row["choice"] for row in rows] == [0, 0, 0] and all("猫" not in str(row) for row in rows)
    assert all(math.isfinite(value) for row in rows for value in row["log_likelihoods"])


@pytest.mark.parametrize(
    ("choices", "answer", "values", "accuracy", "chance"),
    [
        (("a", "b"), 0, (-3.0, -3.0), 0.5, 0.5),  # whoever cannot tell them apart is at chance, wherever the answer is
        (("a", "b"), 1, (-3.0, -3.0 - 1e-7), 0.5, 0.5),
        (("a", "b"), 1, (-3.0, -3.001), 0.0, 0.5),
        (("a", "a", "b"), 1, (-2.0, -2.0, -3.0), 1.0, 2 / 3),  # a right choice that is there twice
        (("a", "b", "c", "d"), 2, (-1.0,) * 4, 0.25, 0.25),
        (("a", "a"), 1, (-1.0, -1.0), 1.0, 1.0),  # whoever answers is right, by chance too
    ],
)
def test_equals_share_the_point(
    choices: tuple[str, ...], answer: int, values: tuple[float, ...], accuracy: float, chance: float
) -> None:
    figures = TaskScores([item(choices, answer)], [values]).to_dict()
    assert (figures["accuracy"], figures["chance"]) == (accuracy, pytest.approx(chance))


def test_the_length_of_a_choice_is_that_without_the_delimiter() -> None:
    # By character -1 and -0.95, with the delimiter -0.11 and -0.19.
    scored = TaskItem("x", ("a", "ab"), 1, "", "", "made:1", delimiter=" " * 8)
    assert TaskScores([scored], [(-1.0, -1.9)]).to_dict()["accuracy_by_character"] == 1


def test_the_interval_of_a_proportion_is_wilsons() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
    for successes, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
