"""Scores of a model on the held-out documents: perplexity per token, bits per character and bits per byte.

Perplexities of models with different tokenizers cannot be compared. Bits per character and per byte can, because they
refer to the unsegmented text. For comparison there are the bits of a unigram and a bigram model for the same tokens,
and confidence intervals over documents.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.data.validation_data import scored_order
from jgpt_dagster.lm.evaluation.bootstrap import Interval, bootstrap_interval
from jgpt_dagster.lm.evaluation.ngram_baselines import count_baselines
from jgpt_dagster.lm.evaluation.sliding_window_scores import model_bits
from jgpt_dagster.lm.model.gpt2 import load_model

UNSCORED = "unscored_documents"
"""The count of held-out documents that have copies in what is trained on, where there are any."""


class EvaluationError(JgptError):
    """A model that cannot be evaluated on a training set's held-out documents."""


@dataclass(frozen=True)
class Scores:
    """The scores of the model and the baselines on some documents.

    `bits`, `unigram_bits` and `bigram_bits` are sums of -log2 p over all tokens except `</s>`. `interval` is the
    confidence interval of the model's bits per character, and `bigram_margin` that of the bits per character by which
    the bigram model is worse. Both are None for fewer than ten documents.
    """

    documents: int
    tokens: int
    characters: int
    bytes: int
    bits: float
    unigram_bits: float
    bigram_bits: float
    interval: Interval | None
    bigram_margin: Interval | None

    @property
    def perplexity(self) -> float:
        """2 to the power of the bits per token."""
        return float(2.0 ** (self.bits / self.tokens))

    @property
    def bits_per_character(self) -> float:
        """Bits per character of the unsegmented, normalised text."""
        return self.bits / self.characters

    @property
    def bits_per_byte(self) -> float:
        """Bits per UTF-8 byte of the unsegmented, normalised text."""
        return self.bits / self.bytes

    def to_dict(self) -> dict[str, float | None]:
        """Return counts and figures by their names in `evaluation.json`."""
        low, high = self.interval or (None, None)
        margin_low, margin_high = self.bigram_margin or (None, None)
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "characters": self.characters,
            "bytes": self.bytes,
            "bits": self.bits,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
            "bits_per_character": self.bits_per_character,
            "bits_per_character_low": low,
            "bits_per_character_high": high,
            "bigram_bits_per_character": self.bigram_bits / self.characters,
            "bigram_margin_low": margin_low,
            "bigram_margin_high": margin_high,
            "unigram_bits_per_character": self.unigram_bits / self.characters,
        }


@dataclass(frozen=True)
class EvaluationResult:
    """Scores over all documents and by corpus; `baseline_tokens` training tokens were counted for the baselines.

    `unscored_documents` is the number of held-out documents that have copies in what is trained on.
    """

    total: Scores
    corpora: Mapping[str, Scores]
    baseline_tokens: int
    unscored_documents: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the contents of `evaluation.json`."""
        return {
            "total": self.total.to_dict(),
            "corpora": {name: scores.to_dict() for name, scores in self.corpora.items()},
            "baseline_tokens": self.baseline_tokens,
            **({UNSCORED: self.unscored_documents} if self.unscored_documents else {}),
        }


def evaluate(
    model_dir: Path,
    training_set_dir: Path,
    data_root: Path,
    *,
    max_tokens: int | None = None,
    baseline_tokens: int = 100_000_000,
    batch_size: int = 8,
    device: str = "cpu",
) -> EvaluationResult:
    """Score held-out documents with a saved model: all, or the first in hash order up to about `max_tokens` tokens.

    Those that have copies in what is trained on are left out.

    A document follows `</s>` and is scored without its own. `baseline_tokens` limits the training tokens that are
    counted for the baselines. `batch_size` is in windows of the model's context.

    Raises EvaluationError if the model has another vocabulary, and what opening model or data raises.
    """
    training_set = TrainingSet.open(training_set_dir)
    model = load_model(model_dir, device)
    if model.config.vocab_size != training_set.vocab_size:
        raise EvaluationError(
            f"{model_dir} has a vocabulary of {model.config.vocab_size:,}, {training_set_dir} one of "
            f"{training_set.vocab_size:,}: train the model on this training set."
        )
    documents = training_set.held_out_documents()
    order = scored_order(training_set, documents)
    if max_tokens is not None:
        lengths = documents["length"][order] - 1
        tokens_before = np.cumsum(lengths) - lengths
        order = order[tokens_before < max_tokens]
    files = training_set.open_tokens(data_root)
    baselines = count_baselines(training_set, files, baseline_tokens)
    sequences = [
        np.concatenate(([training_set.eos_id], tokens)).astype(np.int64)
        for tokens in _document_tokens(files, documents, order)
    ]
    columns = {
        "tokens": documents["length"][order] - 1,
        "characters": documents["characters"][order],
        "bytes": documents["bytes"][order],
        "bits": np.array(model_bits(model, training_set.eos_id, sequences, batch_size, model.config.n_positions)),
        "unigram_bits": np.array([baselines.unigrams.bits(sequence) for sequence in sequences]),
        "bigram_bits": np.array([baselines.bigrams.bits(sequence) for sequence in sequences]),
    }
    corpora = np.array([training_set.token_files[shard].corpus for shard in documents["shard"][order]])
    return EvaluationResult(
        _scores(columns),
        {
            str(corpus): _scores({name: column[corpora == corpus] for name, column in columns.items()})
            for corpus in np.unique(corpora)
        },
        baselines.tokens,
        training_set.counts.unscored_documents,
    )


def _scores(columns: Mapping[str, np.ndarray]) -> Scores:
    """Return the scores of documents from columns with a row per document."""
    characters = columns["characters"]
    return Scores(
        documents=len(characters),
        tokens=int(columns["tokens"].sum()),
        characters=int(characters.sum()),
        bytes=int(columns["bytes"].sum()),
        bits=math.fsum(columns["bits"]),
        unigram_bits=math.fsum(columns["unigram_bits"]),
        bigram_bits=math.fsum(columns["bigram_bits"]),
        interval=bootstrap_interval(columns["bits"], characters),
        bigram_margin=bootstrap_interval(columns["bigram_bits"] - columns["bits"], characters),
    )


def _document_tokens(
    files: list[np.ndarray], documents: Mapping[str, np.ndarray], order: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the tokens of each document without its final `</s>`."""
    for index in order:
        start, length = documents["offset"][index], documents["length"][index]
        yield files[documents["shard"][index]][start : start + length - 1]
