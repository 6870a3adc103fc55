import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertLMHeadModel, GPT2Config, GPT2LMHeadModel

from jgpt_dagster.lm.evaluation.model_directory import (
    context_length,
    directory_fingerprint,
    open_model,
    require_model_directory,
)
from jgpt_dagster.lm.evaluation.text_models import open_text_model
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster_tests.lm.evaluation.foreign import save


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("made"), "gpt_neox")


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """A copy of a whole model, to be damaged."""
    shutil.copytree(made, tmp_path / "model")
    return tmp_path / "model"


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(directory: Path, why: str) -> None:
    with pytest.raises(ModelError, match=why) as error, open_text_model(directory):
        pass
    assert len(str(error.value).splitlines()) == 1


def test_a_whole_model_opens(model: Path) -> None:
    with open_text_model(model) as opened:
        assert opened.facts.family == "gpt_neox" and opened.facts.context == 16


def test_a_pickle_is_never_opened(model: Path, tmp_path: Path) -> None:
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(weights, model / "pytorch_model.bin")
    refused(model, r"only pytorch_model.bin: a pickle may run any code")


def test_code_of_the_directory_never_runs(model: Path, tmp_path: Path) -> None:
    (model / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    names = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    change_json(model / "config.json", auto_map=names, model_type="evil")
    change_json(model / "tokenizer_config.json", auto_map=names)
    refused(model, "its model needs code that comes with it, which is never run")
    change_json(model / "config.json", model_type="gpt_neox", attn_implementation="evil/kernel")
    with open_text_model(model):  # the library's own classes do
        pass
    assert not (tmp_path / "ran").exists()


def test_what_is_missing_or_wrong_is_named_in_one_line(model: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "is no directory")
    for name, why in (("tokenizer.json", "holds no tokenizer"), ("config.json", "config.json is missing")):
        kept = (model / name).read_bytes()
        (model / name).unlink()
        refused(model, why)
        (model / name).write_bytes(kept)
    config = (model / "config.json").read_bytes()
    for content, why in (
        (b"{", "is no JSON"),
        (b'{"model_type": "t5", "d_model": 8}', "transformers opens no model"),
        (b'{"model_type": "bart", "is_encoder_decoder": true}', "an encoder with a decoder, no causal"),
        (b'{"model_type": "nothing like it"}', "transformers opens no model"),
    ):
        (model / "config.json").write_bytes(content)
        refused(model, why)
    (model / "config.json").write_bytes(config)
    (model / "tokenizer.json").write_text("{}")
    refused(model, "transformers opens no tokenizer")
    (model / "tokenizer.json").unlink()
    (model / "spiece.model").write_bytes(b"not one")
    refused(model, "If it is a SentencePiece model: pip install sentencepiece")


def test_a_context_shorter_than_what_is_tried_opens(tmp_path: Path) -> None:
    directory = tmp_path / "short"
    GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=3, n_embd=16, n_layer=1, n_head=2)).save_pretrained(directory)
    (directory / "vocab.txt").write_text("a\n")
    assert context_length(open_model(directory, "cpu")) == 3


def test_a_choice_without_a_prompt_follows_the_token_of_the_tokenizer_as_in_lm_eval(model: Path) -> None:
    change_json(model / "generation_config.json", bos_token_id=5)
    with open_text_model(model) as opened:
        assert (opened.start_id, opened.choice_start) == (5, 0)


def test_weights_of_another_model_are_refused(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "layers.1" not in name}, model / "model.safetensors")
    refused(model, "its weights are not those of its configuration")
    (model / "model.safetensors").write_bytes(b"\xff" * 100)
    refused(model, "transformers opens no model")


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        initializer_range=1.0,
    )  # fmt: skip
    BertLMHeadModel(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\n")
    with pytest.raises(ModelError, match="depends on what follows, so it is not causal"):
        open_model(tmp_path, "cpu")


def test_the_fingerprint_is_of_what_decides_scores(model: Path) -> None:
    before = directory_fingerprint(model)
    (model / "README.md").write_text("a card")
    (model / "run.json").write_text("{}")
    assert directory_fingerprint(model) == before
    change_json(model / "generation_config.json", bos_token_id=5)
    assert directory_fingerprint(model) != before
    require_model_directory(model)
