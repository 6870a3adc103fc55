import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.lm.release import generation
from jgpt_dagster.lm.release.generation import (
    GenerationError,
    SamplingSettings,
    TextGenerator,
    prompt_text,
)
from jgpt_dagster.lm.tokenizer.text_tokenizer import TokenizerMismatchError, load_tokenizer
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster_tests.lm.release.random_models import new_model, save_model, save_small_tokenizer


def test_the_same_seed_gives_the_same_text_and_another_seed_another(model_dir: Path, tokenizer_dir: Path) -> None:
    texts = [
        TextGenerator(model_dir, tokenizer_dir).continue_encoded(
            "吾輩 は 猫", SamplingSettings(max_new_tokens=20, seed=seed)
        )
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("吾輩は猫") and "</s>" not in texts[0]


def test_generated_text_does_not_disturb_other_random_numbers(model_dir: Path, tokenizer_dir: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    TextGenerator(model_dir, tokenizer_dir).continue_encoded("", SamplingSettings(max_new_tokens=2))
    assert torch.rand(1) == expected


def test_spaces_of_the_text_survive_and_those_between_words_do_not(model_dir: Path, tokenizer_dir: Path) -> None:
    text = TextGenerator(model_dir, tokenizer_dir).continue_encoded(
        "東京 ▁York 大学", SamplingSettings(max_new_tokens=1, temperature=0)
    )
    assert text.startswith("東京 York大学")


def test_generation_stops_at_the_end_of_a_document(tokenizer_dir: Path, tmp_path: Path) -> None:
    model = new_model(tokenizer_dir)
    with torch.no_grad():
        # Every position predicts `</s>`: the last layer norm gives the vector that is that token's embedding alone.
        model.transformer.wte.weight.zero_()
        model.transformer.wte.weight[model.config.eos_token_id] = 1.0
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.fill_(1.0)
    assert (
        TextGenerator(save_model(model, tmp_path), tokenizer_dir).continue_encoded(
            "吾輩 は 猫", SamplingSettings(max_new_tokens=20)
        )
        == "吾輩は猫"
    )


def test_generation_fills_the_context_and_refuses_a_prompt_that_does(model_dir: Path, tokenizer_dir: Path) -> None:
    TextGenerator(model_dir, tokenizer_dir).continue_encoded("猫 " * 120, SamplingSettings(max_new_tokens=100))
    with pytest.raises(GenerationError, match="context is 128"):
        TextGenerator(model_dir, tokenizer_dir).continue_encoded("猫 " * 128)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", -1),
        ("top_p", 0),
        ("top_p", math.nan),
        ("top_k", -1),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_sampling_that_means_nothing_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(GenerationError, match=f"{name} is {value}; allowed: "):
        SamplingSettings(**{name: value})  # type: ignore[arg-type]


def test_next_to_no_temperature_takes_the_most_likely_token(model_dir: Path, tokenizer_dir: Path) -> None:
    generator = TextGenerator(model_dir, tokenizer_dir)
    likeliest, coldest, hottest = (
        generator.continue_encoded("猫", SamplingSettings(max_new_tokens=5, temperature=temperature))
        for temperature in (0, 1e-300, 1e300)
    )
    assert likeliest == coldest and hottest.startswith("猫")


def test_a_prompt_in_natural_text_is_segmented_as_the_corpus_was(
    model_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    with open_segmenter("mecab") as segmenter:
        fingerprint = segmenter.fingerprint
    shutil.copytree(tokenizer_dir, tmp_path / "tokenizer")
    write_json(
        tmp_path / "tokenizer" / "segmentation.json",
        {"profile": "clean", "segmenter": "mecab", "fingerprint": fingerprint},
    )
    sampling = SamplingSettings(max_new_tokens=10, seed=1)
    text = TextGenerator(model_dir, tmp_path / "tokenizer").continue_prompt("吾輩は猫である", sampling)
    assert text == TextGenerator(model_dir, tokenizer_dir).continue_encoded("吾輩 は 猫 である", sampling)


def test_a_prompt_for_a_tokenizer_of_text_is_normalised_and_not_segmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise AssertionError("a segmenter was opened")

    monkeypatch.setattr(generation, "open_segmenter", refuse)
    tokenizer_dir = save_small_tokenizer(tmp_path / "tokenizer", "text")
    model_dir = save_model(new_model(tokenizer_dir), tmp_path / "model")
    sampling = SamplingSettings(max_new_tokens=10, seed=1)
    text = TextGenerator(model_dir, tokenizer_dir).continue_prompt("吾輩は　ｶﾞ猫\r\n\n である ", sampling)
    assert text == TextGenerator(model_dir, tokenizer_dir).continue_encoded("吾輩はガ猫\nである", sampling)
    assert text.startswith("吾輩はガ猫\nである")
    assert prompt_text(load_tokenizer(tokenizer_dir), "猫\n") == "猫\n"


@pytest.mark.parametrize("prompt", ["", "吾輩は猫", "鬱と𠮷"])
def test_the_parts_of_a_text_join_to_it(tmp_path: Path, prompt: str) -> None:
    tokenizer_dir = save_small_tokenizer(tmp_path / "tokenizer", "text")
    generator = TextGenerator(save_model(new_model(tokenizer_dir), tmp_path / "model"), tokenizer_dir)
    parts: list[str] = []
    text = generator.continue_prompt(prompt, SamplingSettings(max_new_tokens=40, seed=3), parts.append)
    assert "".join(parts) == text and len(parts) > 2


def test_a_character_of_several_bytes_is_passed_on_whole(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_small_tokenizer(tmp_path, "text"))
    parts: list[str] = []
    streamer = generation._Parts(tokenizer, parts.append)
    for index in tokenizer.encode("猫鬱と\ufffd"):
        streamer.put(np.array([index]))
    streamer.end()
    assert parts == ["猫", "鬱と", "\ufffd"]


def test_a_tokenizer_of_another_segmenter_is_refused(model_dir: Path, tokenizer_dir: Path) -> None:
    with pytest.raises(TokenizerMismatchError, match="fingerprint"):
        TextGenerator(model_dir, tokenizer_dir).continue_prompt("吾輩は猫である")
