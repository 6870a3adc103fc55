"""Text generation with a trained model, from a prompt as a person types it or from what the tokenizer encodes."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.normalize import normalizer
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.gpt2 import generation_config, load_model
from jgpt_dagster.lm.tokenizer.text_tokenizer import LINE_END, TextTokenizer, encoder_text, load_tokenizer

_LINE_END = re.compile("\r\n?|\n")
_BYTE = re.compile("<0x[0-9A-F]{2}>")


# In fp32, logits divided by less are no numbers. The most likely token is certain long before.
_COLDEST = 1e-6


class GenerationError(JgptError):
    """A prompt that no text can be generated from, or sampling with values that mean nothing."""


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn. The same seed gives the same text.

    A `temperature` of 0 always takes the most likely token; a `top_k` of 0 sets no limit. Raises GenerationError for a
    value out of bounds.
    """

    max_new_tokens: int = 100
    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < math.inf, "a number from 0"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("top_k", self.top_k >= 0, "at least 0"),
            ("seed", 0 <= self.seed < 2**63, "at least 0 and less than 2**63"),
        )
        for name, within, allowed in bounds:
            if not within:
                raise GenerationError(f"{name} is {getattr(self, name)}; allowed: {allowed}")


_DEFAULT_SAMPLING = SamplingSettings()


class TextGenerator:
    """A model and its tokenizer, opened once for any number of prompts.

    Raises what opening model and tokenizer raises.
    """

    def __init__(self, model_dir: Path, tokenizer_dir: Path, device: str = "cpu") -> None:
        self._tokenizer = load_tokenizer(tokenizer_dir)
        self._model = load_model(model_dir, device)
        # Those of a release are for other programs: beside what is asked for here, they would only cause warnings.
        self._model.generation_config = generation_config(self._tokenizer.eos_id)

    def continue_prompt(
        self,
        prompt: str,
        sampling: SamplingSettings = _DEFAULT_SAMPLING,
        receive: Callable[[str], object] | None = None,
    ) -> str:
        """Continue a prompt in natural text and return both, without segmentation spaces.

        The prompt is normalised as the corpus was and, for a tokenizer that encodes words, segmented. `receive` gets
        the same text in parts, each as soon as it is known.

        Raises TokenizerMismatchError if the installed segmenter is not the one of those words, and what
        `continue_encoded` raises.
        """
        return self.continue_encoded(prompt_text(self._tokenizer, prompt), sampling, receive)

    def continue_encoded(
        self,
        encoded: str,
        sampling: SamplingSettings = _DEFAULT_SAMPLING,
        receive: Callable[[str], object] | None = None,
    ) -> str:
        """Continue what the tokenizer encodes and return it and its continuation as text, without special tokens.

        `encoded` is text, or words joined by spaces; an empty string starts a new document. Generation stops at `</s>`,
        after `max_new_tokens`, or when the model's context is full. Raises GenerationError if the prompt fills it.
        """
        import torch
        from transformers import GenerationConfig

        tokenizer, model = self._tokenizer, self._model
        # As in training, a document follows the `</s>` of another.
        prompt = torch.tensor([[tokenizer.eos_id, *tokenizer.encode(encoded).tolist()]], device=model.device)
        free = model.config.n_positions - prompt.shape[1]
        if free < 1:
            raise GenerationError(
                f"the prompt has {prompt.shape[1] - 1:,} tokens, the model's context is {model.config.n_positions:,}: "
                "shorten the prompt"
            )
        drawn = sampling.temperature > _COLDEST
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=drawn,
            max_new_tokens=min(sampling.max_new_tokens, free),
            eos_token_id=tokenizer.eos_id,
            pad_token_id=tokenizer.eos_id,
            **(
                {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k} if drawn else {}
            ),
        )
        parts = _Parts(tokenizer, receive) if receive else None
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(sampling.seed)
            ids = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), generation_config=settings, streamer=parts
            )
        return tokenizer.decode(ids[0].cpu().numpy())


def prompt_text(tokenizer: TextTokenizer, prompt: str) -> str:
    """Return the string to encode for a prompt, without a line end: the model continues the last line.

    A line end at the end of the prompt stays if text is encoded. Raises TokenizerMismatchError if words are, and the
    installed segmenter is not that of the text that the tokenizer was trained on.
    """
    if tokenizer.encodes == "text":
        *lines, last = map(normalizer(tokenizer.profile), _LINE_END.split(prompt))
        return LINE_END.join([*filter(None, lines), last])
    with open_segmenter(tokenizer.segmenter) as segmenter:
        tokenizer.require_segmenter(tokenizer.segmenter, segmenter.fingerprint)
        (document,) = segment_documents([prompt.splitlines()], tokenizer.profile, segmenter)
    return encoder_text(document, tokenizer.profile).removesuffix(LINE_END)


class _Parts:
    """Receives the tokens of a prompt and then each token that follows, and passes on the text that is certain.

    This is what `generate` of transformers asks of a streamer. What byte tokens at the end stand for depends on those
    that follow: together they may be a character, or none.
    """

    def __init__(self, tokenizer: TextTokenizer, receive: Callable[[str], object]) -> None:
        self._tokenizer, self._receive = tokenizer, receive
        self._ids: list[int] = []
        self._passed_on = 0

    def put(self, value: Any) -> None:
        self._ids += np.asarray(value).reshape(-1).tolist()
        certain = len(self._ids)
        while certain and _BYTE.fullmatch(self._tokenizer.token(self._ids[certain - 1])):
            certain -= 1
        self._pass_on(certain)

    def end(self) -> None:
        self._pass_on(len(self._ids))

    def _pass_on(self, tokens: int) -> None:
        text = self._tokenizer.decode(self._ids[:tokens])
        if new := text[self._passed_on :]:
            self._passed_on += len(new)
            self._receive(new)
