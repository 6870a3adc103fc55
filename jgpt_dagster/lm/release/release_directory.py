"""A release: the directory that `AutoModelForCausalLM` and `AutoTokenizer` open offline, with its model card."""

import json
import shutil
from pathlib import Path
from typing import Any

from jgpt_dagster.charts.drawing import LARGE
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.release.gguf_file import GGUF, check_gguf, write_gguf
from jgpt_dagster.lm.release.model_card import LOSS_CURVE
from jgpt_dagster.lm.release.release_tokenizer import PAD_ID, release_tokenizer, release_tokenizer_config
from jgpt_dagster.lm.tokenizer.text_tokenizer import SEGMENTATION, TOKENIZER, TOKENIZER_CONFIG, load_tokenizer
from jgpt_dagster.lm.training.metrics_files import METRICS, read_metrics
from jgpt_dagster.lm.training.training_charts import loss_chart
from jgpt_dagster.storage.atomic_write import write_json

CARD = "README.md"

_MODEL_CONFIG, _GENERATION_CONFIG = "config.json", "generation_config.json"
_MODEL_FILES = ("model.safetensors", _MODEL_CONFIG, _GENERATION_CONFIG)
_TOKENIZER_FILES = (TOKENIZER, TOKENIZER_CONFIG, SEGMENTATION)

# The defaults of `jgpt generate`.
_SAMPLING = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 0}


OPTIONAL_FILES = (GGUF,)
"""Files that not every release has: a tokenizer that encodes words has no GGUF."""


class ReleaseError(JgptError):
    """A model and a tokenizer that do not make a release."""


def write_release(directory: Path, model_dir: Path, tokenizer_dir: Path, card: str, run: Path, name: str) -> None:
    """Fill an empty directory with a model, its tokenizer, a model card and the loss curve of a training run.

    Model and tokenizer are completed for programs that do not know this package; weights and ids are the same. `run`
    has the metrics of the run, `name` is that of the model. A tokenizer that encodes text goes into a GGUF too.

    Raises ReleaseError if a file is missing, or if the tokenizer and the model differ in their number of tokens, and
    GgufError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for source, names in ((model_dir, _MODEL_FILES), (tokenizer_dir, _TOKENIZER_FILES)):
        for name in names:
            if not (source / name).is_file():
                raise ReleaseError(f"{source / name} is missing: materialize pretrained_model and tokenizer again")
            shutil.copyfile(source / name, directory / name)
    _require_same_vocabulary(directory)
    _complete_for_transformers(directory)
    _draw_loss(directory, run)
    if load_tokenizer(directory).encodes == "text":
        write_gguf(directory / GGUF, directory, directory, name)
    (directory / CARD).write_text(card, encoding="utf-8")


def check_release(directory: Path) -> None:
    """Raise GgufError if a release of a tokenizer that encodes text has no GGUF with this tokenizer."""
    if load_tokenizer(directory).encodes == "text":
        check_gguf(directory / GGUF, directory)


def _require_same_vocabulary(directory: Path) -> None:
    tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])}
    embeddings = json.loads((directory / "config.json").read_text())["vocab_size"]
    if len(ids) != embeddings:
        raise ReleaseError(
            f"the tokenizer has {len(ids):,} tokens, the model's vocabulary {embeddings:,}: they do not belong "
            "together. Materialize the tokens, training_set and pretrained_model again."
        )


def _complete_for_transformers(directory: Path) -> None:
    """Give tokenizer and model what programs need that do not know this package: see `release_tokenizer`."""
    trained = (directory / TOKENIZER).read_text(encoding="utf-8")
    (directory / TOKENIZER).write_text(release_tokenizer(trained), encoding="utf-8")
    model = _read(directory / _MODEL_CONFIG)
    context, end = model["n_positions"], model["eos_token_id"]
    tokens = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": PAD_ID}
    write_json(directory / _MODEL_CONFIG, {**model, **tokens})
    # Without a length of their own, pipelines ask for more tokens than a small context has.
    generation = {**_SAMPLING, **tokens, "max_length": context}
    write_json(directory / _GENERATION_CONFIG, {**_read(directory / _GENERATION_CONFIG), **generation})
    config = _read(directory / TOKENIZER_CONFIG)
    write_json(directory / TOKENIZER_CONFIG, release_tokenizer_config(config, context))


def _draw_loss(directory: Path, run: Path) -> None:
    draw = loss_chart(read_metrics(run))
    if draw is None:
        raise ReleaseError(f"{run / METRICS} holds no loss curve: restore it, or train the model again")
    (directory / LOSS_CURVE).write_text(draw(size=LARGE), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
