"""Finished models as a library: a tokenizer over raw text, and a release that writes and scores text.

Import it as `jgpt_dagster.lm`.
"""

import operator
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from jgpt_dagster.corpus.public import require_text
from jgpt_dagster.lm.evaluation.text_models import CausalTextModel, TextEncoder, open_own_encoder, open_text_model
from jgpt_dagster.lm.model.presets import ModelError
from jgpt_dagster.lm.release.generation import SamplingSettings, TextGenerator

if TYPE_CHECKING:
    from typing import Self

# Windows of the model's context that are scored at once.
_BATCH = 8


class _Closing:
    """Something that keeps a segmenter open, until its block ends or it is closed."""

    def __init__(self) -> None:
        self._opened = ExitStack()

    def close(self) -> None:
        """Close the segmenter: words cannot be encoded afterwards."""
        self._opened.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Tokenizer(_Closing):
    """A tokenizer of this package over raw text: it normalises and, if it encodes words, segments it as its corpus was.

    Open it by `Tokenizer.open(directory)`, the directory of a tokenizer or of a release; use it in a `with` block or
    close it.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self._encoder = encoder

    @classmethod
    def open(cls, directory: str | PathLike[str]) -> "Tokenizer":
        """Open a tokenizer. Raises TokenizerError, and TokenizerMismatchError for another segmenter than its own."""
        opened = ExitStack()
        tokenizer = cls(opened.enter_context(open_own_encoder(Path(directory))))
        tokenizer._opened = opened
        return tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, without special tokens."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        """Return the token ids of each text, faster than one after the other."""
        return [ids.tolist() for ids in self._encoder.encode([require_text(text) for text in texts])]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that ids stand for, without special tokens. Raises ValueError for a negative one."""
        numbers = [operator.index(number) for number in ids]
        if min(numbers, default=0) < 0:
            raise ValueError(f"{min(numbers)} is no token id")
        return self._encoder.decode(np.array(numbers, dtype=np.int64))


class Release(_Closing):
    """A released model, or any that transformers opens, with its tokenizer.

    Open it by `Release.open(directory)`; use it in a `with` block or close it.
    """

    def __init__(self, path: Path, device: str) -> None:
        super().__init__()
        self.path, self._device = path, device
        self._model: CausalTextModel | None = None

    @classmethod
    def open(cls, directory: str | PathLike[str], *, device: str = "cpu") -> "Release":
        """Open the release in a directory, on a device of torch such as `cuda`.

        Raises ModelError if there is no release or no such device, and TokenizerMismatchError.
        """
        _require_device(device)
        release = cls(Path(directory), device)
        release._model = release._opened.enter_context(open_text_model(release.path, device))
        return release

    @cached_property
    def _generator(self) -> TextGenerator:
        return TextGenerator(self.path, self.path, self._device)

    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 60,
        temperature: float = 0.8,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> str:
        """Continue a prompt and return both. A temperature of 0 takes the most likely token; a seed repeats a text.

        Raises GenerationError if the prompt fills the model's context, or for a value out of bounds; TokenizerError for
        a model of others, which can only be scored.
        """
        sampling = SamplingSettings(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
        return self._generator.continue_prompt(require_text(prompt), sampling)

    def score(self, text: str) -> float:
        """Return the bits per character that the model needs for a text as the beginning of a document.

        All tokens are counted, over the characters of the text as it is given. Raises ValueError for a text without
        tokens.
        """
        if self._model is None:
            raise ValueError(f"{self.path} is not open")
        (ids,) = self._model.encoder.encode([require_text(text)])
        if not len(ids):
            raise ValueError(f"{text!r} has no tokens")
        context = self._model.facts.context or len(ids) + 1
        sequence = np.concatenate([np.array([self._model.start_id], dtype=np.int64), ids])
        (bits,) = self._model.bits([sequence], context, _BATCH)
        return bits / len(text)


def _require_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ModelError(f"torch has no device {device!r} here: {str(error).splitlines()[0]}") from None
