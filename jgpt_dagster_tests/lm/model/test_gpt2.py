from pathlib import Path

import pytest
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.model.gpt2 import gpt2_config, load_model
from jgpt_dagster.lm.model.presets import PRESETS, ModelError
from jgpt_dagster_tests.support.parameters import allocated_parameters


def test_xl_is_the_published_model() -> None:
    config = gpt2_config("xl", 32_000, bos_id=1, eos_id=2)
    assert (config.n_layer, config.n_embd, config.n_head, config.n_positions) == (48, 1600, 20, 1024)
    assert allocated_parameters(config) == 1_528_400_000


def test_small_is_gpt2_with_another_vocabulary() -> None:
    assert allocated_parameters(gpt2_config("small", 50_257, bos_id=1, eos_id=2)) == 124_439_808


@pytest.mark.parametrize("name", PRESETS)
def test_every_model_has_no_dropout_tied_embeddings_and_the_ids_of_its_tokenizer(name: str) -> None:
    config = gpt2_config(name, 32_000, bos_id=1, eos_id=2)
    assert config.resid_pdrop == config.embd_pdrop == config.attn_pdrop == 0
    assert config.tie_word_embeddings
    assert (config.bos_token_id, config.eos_token_id) == (1, 2)
    assert config.n_embd % config.n_head == 0


@pytest.mark.parametrize(("given", "expected"), [(None, PRESETS["tiny"].initializer_range), (0.3, 0.3)])
def test_initial_weights_spread_as_the_preset_or_the_setting_says(given: float | None, expected: float) -> None:
    model = GPT2LMHeadModel(gpt2_config("tiny", 4000, bos_id=1, eos_id=2, initializer_range=given))
    assert model.transformer.wte.weight.std().item() == pytest.approx(expected, rel=0.01)
    assert gpt2_config("xl", 32_000, bos_id=1, eos_id=2).initializer_range == 0.02  # GPT-2's


def test_a_model_attends_through_the_fused_kernel() -> None:
    model = GPT2LMHeadModel(gpt2_config("tiny", 100, bos_id=1, eos_id=2, context=16))
    assert model.config._attn_implementation == "sdpa"
    assert model.config.n_positions == 16


def test_a_model_that_does_not_exist_is_refused_with_the_names_of_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tiny, small, medium, large, xl"):
        gpt2_config("huge", 100, bos_id=1, eos_id=2)
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_model(tmp_path)
