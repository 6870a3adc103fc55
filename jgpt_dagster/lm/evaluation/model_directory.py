"""Opening a causal language model of any family from a directory that others have made.

Nothing in the directory runs: weights are safetensors, code that it may bring is never loaded, and nothing is fetched.
"""

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster.storage.hashing import sha256_file, sha256_value

_CONFIG = "config.json"
# What may hold a tokenizer, in any of the forms that transformers opens.
_TOKENIZER_FILES = ("tokenizer.json", "*.model", "vocab.json", "vocab.txt", "*.tiktoken")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
READ = ("*.safetensors", "*.json", "*.model", "*.txt", "*.tiktoken")
"""The files of a model directory that decide its scores."""

# Records of an output of this package and papers of a release, which no model is made of.
_RECORDS = ("manifest.json", "run.json", "checks.json", "provenance.json", "croissant.json", "bom.cdx.json")
# By what share of the largest one logits may differ in 32-bit arithmetic although nothing before them does.
_CAUSAL_TOLERANCE = 1e-4
# Later ones need a protobuf that the requirements of this package do not have yet.
_SENTENCEPIECE = "pip install sentencepiece==0.2.1"
# Names under which configurations of transformers give the largest number of inputs.
_CONTEXT_FIELDS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
    "n_ctx",
)


def require_model_directory(directory: Path) -> None:
    """Raise ModelError unless a directory has the files of a causal language model with a tokenizer of its own."""
    if not directory.is_dir():
        raise ModelError(f"{directory} is no directory. Give that of a model which transformers opens.")
    if not (directory / _CONFIG).is_file():
        raise ModelError(f"{directory} holds no model: {_CONFIG} is missing.")
    config = _read_json(directory / _CONFIG)
    if isinstance(config, dict) and config.get("is_encoder_decoder"):
        raise ModelError(f"{directory} holds an encoder with a decoder, no causal language model.")
    if not any(directory.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in _PICKLES for path in directory.glob(pattern))
        raise ModelError(
            f"{directory} holds no safetensors"
            + (
                f", only {', '.join(pickles[:3])}: a pickle may run any code. Convert it with "
                "`model.save_pretrained(DIRECTORY)` where you trust it."
                if pickles
                else ", so no weights."
            )
        )
    if not any(path.is_file() for pattern in _TOKENIZER_FILES for path in directory.glob(pattern)):
        raise ModelError(f"{directory} holds no tokenizer: expected one of {', '.join(_TOKENIZER_FILES)}.")


def directory_fingerprint(directory: Path) -> str:
    """Return a hash of everything in a model directory that decides its scores: weights, configuration, tokenizer."""
    paths = {path for pattern in READ for path in directory.glob(pattern) if path.is_file()}
    return fingerprint_of({path.name: sha256_file(path) for path in sorted(paths) if path.name not in _RECORDS})


def fingerprint_of(files: Mapping[str, str]) -> str:
    """Return the same hash from the sha256 of files by name; those that decide no score may be among them."""
    read = {
        name: sha256
        for name, sha256 in files.items()
        if name not in _RECORDS and any(fnmatch(name, pattern) for pattern in READ)
    }
    return sha256_value(read)


def open_model(directory: Path, device: str) -> Any:
    """Return the causal language model of a directory in 32-bit arithmetic, ready for inference.

    Raises ModelError if it is none that transformers opens without code of its own, if weights are missing or of other
    shapes than the configuration says, or if its predictions depend on later tokens.
    """
    require_model_directory(directory)
    model = _opening(directory, "model", lambda: _from_pretrained(directory)).to(device).eval()
    _require_causal(model, directory)
    return model


def open_tokenizer(directory: Path) -> Any:
    """Return the tokenizer of a directory as transformers has it. Raises ModelError."""
    from transformers import AutoTokenizer

    try:
        return _opening(
            directory,
            "tokenizer",
            lambda: AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False),
        )
    except ModelError as error:
        # What transformers says of it is that another library is missing.
        if any(directory.glob("*.model")) and not (directory / "tokenizer.json").is_file():
            raise ModelError(f"{error} If it is a SentencePiece model: {_SENTENCEPIECE}.") from error
        raise


def context_length(model: Any) -> int | None:
    """Return the largest number of inputs that a model takes, as far as its configuration limits it."""
    config = model.config.get_text_config()
    lengths = [getattr(config, name, None) for name in _CONTEXT_FIELDS]
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


def start_token(model: Any, tokenizer: Any, directory: Path) -> int:
    """Return the token that a text follows: that which generation begins with, else the first or last of a document.

    Raises ModelError if the model has none of them.
    """
    generation = getattr(model, "generation_config", None)
    candidates = [
        getattr(source, name, None)
        for name in ("bos_token_id", "eos_token_id")
        for source in (generation, tokenizer, model.config)
    ]
    for candidate in candidates:
        index = candidate[0] if isinstance(candidate, list) and candidate else candidate
        if isinstance(index, int) and 0 <= index < embeddings(model):
            return index
    raise ModelError(
        f"{directory} names no token that a text begins or ends with, so its first token has no probability. Give "
        "bos_token_id in generation_config.json."
    )


def choice_start(model: Any, tokenizer: Any, start: int) -> int:
    """Return the token that a choice without a prompt follows in lm-evaluation-harness, or `start` if there is none."""
    candidates = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((index for index in candidates if index is not None and index < embeddings(model)), start)


def embeddings(model: Any) -> int:
    """Return the number of token ids that a model takes."""
    return int(model.get_input_embeddings().weight.shape[0])


def _from_pretrained(directory: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    disable_progress_bar: Callable[[], None] = logging.disable_progress_bar  # untyped
    disable_progress_bar()
    options = {
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "dtype": torch.float32,
        "output_loading_info": True,
    }
    # Named here, since the one that a configuration names may be code on a hub.
    open_with: Callable[..., Any] = AutoModelForCausalLM.from_pretrained
    try:
        model, loaded = open_with(directory, attn_implementation="sdpa", **options)
    except ValueError as error:
        if "attention" not in str(error):
            raise
        model, loaded = open_with(directory, attn_implementation="eager", **options)
    wrong = [*loaded["missing_keys"], *(str(key) for key in loaded["mismatched_keys"])]
    if wrong:
        raise ValueError(f"its weights are not those of its configuration: {', '.join(sorted(wrong)[:3])}")
    return model


def _opening(directory: Path, what: str, open_it: Callable[[], Any]) -> Any:
    try:
        return open_it()
    except Exception as error:  # whatever a library makes of what others have written
        if isinstance(error, MemoryError):
            raise
        if "trust_remote_code" in str(error):
            raise ModelError(f"{directory}: its {what} needs code that comes with it, which is never run.") from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ModelError(
            f"{directory}: transformers opens no {what} for causal language modelling: {reason}"
        ) from error


def _require_causal(model: Any, directory: Path) -> None:
    """Raise ModelError if a prediction changes with what follows: scores of such a model are no probabilities."""
    import torch

    size = embeddings(model)
    length = min(6, context_length(model) or 6)
    tokens = torch.arange(length, device=model.device)[None] * 7 % size
    other = tokens.clone()
    other[0, -1] = (int(tokens[0, -1]) + 1) % size
    with torch.inference_mode():
        before, after = (model(ids, use_cache=False).logits[0, :-1].float() for ids in (tokens, other))
    if not torch.isfinite(before).all():
        raise ModelError(f"{directory}: the model's predictions are not finite.")
    if (before - after).abs().max() > _CAUSAL_TOLERANCE * before.abs().max().clamp(min=1):
        raise ModelError(
            f"{directory}: the model's prediction of a token depends on what follows, so it is not causal."
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
