"""How well a model predicts the held-out documents: perplexity per token, and bits per character and per byte.

Perplexities of models with different tokenizers cannot be compared; bits per character and per byte can, because they
count the unsegmented text, not tokens.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.held_out import hash_order
from jgpt_dagster.lm.model import load_model
from jgpt_dagster.lm.training_set import TrainingSet

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

# Windows that are sorted by length together: large enough for batches of nearly equal length.
_POOL_BATCHES = 64


class EvaluationError(JgptError):
    """A model that cannot be evaluated on a training set's held-out documents."""


@dataclass(frozen=True)
class Scores:
    """What a model made of some documents. `bits` is the sum of -log2 p over their tokens, `</s>` left out."""

    documents: int = 0
    tokens: int = 0
    characters: int = 0
    bytes: int = 0
    bits: float = 0.0

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

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def to_dict(self) -> dict[str, float]:
        """Return counts and figures as JSON-like values."""
        return {
            **asdict(self),
            "perplexity": self.perplexity,
            "bits_per_character": self.bits_per_character,
            "bits_per_byte": self.bits_per_byte,
        }


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of all documents and of each corpus."""

    total: Scores
    corpora: Mapping[str, Scores]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-like values."""
        return {
            "total": self.total.to_dict(),
            "corpora": {name: scores.to_dict() for name, scores in self.corpora.items()},
        }


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
    batch: int = 8,
    device: str = "cpu",
) -> EvaluationResult:
    """Score held-out documents with a saved model: all, or as many as make up `max_tokens` tokens, in hash order.

    A document is read after a leading `</s>`, and scored without its final one. `batch` is in windows of the model's
    context. Raises EvaluationError where the model has another vocabulary, and what opening model or data raises.
    """
    training_set = TrainingSet.open(training_set_dir)
    model = load_model(model_dir, device)
    if model.config.vocab_size != training_set.vocab_size:
        raise EvaluationError(
            f"{model_dir} has a vocabulary of {model.config.vocab_size:,}, {training_set_dir} one of "
            f"{training_set.vocab_size:,}: train the model on this training set."
        )
    documents = training_set.held_out_documents()
    order = hash_order(training_set, documents)
    if max_tokens is not None:
        before = np.cumsum(documents["length"][order] - 1) - (documents["length"][order] - 1)
        order = order[before < max_tokens]
    files = training_set.open_tokens(data_root)
    bits = _bits(model, training_set.eos_id, _token_arrays(files, documents, order), batch)
    corpora: dict[str, Scores] = {}
    for index, value in zip(order.tolist(), bits, strict=True):
        corpus = training_set.token_files[documents["shard"][index]].corpus
        scores = Scores(
            documents=1,
            tokens=int(documents["length"][index]) - 1,
            characters=int(documents["characters"][index]),
            bytes=int(documents["bytes"][index]),
            bits=value,
        )
        corpora[corpus] = corpora.get(corpus, Scores()) + scores
    return EvaluationResult(sum(corpora.values(), Scores()), corpora)


def _token_arrays(
    files: list[np.ndarray], documents: Mapping[str, np.ndarray], order: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the tokens of each document, its final `</s>` left out."""
    for index in order:
        start, length = documents["offset"][index], documents["length"][index]
        yield files[documents["shard"][index]][start : start + length - 1]


def _bits(model: "GPT2LMHeadModel", eos_id: int, documents: Iterator[np.ndarray], batch: int) -> list[float]:
    """Return the bits of each document under the model."""
    totals: list[float] = []
    pieces = _pieces(documents, eos_id, model.config.n_positions)
    while pool := list(islice(pieces, batch * _POOL_BATCHES)):
        totals += [0.0] * (pool[-1].document + 1 - len(totals))
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


def _pieces(documents: Iterator[np.ndarray], eos_id: int, context: int) -> Iterator[_Piece]:
    for number, tokens in enumerate(documents):
        sequence = np.concatenate(([eos_id], tokens)).astype(np.int64)
        for window in windows(len(tokens), context):
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
