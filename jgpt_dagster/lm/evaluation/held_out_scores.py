"""How well a model predicts the held-out documents: perplexity per token, and bits per character and per byte.

Perplexities of models with different tokenizers cannot be compared; bits per character and per byte can, because they
count the unsegmented text, not tokens. Beside the model's stand the bits that a unigram and a bigram model need for the
same tokens, and how far the figure would move with other documents of the same kind.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.data.validation_data import held_out_order
from jgpt_dagster.lm.evaluation.ngram_baselines import count_baselines
from jgpt_dagster.lm.model.gpt2 import load_model

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

# Windows that are sorted by length together: large enough for batches of nearly equal length.
_POOL_BATCHES = 64

_RESAMPLES = 1000
_FEWEST_DOCUMENTS = 10


class EvaluationError(JgptError):
    """A model that cannot be evaluated on a training set's held-out documents."""


class Interval(NamedTuple):
    """Where a figure lies with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """What a model and the baselines made of some documents.

    `bits`, `unigram_bits` and `bigram_bits` are sums of -log2 p over their tokens, `</s>` left out. `interval` is that
    of the model's bits per character and `margin` that of the bigrams' less the model's; both are None for fewer than
    ten documents, which say nothing about others.
    """

    documents: int
    tokens: int
    characters: int
    bytes: int
    bits: float
    unigram_bits: float
    bigram_bits: float
    interval: Interval | None
    margin: Interval | None

    @property
    def perplexity(self) -> float:
        """2 to the bits per token."""
        return 2.0 ** (self.bits / self.tokens)

    @property
    def bits_per_character(self) -> float:
        """Bits per character of the unsegmented, normalised text."""
        return self.bits / self.characters

    @property
    def bits_per_byte(self) -> float:
        """Bits per UTF-8 byte of the unsegmented, normalised text."""
        return self.bits / self.bytes

    def to_dict(self) -> dict[str, float | None]:
        """Return counts and figures as JSON-like values."""
        low, high = self.interval or (None, None)
        least, most = self.margin or (None, None)
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
            "bigram_margin_low": least,
            "bigram_margin_high": most,
            "unigram_bits_per_character": self.unigram_bits / self.characters,
        }


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of all documents and of each corpus; `baseline_tokens` is what the baselines were counted from."""

    total: Scores
    corpora: Mapping[str, Scores]
    baseline_tokens: int

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-like values."""
        return {
            "total": self.total.to_dict(),
            "corpora": {name: scores.to_dict() for name, scores in self.corpora.items()},
            "baseline_tokens": self.baseline_tokens,
        }


def bootstrap_interval(values: np.ndarray, sizes: np.ndarray) -> Interval | None:
    """Return the percentile bootstrap interval of sum(values) / sum(sizes), a value and a size a document.

    Documents are drawn with replacement, since tokens of one document are not independent (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13). The draws are the same at every call. None for fewer than ten.
    """
    if len(values) < _FEWEST_DOCUMENTS:
        return None
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(_RESAMPLES):
        drawn = random.integers(0, len(values), len(values))
        ratios.append(values[drawn].sum() / sizes[drawn].sum())
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Interval(float(low), float(high))


class Window(NamedTuple):
    """Inputs `start … stop - 1` of a sequence, of which those from `scored` on have their predictions scored."""

    start: int
    scored: int
    stop: int


def windows(length: int, context: int) -> Iterator[Window]:
    """Cut a sequence of `length` inputs into windows of at most `context` with half of it in common.

    Every prediction is scored once, and but for those of the first window has at least half a context in front of it.
    """
    stop = min(length, context)
    yield Window(0, 0, stop)
    while stop < length:
        scored = stop
        stop = min(length, stop + context // 2)
        yield Window(stop - context, scored, stop)


def evaluate(
    model_dir: Path,
    training_set_dir: Path,
    data_root: Path,
    *,
    max_tokens: int | None = None,
    baseline_tokens: int = 100_000_000,
    batch: int = 8,
    device: str = "cpu",
) -> EvaluationResult:
    """Score held-out documents with a saved model: all, or as many as make up `max_tokens` tokens, in hash order.

    A document is read after a leading `</s>`, and scored without its final one. `batch` is in windows of the model's
    context; `baseline_tokens` are the training tokens that the baselines are counted from at most.
    Raises EvaluationError where the model has another vocabulary, and what opening model or data raises.
    """
    training_set = TrainingSet.open(training_set_dir)
    model = load_model(model_dir, device)
    if model.config.vocab_size != training_set.vocab_size:
        raise EvaluationError(
            f"{model_dir} has a vocabulary of {model.config.vocab_size:,}, {training_set_dir} one of "
            f"{training_set.vocab_size:,}: train the model on this training set."
        )
    documents = training_set.held_out_documents()
    order = held_out_order(training_set, documents)
    if max_tokens is not None:
        before = np.cumsum(documents["length"][order] - 1) - (documents["length"][order] - 1)
        order = order[before < max_tokens]
    files = training_set.open_tokens(data_root)
    baselines = count_baselines(training_set, files, baseline_tokens)
    sequences = [
        np.concatenate(([training_set.eos_id], tokens)).astype(np.int64)
        for tokens in _token_arrays(files, documents, order)
    ]
    columns = {
        "tokens": documents["length"][order] - 1,
        "characters": documents["characters"][order],
        "bytes": documents["bytes"][order],
        "bits": np.array(_bits(model, training_set.eos_id, sequences, batch)),
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
    )


def _scores(columns: Mapping[str, np.ndarray]) -> Scores:
    """Sum up the columns of some documents."""
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
        margin=bootstrap_interval(columns["bigram_bits"] - columns["bits"], characters),
    )


def _token_arrays(
    files: list[np.ndarray], documents: Mapping[str, np.ndarray], order: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the tokens of each document, its final `</s>` left out."""
    for index in order:
        start, length = documents["offset"][index], documents["length"][index]
        yield files[documents["shard"][index]][start : start + length - 1]


def _bits(model: "GPT2LMHeadModel", eos_id: int, sequences: list[np.ndarray], batch: int) -> list[float]:
    """Return the bits of each document, given as ids with the leading `</s>`, under the model."""
    totals = [0.0] * len(sequences)
    pieces = _pieces(sequences, model.config.n_positions)
    while pool := list(islice(pieces, batch * _POOL_BATCHES)):
        pool.sort(key=lambda piece: len(piece.tokens))
        for first in range(0, len(pool), batch):
            portion = pool[first : first + batch]
            for piece, bits in zip(portion, _window_bits(model, eos_id, portion), strict=True):
                totals[piece.document] += bits
    return totals


class _Piece(NamedTuple):
    document: int
    tokens: np.ndarray
    """Inputs and, shifted by one, targets of a window: one more than it has inputs."""
    unscored: int


def _pieces(sequences: list[np.ndarray], context: int) -> Iterator[_Piece]:
    for number, sequence in enumerate(sequences):
        for window in windows(len(sequence) - 1, context):
            yield _Piece(number, sequence[window.start : window.stop + 1], window.scored - window.start)


def _window_bits(model: "GPT2LMHeadModel", eos_id: int, pieces: list[_Piece]) -> list[float]:
    """Return the bits of the scored part of each window; shorter ones are filled up at the end, which none looks at."""
    import torch
    from torch.nn.functional import cross_entropy

    width = max(len(piece.tokens) for piece in pieces)
    rows = np.full((len(pieces), width), eos_id, dtype=np.int64)
    scored = np.zeros((len(pieces), width - 1), dtype=bool)
    for row, mask, piece in zip(rows, scored, pieces, strict=True):
        row[: len(piece.tokens)] = piece.tokens
        mask[piece.unscored : len(piece.tokens) - 1] = True
    with torch.inference_mode():
        tokens = torch.from_numpy(rows).to(model.device)
        logits = model(tokens[:, :-1], use_cache=False).logits.float()
        nats = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(len(pieces), -1)
        kept = nats.double() * torch.from_numpy(scored).to(model.device)
    return (kept.sum(dim=1) / math.log(2)).tolist()
