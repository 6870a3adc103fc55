"""A trained model with a real tokenizer: text generated from it, and the directory that others open."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from jgpt_dagster.lm.model.gpt2 import generation_config, gpt2_config
from jgpt_dagster.lm.release.generation import GenerationError, generate
from jgpt_dagster.lm.release.release_directory import (
    ExportError,
    ModelCardFacts,
    cc100_source,
    model_card,
    wiki_source,
    write_release,
)
from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, train_tokenizer
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer, save_tokenizer
from jgpt_dagster_tests.support.token_samples import segmented_documents

FACTS = ModelCardFacts(
    name="jgpt tiny",
    parameters=1_000_000,
    context=128,
    segmenter="mecab",
    profile="clean",
    data={"wikipedia": wiki_source("jawiki", "20250801"), "cc100": cc100_source("a1b2")},
    settings={"steps": 10},
    figures={"bits per character": 4.2},
)


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    settings = TokenizerSettings(vocab_size=400, limit_alphabet=100)
    trained = train_tokenizer(lambda: segmented_documents(50), "clean", settings, str)
    save_tokenizer(trained.tokenizer, directory, "clean", "mecab", "fingerprint")
    return directory


def new_model(tokenizer_dir: Path) -> GPT2LMHeadModel:
    tokenizer = load_tokenizer(tokenizer_dir)
    torch.manual_seed(0)
    return GPT2LMHeadModel(gpt2_config("tiny", tokenizer.vocab_size, bos_id=1, eos_id=tokenizer.eos_id, context=128))


def save_model(model: GPT2LMHeadModel, directory: Path) -> Path:
    model.save_pretrained(directory)
    generation_config(model.config.eos_token_id).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def model_dir(tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(new_model(tokenizer_dir), tmp_path_factory.mktemp("model"))


def test_the_same_seed_gives_the_same_text_and_another_seed_another(model_dir: Path, tokenizer_dir: Path) -> None:
    texts = [generate(model_dir, tokenizer_dir, "吾輩 は 猫", max_new_tokens=20, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("吾輩は猫") and "</s>" not in texts[0]


def test_generated_text_does_not_disturb_other_random_numbers(model_dir: Path, tokenizer_dir: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    generate(model_dir, tokenizer_dir, "", max_new_tokens=2)
    assert torch.rand(1) == expected


def test_spaces_of_the_text_survive_and_those_between_words_do_not(model_dir: Path, tokenizer_dir: Path) -> None:
    text = generate(model_dir, tokenizer_dir, "東京 ▁York 大学", max_new_tokens=1, temperature=0)
    assert text.startswith("東京 York大学")


def test_generation_stops_at_the_end_of_a_document(tokenizer_dir: Path, tmp_path: Path) -> None:
    model = new_model(tokenizer_dir)
    with torch.no_grad():
        # Every position predicts `</s>`: the last layer norm gives the vector that is that token's embedding alone.
        model.transformer.wte.weight.zero_()
        model.transformer.wte.weight[model.config.eos_token_id] = 1.0
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.fill_(1.0)
    assert generate(save_model(model, tmp_path), tokenizer_dir, "吾輩 は 猫", max_new_tokens=20) == "吾輩は猫"


def test_generation_fills_the_context_and_refuses_a_prompt_that_does(model_dir: Path, tokenizer_dir: Path) -> None:
    generate(model_dir, tokenizer_dir, "猫 " * 120, max_new_tokens=100)
    with pytest.raises(GenerationError, match="context is 128"):
        generate(model_dir, tokenizer_dir, "猫 " * 128)


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


def test_the_examples_for_the_other_engine_and_profile_are_programs_too() -> None:
    card = model_card(replace(FACTS, segmenter="jumanpp", profile="seed"))
    example = card.split("```python\n")[1].split("```")[0]
    compile(example, "card", "exec")
    assert "jumanpp" in example and '.replace(" ", "")' in example


def test_the_model_card_says_where_the_text_came_from_and_under_which_licence() -> None:
    card = model_card(FACTS)
    assert (
        "* wikipedia: jawiki, dump of 20250801, by the authors that https://ja.wikipedia.org/ names in the history of "
        "each page; licence of the text: [CC BY-SA 4.0]"
    ) in card
    assert "ja.txt.xz, sha256 a1b2; use of the text: [Common Crawl terms of use]" in card
    assert "| bits per character | 4.2 |" in card and "| steps | 10 |" in card
    assert card.startswith("---\nlanguage: ja\n")


@pytest.mark.parametrize(
    ("wiki", "said"),
    [
        ("jawikinews", "https://ja.wikinews.org/ names in the history of each page; licence of the text: [CC BY 4.0]"),
        (
            "jawiktionary",
            "https://ja.wiktionary.org/ names in the history of each page; licence of the text: [CC BY-SA",
        ),
        ("zh_min_nanwiki", "https://zh-min-nan.wikipedia.org/ names"),
        ("samplewiki", "samplewiki, dump of 20250801; licence of the text: see that wiki"),
    ],
)
def test_the_text_of_a_wiki_is_under_the_licence_of_that_wiki(wiki: str, said: str) -> None:
    assert said in wiki_source(wiki, "20250801")


def test_a_tokenizer_and_a_model_that_do_not_belong_together_are_no_release(
    model_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    model = GPT2LMHeadModel(gpt2_config("tiny", 50, bos_id=1, eos_id=2, context=8))
    with pytest.raises(ExportError, match="do not belong together"):
        write_release(tmp_path / "a", save_model(model, tmp_path / "model"), tokenizer_dir, "")
    with pytest.raises(ExportError, match="is missing"):
        write_release(tmp_path / "b", tmp_path, tokenizer_dir, "")
