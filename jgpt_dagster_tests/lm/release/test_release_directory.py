from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from jgpt_dagster.lm.model.gpt2 import gpt2_config
from jgpt_dagster.lm.release.model_card import model_card
from jgpt_dagster.lm.release.release_directory import ReleaseError, write_release
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from jgpt_dagster_tests.lm.release.random_models import save_model
from jgpt_dagster_tests.lm.release.test_model_card import FACTS


def test_a_release_opens_offline_with_the_weights_and_ids_it_was_made_from(
    model_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    write_release(tmp_path, model_dir, tokenizer_dir, model_card(FACTS))
    model = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    words = "東京 大学 で 2025 年"
    ids = tokenizer(words, add_special_tokens=False).input_ids
    assert ids == load_tokenizer(tokenizer_dir).encode(words).tolist()
    tokens = torch.tensor([ids])
    with torch.no_grad():
        assert torch.equal(model(tokens).logits, GPT2LMHeadModel.from_pretrained(model_dir)(tokens).logits)
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.model_max_length == model.config.n_positions
    assert tokenizer.eos_token_id == model.config.eos_token_id == model.generation_config.eos_token_id
    assert load_tokenizer(tmp_path).sha256 == load_tokenizer(tokenizer_dir).sha256


def test_the_example_of_the_model_card_runs_inside_a_release(
    model_dir: Path,
    tokenizer_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = model_card(FACTS)
    write_release(tmp_path, model_dir, tokenizer_dir, card)
    monkeypatch.chdir(tmp_path)
    exec(card.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out.startswith("日本で一番高い山は")


def test_a_tokenizer_and_a_model_that_do_not_belong_together_are_refused(
    model_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    model = GPT2LMHeadModel(gpt2_config("tiny", 50, bos_id=1, eos_id=2, context=8))
    with pytest.raises(ReleaseError, match="do not belong together"):
        write_release(tmp_path / "a", save_model(model, tmp_path / "model"), tokenizer_dir, "")
    with pytest.raises(ReleaseError, match="is missing"):
        write_release(tmp_path / "b", tmp_path, tokenizer_dir, "")
