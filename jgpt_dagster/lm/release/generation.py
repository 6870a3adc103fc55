"""Text generation with a trained model, from a prompt as a person types it or from what the tokenizer encodes."""

import re
from dataclasses import dataclass
from pathlib import Path

from jgpt_dagster.corpus.segmenters import open_segmenter
from jgpt_dagster.corpus.text.normalize import normalizer
from jgpt_dagster.corpus.text.segment import segment_documents
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.gpt2 import load_model
from jgpt_dagster.lm.tokenizer.text_tokenizer import LINE_END, TextTokenizer, encoder_text, load_tokenizer

_LINE_END = re.compile("\r\n?|\n")


class GenerationError(JgptError):
    """A prompt that no text can be generated from."""


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn. The same seed gives the same text.

    A `temperature` of 0 always takes the most likely token; a `top_k` of 0 sets no limit.
    """

    max_new_tokens: int = 100
    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0
    seed: int = 0


_DEFAULT_SAMPLING = SamplingSettings()


def generate_text(
    model_dir: Path,
    tokenizer_dir: Path,
    prompt: str,
    sampling: SamplingSettings = _DEFAULT_SAMPLING,
    device: str = "cpu",
) -> str:
    """Continue a prompt in natural text and return both, without segmentation spaces.

    The prompt is normalised as the corpus was and, for a tokenizer that encodes words, segmented. Raises
    TokenizerMismatchError if the installed segmenter is not the one of those words, and what `generate_from` raises.
    """
    encoded = prompt_text(load_tokenizer(tokenizer_dir), prompt)
    return generate_from(model_dir, tokenizer_dir, encoded, sampling, device)


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


def generate_from(
    model_dir: Path,
    tokenizer_dir: Path,
    encoded: str,
    sampling: SamplingSettings = _DEFAULT_SAMPLING,
    device: str = "cpu",
) -> str:
    """Continue what the tokenizer encodes and return it and its continuation as natural text, without special tokens.

    `encoded` is text, or words joined by spaces; an empty string starts a new document. Generation stops at `</s>`,
    after `max_new_tokens`, or when the model's context is full.

    Raises GenerationError if the prompt fills the context, and what opening model and tokenizer raises.
    """
    import torch
    from transformers import GenerationConfig

    tokenizer = load_tokenizer(tokenizer_dir)
    model = load_model(model_dir, device)
    # As in training, a document follows the `</s>` of another.
    prompt = torch.tensor([[tokenizer.eos_id, *tokenizer.encode(encoded).tolist()]], device=device)
    free = model.config.n_positions - prompt.shape[1]
    if free < 1:
        raise GenerationError(
            f"the prompt has {prompt.shape[1] - 1:,} tokens, the model's context is {model.config.n_positions:,}: "
            "shorten the prompt"
        )
    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=sampling.temperature > 0,
        max_new_tokens=min(sampling.max_new_tokens, free),
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.eos_id,
        **(
            {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
            if sampling.temperature > 0
            else {}
        ),
    )
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(sampling.seed)
        ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=settings)
    return tokenizer.decode(ids[0].cpu().numpy())
