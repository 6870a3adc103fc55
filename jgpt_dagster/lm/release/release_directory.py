"""A release: the directory that `AutoModelForCausalLM` and `AutoTokenizer` open offline, with its model card."""

import json
import shutil
from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.release.gguf_file import GGUF, check_gguf, write_gguf
from jgpt_dagster.lm.release.loss_picture import loss_picture
from jgpt_dagster.lm.release.model_card import LOSS_CURVE
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from jgpt_dagster.lm.training.metrics_files import METRICS, read_metrics
from jgpt_dagster.storage.atomic_write import write_json

CARD = "README.md"

_MODEL_FILES = ("model.safetensors", "config.json", "generation_config.json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "segmentation.json")


OPTIONAL_FILES = (GGUF,)
"""Files that not every release has: a tokenizer that encodes words has no GGUF."""


class ReleaseError(JgptError):
    """A model and a tokenizer that do not make a release."""


def write_release(directory: Path, model_dir: Path, tokenizer_dir: Path, card: str, run: Path, name: str) -> None:
    """Fill an empty directory with a model, its tokenizer, a model card and the loss curve of a training run.

    `run` has the metrics of the run, `name` is that of the model. A tokenizer that encodes text goes into a GGUF too.

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
    _set_max_length(directory)
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


def _set_max_length(directory: Path) -> None:
    """Give the tokenizer the model's context length, so that it can warn of longer texts or truncate them."""
    context = json.loads((directory / "config.json").read_text())["n_positions"]
    path = directory / "tokenizer_config.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "model_max_length": context})


def _draw_loss(directory: Path, run: Path) -> None:
    try:
        picture = loss_picture(read_metrics(run))
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(
            f"{run / METRICS} holds no loss curve ({error}): restore it, or train the model again"
        ) from error
    (directory / LOSS_CURVE).write_text(picture, encoding="utf-8")
