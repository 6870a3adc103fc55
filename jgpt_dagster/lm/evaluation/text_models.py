"""Models that take raw text: of any family with a tokenizer of its own, of this package, and n-grams.

All are asked in the same way: a text follows one start token, is cut into windows by the same rule, and every token of
it is scored once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.segmenters.base import Segmenter
from jgpt_dagster.corpus.text.normalize import normalizer
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.lm.evaluation.model_directory import (
    choice_start,
    context_length,
    embeddings,
    open_model,
    open_tokenizer,
    require_model_directory,
    start_token,
)
from jgpt_dagster.lm.evaluation.ngram_baselines import Baselines, Bigrams, Unigrams
from jgpt_dagster.lm.evaluation.sliding_window_scores import continuation_bits, model_bits
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster.lm.tokenizer.text_tokenizer import LINE_END, TextTokenizer, encoder_text, load_tokenizer

_SEGMENTATION = "segmentation.json"


@dataclass(frozen=True)
class ModelFacts:
    """What a table says of a model. `parameters` and `context` are None where there is no such number."""

    family: str
    parameters: int | None
    vocabulary: int
    context: int | None


class TextEncoder(Protocol):
    """A tokenizer as scores see it: raw text to ids without special tokens, and back."""

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids (int64) of each text."""

    def decode(self, ids: np.ndarray) -> str:
        """Return the text that ids stand for; what they do not stand for is left out."""


class TextModel(Protocol):
    """A model with its tokenizer."""

    @property
    def facts(self) -> ModelFacts:
        """What a table says of the model."""

    @property
    def encoder(self) -> TextEncoder:
        """The tokenizer."""

    @property
    def start_id(self) -> int:
        """The token that a text follows."""

    @property
    def prompt_prefix(self) -> Sequence[int]:
        """What the tokenizer puts before a prompt, if anything."""

    @property
    def choice_start(self) -> int:
        """The token that a choice without a prompt follows."""

    def bits(self, sequences: Sequence[np.ndarray], window: int, batch: int) -> list[float]:
        """Return the sum of -log2 p over all tokens of each sequence except the first, `batch` windows at once."""

    def continuation_bits(
        self, sequences: Sequence[np.ndarray], continuations: Sequence[int], window: int, batch: int
    ) -> list[float]:
        """Return the same over the last tokens of each sequence, as many as `continuations` says."""


class WordsEncoder:
    """The tokenizer of this package for `words`: it segments text as its corpus was, normalization included."""

    def __init__(self, tokenizer: TextTokenizer, segmenter: Segmenter) -> None:
        self._tokenizer, self._segmenter = tokenizer, segmenter

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids (int64) of each text. A text that does not end in a line feed continues its last line."""
        lines = [text.removesuffix("\n").split("\n") for text in texts]
        documents = segment_documents(lines, self._tokenizer.profile, self._segmenter)
        return [
            self._tokenizer.encode(words if text.endswith("\n") else words.removesuffix(LINE_END)).astype(np.int64)
            for text, document in zip(texts, documents, strict=True)
            for words in [encoder_text(document, self._tokenizer.profile)]
        ]

    def decode(self, ids: np.ndarray) -> str:
        """Return the text that ids stand for."""
        return self._tokenizer.decode(ids)


class NormalizedTextEncoder:
    """The tokenizer of this package for `text`: it normalizes text as its corpus was."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer, self._normalize = tokenizer, normalizer(tokenizer.profile)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids (int64) of each text. A text that does not end in a line feed continues its last line."""
        lines = ([self._normalize(line) for line in text.split(LINE_END)] for text in texts)
        return [
            self._tokenizer.encode(LINE_END.join([*filter(None, kept), last])).astype(np.int64) for *kept, last in lines
        ]

    def decode(self, ids: np.ndarray) -> str:
        """Return the text that ids stand for."""
        return self._tokenizer.decode(ids)


class TransformersEncoder:
    """Any tokenizer that transformers opens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids (int64) of each text; the name of a special token in it is text."""
        if not texts:
            return []
        encoded = self._tokenizer(
            list(texts), add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False
        )
        return [np.array(ids, dtype=np.int64) for ids in encoded["input_ids"]]

    @property
    def prompt_prefix(self) -> list[int]:
        """What the tokenizer puts before a text by default, such as `<s>`."""
        ids, bare = (self._tokenizer(".", add_special_tokens=special).input_ids for special in (True, False))
        starts = (start for start in range(len(ids)) if ids[start : start + len(bare)] == bare)
        return list(ids[: next(starts, 0)])

    def decode(self, ids: np.ndarray) -> str:
        """Return the text that ids stand for, without unknown tokens."""
        known = ids[ids != self._tokenizer.unk_token_id] if self._tokenizer.unk_token_id is not None else ids
        return str(self._tokenizer.decode(known.tolist(), clean_up_tokenization_spaces=False))


@dataclass(frozen=True)
class CausalTextModel:
    """A causal language model of transformers."""

    model: Any
    encoder: TextEncoder
    start_id: int
    prompt_prefix: Sequence[int]
    choice_start: int
    facts: ModelFacts
    label: str

    def bits(self, sequences: Sequence[np.ndarray], window: int, batch: int) -> list[float]:
        """Return the sum of -log2 p over all tokens of each sequence except the first, `batch` windows at once.

        Raises ModelError for a window beyond the model's context, and for a token that the model does not have.
        """
        self._require(sequences, window)
        return model_bits(self.model, self.start_id, sequences, batch, window)

    def continuation_bits(
        self, sequences: Sequence[np.ndarray], continuations: Sequence[int], window: int, batch: int
    ) -> list[float]:
        """Return the same over the last tokens of each sequence, as many as `continuations` says."""
        self._require(sequences, window)
        return continuation_bits(self.model, self.start_id, sequences, continuations, batch, window)

    def _require(self, sequences: Sequence[np.ndarray], window: int) -> None:
        require_window(self.facts, window, self.label)
        largest = max((int(tokens.max()) for tokens in sequences if len(tokens)), default=0)
        if largest >= (known := embeddings(self.model)):
            raise ModelError(
                f"{self.label}: the tokenizer has token {largest:,}, the model only {known:,} tokens: they do not "
                "belong together."
            )


@dataclass(frozen=True)
class NgramTextModel:
    """A unigram or bigram model of the training documents, over tokens of their tokenizer."""

    ngrams: Unigrams | Bigrams
    encoder: TextEncoder
    start_id: int
    facts: ModelFacts

    @property
    def prompt_prefix(self) -> Sequence[int]:
        """A prompt begins as a document does."""
        return [self.start_id]

    @property
    def choice_start(self) -> int:
        """So does a choice without a prompt."""
        return self.start_id

    def bits(self, sequences: Sequence[np.ndarray], window: int, batch: int) -> list[float]:
        """Return the sum of -log2 p over all tokens of each sequence except the first."""
        return [self.ngrams.bits(tokens) for tokens in sequences]

    def continuation_bits(
        self, sequences: Sequence[np.ndarray], continuations: Sequence[int], window: int, batch: int
    ) -> list[float]:
        """Return the same over the last tokens of each sequence, as many as `continuations` says."""
        pairs = zip(sequences, continuations, strict=True)
        return [self.ngrams.bits(tokens[len(tokens) - 1 - count :]) for tokens, count in pairs]


@contextmanager
def open_text_model(directory: Path, device: str = "cpu") -> Iterator[CausalTextModel]:
    """Open a model directory, of this package or of others. Raises ModelError.

    A tokenizer of this package that encodes words segments by itself; raises TokenizerMismatchError if its engine is
    another one.
    """
    require_model_directory(directory)
    model = open_model(directory, device)
    tokenizer = open_tokenizer(directory)
    start = start_token(model, tokenizer, directory)
    config = model.config
    facts = ModelFacts(str(config.model_type), int(model.num_parameters()), len(tokenizer), context_length(model))
    if not (directory / _SEGMENTATION).is_file():
        encoder = TransformersEncoder(tokenizer)
        alone = choice_start(model, tokenizer, start)
        yield CausalTextModel(model, encoder, start, encoder.prompt_prefix, alone, facts, str(directory))
        return
    with open_own_encoder(directory) as own:
        yield CausalTextModel(model, own, start, [start], start, facts, str(directory))


def ngram_text_model(baselines: Baselines, name: str, encoder: TextEncoder, start_id: int) -> NgramTextModel:
    """Return the `unigrams` or the `bigrams` that were counted, over the tokens of an encoder."""
    ngrams: Unigrams | Bigrams = baselines.bigrams if name == "bigrams" else baselines.unigrams
    parameters = len(ngrams.pairs) if isinstance(ngrams, Bigrams) else len(ngrams.counts)
    return NgramTextModel(ngrams, encoder, start_id, ModelFacts(name, parameters, len(baselines.unigrams.counts), None))


@contextmanager
def open_own_encoder(directory: Path) -> Iterator[TextEncoder]:
    """Open a tokenizer of this package, with its segmenter if it encodes words.

    Raises TokenizerError, and TokenizerMismatchError if the installed segmenter is not that of its words.
    """
    tokenizer = load_tokenizer(directory)
    if tokenizer.encodes == "text":
        yield NormalizedTextEncoder(tokenizer)
        return
    with open_segmenter(tokenizer.segmenter) as segmenter:
        tokenizer.require_segmenter(tokenizer.segmenter, segmenter.fingerprint)
        yield WordsEncoder(tokenizer, segmenter)


def require_window(facts: ModelFacts, window: int, label: str) -> None:
    """Raise ModelError if windows are longer than a model's context."""
    if facts.context is not None and window > facts.context:
        raise ModelError(
            f"{label}: the model's context is {facts.context:,} tokens, the window {window:,}. All models are compared "
            f"in windows that the shortest context holds: --window {facts.context}."
        )
