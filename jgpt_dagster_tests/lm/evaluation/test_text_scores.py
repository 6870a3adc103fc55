import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jgpt_dagster.lm.evaluation.text_models import CausalTextModel, open_text_model
from jgpt_dagster.lm.evaluation.text_scores import HeldOutText, TextScoreError, lost_characters, score_texts
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster_tests.lm.evaluation.foreign import TEXTS, save

HELD_OUT = [HeldOutText("wikipedia", number, text) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module", params=["gpt_neox", "llama"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("foreign"), request.param)


def test_the_bits_of_any_family_are_those_of_every_token_after_the_start(directory: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    expected = []
    for text in TEXTS[2:]:  # it fits into one window
        ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]
        with torch.no_grad():
            log_probabilities = model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
        expected.append(-log_probabilities.gather(1, torch.tensor(ids[1:])[:, None]).sum().item() / math.log(2))
    with open_text_model(directory) as opened:
        scores = score_texts(opened, HELD_OUT, window=16, batch=4)
        alone = score_texts(opened, HELD_OUT[2:], window=16, batch=1)
    assert alone.bits.tolist() == pytest.approx(expected, rel=1e-5)
    assert scores.bits[2:].tolist() == pytest.approx(expected, rel=1e-5)
    total = scores.to_dict()["total"]
    assert total["lost_characters"] == 0
    assert total["bits_per_byte"] == pytest.approx(sum(scores.bits) / sum(len(text.encode()) for text in TEXTS))
    assert total["bits_per_character"] == pytest.approx(sum(scores.bits) / sum(map(len, TEXTS)))


def test_the_name_of_a_special_token_in_a_text_is_text(tmp_path: Path) -> None:
    with open_text_model(save(tmp_path, "gpt_neox")) as opened:
        (ids,) = opened.encoder.encode(["今<|endoftext|>"])
        assert opened.encoder.decode(ids) == "今<|endoftext|>" and opened.start_id not in ids


def test_a_window_beyond_the_context_says_which_one_fits(directory: Path) -> None:
    with open_text_model(directory) as opened, pytest.raises(ModelError, match=r"context is 16 .* --window 16"):
        score_texts(opened, HELD_OUT, window=17, batch=4)


def test_a_text_that_does_not_come_back_is_refused_with_what_is_lost(tmp_path: Path) -> None:
    with open_text_model(save(tmp_path, "llama")) as opened:
        whole = HeldOutText("wikipedia", 9, TEXTS[0] * 40 + "龘")
        assert score_texts(opened, [whole], window=16, batch=64).losses == [("龘", 1)]
        with pytest.raises(TextScoreError, match=r"'龘' 4\.\d+%"):
            score_texts(opened, [*HELD_OUT, HeldOutText("wikipedia", 9, "龘龘龘")], window=16, batch=4)


def test_ids_that_the_model_does_not_have_are_refused(tmp_path: Path) -> None:
    with open_text_model(save(tmp_path, "gpt_neox")) as opened:

        class Larger:
            def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
                return [np.array([10_000]) for _ in texts]

            def decode(self, ids: np.ndarray) -> str:
                return "あ"

        mixed = CausalTextModel(opened.model, Larger(), opened.start_id, [], 0, opened.facts, "here")
        with pytest.raises(ModelError, match="has token 10,000, the model only"):
            score_texts(mixed, [HeldOutText("wikipedia", 0, "あ")], window=16, batch=4)


def test_lost_characters_are_counted_wherever_they_stand() -> None:
    assert lost_characters("ＡＢ猫", "AB猫") == Counter("ＡＢ")
    assert lost_characters("a b\nc", "a b c") == Counter("\n")
    # Spaces that a decoder puts between words do not stand for those of the text.
    assert lost_characters("猫 x は", "猫x は で ある") == Counter(" ")
    assert lost_characters("猫は", "猫 は") == Counter()
