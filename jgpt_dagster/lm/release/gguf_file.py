"""A release as one file for llama.cpp: the model in half precision, and a tokenizer that encodes text.

llama.cpp's tokenizer of SentencePiece's type joins the neighbours whose joined text is the token with the best score.
Scores in the order of a closed merge table (see `merge_table`) therefore give the ids of `tokenizer.json`. It knows no
segmenter: a tokenizer that encodes words has no GGUF.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

from jgpt_dagster.corpus.text.segment import SPACE_SYMBOL
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.gpt2 import WEIGHTS
from jgpt_dagster.lm.release.release_tokenizer import PAD_ID
from jgpt_dagster.lm.tokenizer.text_tokenizer import END, UNKNOWN, load_tokenizer

GGUF = "model.gguf"
LIBRARY = "gguf"
"""The distribution that writes the file, for recipes."""

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_ARCHITECTURE = "gpt2"
_MOSTLY_F16 = 1
_LARGEST_F16 = 65_504.0
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6

_BYTE_TOKEN = re.compile("<0x[0-9A-F]{2}>")

_OUTER = {
    "transformer.wte.weight": "token_embd.weight",
    "transformer.wpe.weight": "position_embd.weight",
    "transformer.ln_f.weight": "output_norm.weight",
    "transformer.ln_f.bias": "output_norm.bias",
}
_INNER = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


class GgufError(JgptError):
    """A model or tokenizer that has no GGUF, or a GGUF that is damaged or of another tokenizer."""


class _Vocabulary(NamedTuple):
    """The tokens in the order of their ids, as llama.cpp spells them, with their scores and types."""

    tokens: list[str]
    scores: list[float]
    types: list[int]


def write_gguf(path: Path, model_dir: Path, tokenizer_dir: Path, name: str) -> None:
    """Write the model as a GGUF file, one tensor in memory at a time.

    Matrices are float16; vectors and positions, of which llama.cpp wants it, float32. The output layer is that of the
    embeddings, as in the model.

    Raises GgufError if the tokenizer encodes words, or if a weight does not fit into float16, and TokenizerError.
    """
    from gguf import GGUFWriter
    from safetensors import safe_open

    vocabulary = _vocabulary(tokenizer_dir)
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    if len(vocabulary.tokens) != config["vocab_size"]:
        raise GgufError(
            f"{tokenizer_dir} has {len(vocabulary.tokens):,} tokens, {model_dir} a vocabulary of "
            f"{config['vocab_size']:,}: they do not belong together"
        )
    writer = GGUFWriter(path, _ARCHITECTURE)
    _add_settings(writer, config, name)
    _add_vocabulary(writer, vocabulary)
    with safe_open(model_dir / WEIGHTS, framework="pt") as weights:
        names = _tensor_names(config["n_layer"])
        for source, target in names.items():
            shape = _stored_shape(source, weights.get_slice(source).get_shape())
            dtype = _dtype(source, shape)
            writer.add_tensor_info(target, shape, dtype, math.prod(shape) * dtype.itemsize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for source in names:
            writer.write_tensor_data(_stored(source, weights.get_tensor(source)))
    writer.close()


def check_gguf(path: Path, tokenizer_dir: Path) -> None:
    """Raise GgufError unless a GGUF file has the tokenizer of a directory: tokens in their order, types and scores."""
    from gguf import GGUFReader

    keys = {"tokens": "tokens", "scores": "scores", "types": "token_type"}
    try:
        fields = GGUFReader(path).fields
        found = {name: fields[f"tokenizer.ggml.{key}"].contents() for name, key in keys.items()}
    except FileNotFoundError as error:
        raise GgufError(f"{path} is missing. Materialize the release again.") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise GgufError(
            f"{path} is no whole GGUF file with a tokenizer ({error!r}). Make the release again."
        ) from error
    expected = _vocabulary(tokenizer_dir)
    for name, values in found.items():
        wanted = getattr(expected, name)
        if values != wanted:
            place = next(
                (index for index, pair in enumerate(zip(values, wanted, strict=False)) if pair[0] != pair[1]), -1
            )
            difference = (
                f"it has {len(values):,} tokens, the release {len(wanted):,}"
                if place < 0
                else f"token {place} of it has the {name[:-1]} {values[place]!r}, that of the release {wanted[place]!r}"
            )
            raise GgufError(
                f"{path} is of another tokenizer than {tokenizer_dir}: {difference}. Make the release again."
            )


def _vocabulary(tokenizer_dir: Path) -> _Vocabulary:
    """Return the vocabulary of a tokenizer that encodes text. Raises GgufError if it encodes words."""
    if load_tokenizer(tokenizer_dir).encodes != "text":
        raise GgufError(
            f"{tokenizer_dir} encodes words, which llama.cpp cannot cut text into. Train a model with a tokenizer of "
            "`encodes: text` for a GGUF."
        )
    content = json.loads((tokenizer_dir / "tokenizer.json").read_text(encoding="utf-8"))
    model, added = content["model"], {token["content"]: token for token in content["added_tokens"]}
    ids = {**model["vocab"], **{text: token["id"] for text, token in added.items()}}
    order = dict[str, int]()
    for left, right in model["merges"]:
        order.setdefault(left + right, len(order))
    texts = sorted(ids, key=ids.__getitem__)
    spelled = [text if text in added else text.replace(" ", SPACE_SYMBOL) for text in texts]
    if len({*spelled}) < len(spelled) or [ids[text] for text in texts] != [*range(len(texts))]:
        raise GgufError(f"{tokenizer_dir} has tokens that differ only in the kind of a space, or ids without a token")
    types = [_type(text, added.get(text)) for text in texts]
    return _Vocabulary(spelled, [float(-order[text] - 1) if text in order else 0.0 for text in texts], types)


def _type(text: str, added: Mapping[str, Any] | None) -> int:
    if text == UNKNOWN:
        return _UNKNOWN
    if added is not None:
        return _CONTROL if added["special"] else _USER_DEFINED
    return _BYTE if _BYTE_TOKEN.fullmatch(text) else _NORMAL


def _add_settings(writer: "GGUFWriter", config: Mapping[str, Any], name: str) -> None:
    writer.add_name(name)
    writer.add_file_type(_MOSTLY_F16)
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config["n_inner"] or 4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def _add_vocabulary(writer: "GGUFWriter", vocabulary: _Vocabulary) -> None:
    end = vocabulary.tokens.index(END)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    # In training a document follows the `</s>` of another.
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(PAD_ID)
    writer.add_unk_token_id(vocabulary.tokens.index(UNKNOWN))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_remove_extra_whitespaces(False)


def _tensor_names(layers: int) -> dict[str, str]:
    """Return the tensors of a model with the names that llama.cpp gives them, in the order of the file."""
    inner = {
        f"transformer.h.{layer}.{source}.{kind}": f"blk.{layer}.{target}.{kind}"
        for layer in range(layers)
        for source, target in _INNER.items()
        for kind in ("weight", "bias")
    }
    return {**_OUTER, **inner}


def _transposed(source: str) -> bool:
    """Return whether transformers stores a matrix input first (`Conv1D`), which llama.cpp stores output first."""
    return ".h." in source and source.endswith(".weight") and ".ln_" not in source


def _stored_shape(source: str, shape: list[int]) -> tuple[int, ...]:
    return tuple(reversed(shape)) if _transposed(source) else tuple(shape)


def _dtype(source: str, shape: tuple[int, ...]) -> "np.dtype[Any]":
    import numpy as np

    return np.dtype(np.float32 if len(shape) == 1 or ".wpe." in source else np.float16)


def _stored(source: str, tensor: Any) -> "np.ndarray":
    """Return a tensor of PyTorch as it is stored. Raises GgufError if a value is no number, or no float16."""
    array: np.ndarray = tensor.float().numpy()
    dtype = _dtype(source, array.shape)
    largest = float(abs(array).max())
    if not largest <= (_LARGEST_F16 if dtype.itemsize == 2 else math.inf):
        raise GgufError(f"{source} holds {largest}, which no float16 is: the model has no GGUF")
    array = array.astype(dtype)
    return array.T.copy() if _transposed(source) else array
