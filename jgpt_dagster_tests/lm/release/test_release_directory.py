from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.lm.model.gpt2 import gpt2_config
from jgpt_dagster.lm.release.gguf_file import GGUF
from jgpt_dagster.lm.release.model_card import model_card
from jgpt_dagster.lm.release.release_directory import CARD, ReleaseError, check_release, write_release
from jgpt_dagster.lm.tokenizer.text_tokenizer import Encodes, load_tokenizer
from jgpt_dagster_tests.lm.release.random_models import new_model, save_model, save_small_tokenizer
from jgpt_dagster_tests.lm.release.test_model_card import FACTS, examples


def test_a_release_opens_offline_with_the_weights_and_ids_it_was_made_from(
    model_dir: Path, tokenizer_dir: Path, run_dir: Path, tmp_path: Path
) -> None:
    write_release(tmp_path, model_dir, tokenizer_dir, model_card(FACTS), run_dir, "")
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
    assert tokenizer(words).input_ids == [tokenizer.eos_token_id, *ids]


@pytest.fixture(scope="module", params=get_args(Encodes))
def release(request: pytest.FixtureRequest, run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a model with random weights, whose tokenizer belongs to the engine that is installed."""
    tokenizer = save_small_tokenizer(tmp_path_factory.mktemp("tokenizer"), request.param)
    record = tokenizer / "segmentation.json"
    with open_segmenter("mecab") as segmenter:
        record.write_text(
            record.read_text().replace('"fingerprint": "fingerprint"', f'"fingerprint": "{segmenter.fingerprint}"')
        )
    model = save_model(new_model(tokenizer), tmp_path_factory.mktemp("model"))
    card = model_card(replace(FACTS, encodes=request.param))
    directory = tmp_path_factory.mktemp("release")
    write_release(directory, model, tokenizer, card, run_dir, "jgpt tiny")
    return directory


def test_the_examples_of_the_model_card_run_inside_a_release(
    release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(release)
    for example, begins in zip(
        examples((release / CARD).read_text()), ("早稲田大学で", "日本で一番高い山は"), strict=True
    ):
        exec(example, {})
        assert capsys.readouterr().out.replace(" ", "").startswith(begins)


@pytest.mark.parametrize(
    "text",
    [
        "早稲田大学で",
        "これはペンです。あれは本ですか？ はい!",
        "ＮＨＫは１９２５年３月２２日に",
        "ﾃﾚﾋﾞ と ラジオ 放送",
        "New York の人口は",
        "一行目\n二行目。\n三行",
        "「はい」―――と、彼〜は（小声で）言った。",
        "𠮷野家 🍣 </s><0x0A>",
        "１９２５\u3000年  度",
    ],
)
def test_the_code_of_the_card_gives_the_very_ids_of_the_pipeline(
    release: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(release)
    with open_segmenter("mecab") as segmenter:
        (document,) = segment_documents([text.split("\n")], "clean", segmenter)
    (ids,) = tokenizer.encode_documents([document])
    # A prompt has neither the end of its line nor that of the document.
    expected = [tokenizer.eos_id, *ids[:-2].tolist()]
    code = examples((release / CARD).read_text())[1].partition("model = ")[0]
    names: dict[str, Any] = {}
    monkeypatch.chdir(release)
    exec(code.replace('"日本で一番高い山は"', repr(text)), names)
    assert names["prompt"] == expected


def test_a_tokenizer_of_text_goes_into_a_gguf_and_one_of_words_does_not(release: Path) -> None:
    assert (release / GGUF).exists() == (load_tokenizer(release).encodes == "text")
    check_release(release)


def test_a_tokenizer_and_a_model_that_do_not_belong_together_are_refused(
    model_dir: Path, tokenizer_dir: Path, run_dir: Path, tmp_path: Path
) -> None:
    model = GPT2LMHeadModel(gpt2_config("tiny", 50, bos_id=1, eos_id=2, context=8))
    with pytest.raises(ReleaseError, match="do not belong together"):
        write_release(tmp_path / "a", save_model(model, tmp_path / "model"), tokenizer_dir, "", run_dir, "")
    with pytest.raises(ReleaseError, match="is missing"):
        write_release(tmp_path / "b", tmp_path, tokenizer_dir, "", run_dir, "")
    with pytest.raises(ReleaseError, match="no loss curve"):
        write_release(tmp_path / "c", model_dir, tokenizer_dir, "", tmp_path, "")
