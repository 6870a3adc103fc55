"""Text from a trained model."""

from pathlib import Path

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.gpt2 import load_model
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer


class GenerationError(JgptError):
    """A prompt or a setting that no text can be generated from."""


def generate(
    model_dir: Path,
    tokenizer_dir: Path,
    segmented_prompt: str,
    *,
    max_new_tokens: int = 100,
    temperature: float = 0.8,
    top_p: float = 0.95,
    top_k: int = 0,
    seed: int = 0,
    device: str = "cpu",
) -> str:
    """Continue a prompt and return prompt and continuation as natural text, without special tokens.

    The prompt is what the segmenter of the tokenizer makes of a text: words joined by spaces, empty for a document of
    the model's own. Generation stops at `</s>`, after `max_new_tokens`, or where the model's context is full. The same
    seed gives the same text; a temperature of 0 always takes the likeliest token. `top_k` 0 is no limit.

    Raises GenerationError where the prompt fills the context, and what opening model and tokenizer raises.
    """
    import torch
    from transformers import GenerationConfig

    tokenizer = load_tokenizer(tokenizer_dir)
    model = load_model(model_dir, device)
    # A document begins after the end of another, in training too.
    prompt = torch.tensor([[tokenizer.eos_id, *tokenizer.encode(segmented_prompt).tolist()]], device=device)
    room = model.config.n_positions - prompt.shape[1]
    if room < 1:
        raise GenerationError(
            f"the prompt has {prompt.shape[1] - 1:,} tokens, the model's context is {model.config.n_positions:,}: "
            "shorten the prompt"
        )
    sampling = {"temperature": temperature, "top_p": top_p, "top_k": top_k} if temperature > 0 else {}
    settings = GenerationConfig(
        do_sample=temperature > 0,
        max_new_tokens=min(max_new_tokens, room),
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.eos_id,
        **sampling,
    )
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=settings)
    return tokenizer.decode(ids[0].cpu().numpy())
