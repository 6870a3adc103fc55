"""GPT-2 as transformers has it: configuration of a preset, generation defaults, and loading a saved model."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jgpt_dagster.lm.model.presets import ModelError, preset

if TYPE_CHECKING:
    from transformers import GenerationConfig, GPT2Config

WEIGHTS = "model.safetensors"
"""File of the weights in the directory of a saved model."""

BEGIN_ID = 1
"""Id of `<s>` in every tokenizer of this package: `<unk>`, `<s>` and `</s>` are 0, 1 and 2, as in the recipe."""


def gpt2_config(
    name: str,
    vocab_size: int,
    bos_id: int,
    eos_id: int,
    context: int | None = None,
    initializer_range: float | None = None,
) -> "GPT2Config":
    """Return the configuration of a preset: no dropout, tied embeddings.

    `context` and `initializer_range` are those of the preset unless given. Raises ModelError for an unknown preset.
    """
    from transformers import GPT2Config

    size = preset(name)
    return GPT2Config(
        vocab_size=vocab_size,
        n_positions=context or size.context,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        initializer_range=initializer_range or size.initializer_range,
        # The same function as `gelu_new`, in one kernel: it keeps only its input, not four vectors of 4 x width.
        activation_function="gelu_pytorch_tanh",
        bos_token_id=bos_id,
        eos_token_id=eos_id,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=True,
    )


def generation_config(eos_id: int) -> "GenerationConfig":
    """Return the generation defaults: from `</s>`, which precedes every document in training, to the next `</s>`."""
    from transformers import GenerationConfig

    make_config: Callable[..., GenerationConfig] = GenerationConfig  # untyped
    return make_config(bos_token_id=eos_id, eos_token_id=eos_id, pad_token_id=eos_id)


def load_model(directory: Path, device: str = "cpu") -> Any:
    """Open a saved `GPT2LMHeadModel` for inference, offline. Raises ModelError if there is none."""
    from transformers import GPT2LMHeadModel
    from transformers.utils import logging

    # Its progress bar would flash among those of `jgpt run`.
    disable_progress_bar: Callable[[], None] = logging.disable_progress_bar  # untyped
    disable_progress_bar()
    try:
        model: Any = GPT2LMHeadModel.from_pretrained(directory, local_files_only=True, dtype="auto")
    except (OSError, ValueError) as error:
        raise ModelError(f"{directory} does not hold a model ({error}). Materialize pretrained_model again.") from error
    return model.to(device).eval()
