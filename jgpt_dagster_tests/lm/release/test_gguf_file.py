"""The GGUF of a release: what is in it, and that llama.cpp does with it what transformers does with the release."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.release.gguf_file import GGUF, GgufError, check_gguf, write_gguf
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from jgpt_dagster_tests.lm.release.random_models import new_model, save_model, save_small_tokenizer
from jgpt_dagster_tests.support.deployments import DUMP, Deployment


@pytest.fixture(scope="module")
def text_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_tokenizer(tmp_path_factory.mktemp("text"), "text")


@pytest.fixture(scope="module")
def model(text_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(new_model(text_tokenizer), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def gguf(model: Path, text_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / GGUF
    write_gguf(path, model, text_tokenizer, "jgpt tiny")
    return path


def test_the_file_has_the_weights_in_half_precision_and_the_tokens_in_their_order(
    gguf: Path, model: Path, text_tokenizer: Path
) -> None:
    reader = GGUFReader(gguf)
    weights = GPT2LMHeadModel.from_pretrained(model).state_dict()
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    expected = {
        "token_embd.weight": weights["transformer.wte.weight"],
        "position_embd.weight": weights["transformer.wpe.weight"],
        "blk.1.attn_qkv.weight": weights["transformer.h.1.attn.c_attn.weight"].T,
        "blk.0.ffn_down.weight": weights["transformer.h.0.mlp.c_proj.weight"].T,
        "blk.0.ffn_norm.bias": weights["transformer.h.0.ln_2.bias"],
        "output_norm.weight": weights["transformer.ln_f.weight"],
    }
    for name, weight in expected.items():
        assert np.array_equal(tensors[name], weight.numpy().astype(tensors[name].dtype)), name
    assert len(tensors) == len(weights) - 1, "the output layer is that of the embeddings"
    assert {str(tensor.dtype) for name, tensor in tensors.items() if name.endswith("norm.weight")} == {"float32"}
    tokenizer, tokens = load_tokenizer(text_tokenizer), reader.fields["tokenizer.ggml.tokens"].contents()
    assert [token.replace("▁", " ") for token in tokens] == [
        tokenizer.token(index) for index in range(tokenizer.vocab_size)
    ]
    settings = {name: reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("bos_token_id", "add_bos_token")}
    assert settings == {"bos_token_id": tokenizer.eos_id, "add_bos_token": True}
    check_gguf(gguf, text_tokenizer)


def test_the_same_release_gives_the_same_bytes(gguf: Path, model: Path, text_tokenizer: Path, tmp_path: Path) -> None:
    write_gguf(tmp_path / GGUF, model, text_tokenizer, "jgpt tiny")
    assert (tmp_path / GGUF).read_bytes() == gguf.read_bytes()


def test_a_file_of_another_tokenizer_or_a_damaged_one_is_told(gguf: Path, text_tokenizer: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in text_tokenizer.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = (text for text, index in vocabulary.items() if index in (3, 4))
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(GgufError, match=f"token 3 of it has the token '{first}', that of the release '{second}'"):
        check_gguf(gguf, other)
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    tokenizer["model"]["merges"].reverse()
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(GgufError, match="has the score"):
        check_gguf(gguf, other)
    with pytest.raises(GgufError, match="is missing"):
        check_gguf(tmp_path / GGUF, text_tokenizer)
    for content in (b"", b"GGUF", gguf.read_bytes()[:5_000], b"no model" * 100):
        (tmp_path / GGUF).write_bytes(content)
        with pytest.raises(GgufError, match="no whole GGUF"):
            check_gguf(tmp_path / GGUF, text_tokenizer)


def test_words_numbers_beyond_half_precision_and_foreign_vocabularies_are_refused(
    model: Path, text_tokenizer: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(GgufError, match="encodes words"):
        write_gguf(tmp_path / GGUF, model, tokenizer_dir, "")
    large: Any = new_model(text_tokenizer)
    with torch.no_grad():
        large.transformer.h[0].mlp.c_fc.weight[0, 0] = math.inf
    with pytest.raises(GgufError, match=r"c_fc\.weight holds inf"):
        write_gguf(tmp_path / GGUF, save_model(large, tmp_path / "large"), text_tokenizer, "")


# ---- llama.cpp itself, where the package llama-cpp-python is installed --------------------------------------------


@pytest.fixture(scope="module")
def llama_cpp() -> Any:
    return pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: no GGUF is run by llama.cpp")


@pytest.fixture(scope="module")
def llama(llama_cpp: Any, finished: Deployment) -> Any:
    """The released model in llama.cpp, with the logits of every token."""
    release = finished.root.directory("release", DUMP, model="tiny").path
    return llama_cpp.Llama(str(release / GGUF), n_ctx=0, logits_all=True, verbose=False, n_threads=1)


def held_out(finished: Deployment) -> list[list[int]]:
    """Return the ids of every held-out document, from `</s>` to its last line end."""
    data = TrainingSet.open(finished.root.directory("training_set", DUMP).path)
    documents, files = data.held_out_documents(), data.open_tokens(finished.data)
    places = zip(documents["shard"], documents["offset"], documents["length"], strict=True)
    return [[data.eos_id, *files[shard][start : start + length - 1].tolist()] for shard, start, length in places]


@pytest.mark.slow
def test_llama_cpp_encodes_every_held_out_document_as_transformers_does(llama: Any, finished: Deployment) -> None:
    tokenizer = load_tokenizer(finished.root.directory("release", DUMP, model="tiny").path)
    documents = held_out(finished)
    for ids in documents:
        text = tokenizer.decode(np.array(ids[1:]))
        assert llama.tokenize(text.encode(), add_bos=True, special=False) == ids
    assert len(documents) >= 10
    for text in ("", " ", "  二つ ", "</s>", "<0x0A>", "𠮷野家 🍣\n\n", "a" * 50):
        ids = [tokenizer.eos_id, *tokenizer.encode(text).tolist()]
        assert llama.tokenize(text.encode(), add_bos=True, special=False) == ids, text


@pytest.mark.slow
def test_llama_cpp_writes_and_scores_as_transformers_does(llama: Any, finished: Deployment) -> None:
    release = finished.root.directory("release", DUMP, model="tiny").path
    model = GPT2LMHeadModel.from_pretrained(release).eval()
    context, documents = model.config.n_positions, held_out(finished)
    for ids in documents[:3]:
        prompt = ids[:8]
        output = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt)),  # the `</s>` in front is no padding
            max_length=context,
            do_sample=False,
            eos_token_id=None,
        )
        llama.reset()
        written = list(prompt)
        for token in llama.generate(prompt, temp=0.0, repeat_penalty=1.0):
            written.append(token)
            if len(written) == context:
                break
        assert written == output[0].tolist()
    bits = np.zeros(2)
    for ids in documents:
        for start in range(0, len(ids), context):
            window = ids[start : start + context]
            with torch.inference_mode():
                logits = model(torch.tensor([window])).logits[0]
            llama.reset()
            llama.eval(window)
            theirs = torch.tensor(llama.scores[: len(window)])
            targets = torch.tensor(window[1:])[:, None]
            for index, scores in enumerate((logits, theirs)):
                chosen = torch.log_softmax(scores[:-1].double(), dim=1).gather(1, targets)
                bits[index] -= float(chosen.sum()) / math.log(2)
    # The characters of the documents are the same on both sides.
    assert bits[1] == pytest.approx(bits[0], rel=1e-3)
