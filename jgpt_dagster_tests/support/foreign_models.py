"""Small models of other families with other tokenizers, made on the spot: what `jgpt evaluate` opens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def byte_level_tokenizer(texts: Sequence[str], vocabulary: int = 600) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE, as GPT-2's and GPT-NeoX's, whose only special token begins and ends a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    )


def unigram_tokenizer(texts: Sequence[str], vocabulary: int = 800) -> PreTrainedTokenizerFast:
    """Return a Unigram tokenizer in SentencePiece's form that keeps line ends; characters it lacks are unknown."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    tokenizer.decoder = decoders.Replace("▁", " ")
    characters = sorted({character for text in texts for character in text})
    trainer = trainers.UnigramTrainer(
        vocab_size=max(vocabulary, len(characters) + 100),
        special_tokens=["<unk>", "<s>", "</s>"],
        unk_token="<unk>",
        initial_alphabet=characters,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken("\n", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def gpt_neox(directory: Path, texts: Sequence[str], *, steps: int = 0, context: int = 128) -> Path:
    """Save a GPT-NeoX with a byte-level BPE, trained for some steps on texts; return its directory."""
    tokenizer = byte_level_tokenizer(texts)
    model = _new(GPTNeoXForCausalLM, GPTNeoXConfig, tokenizer, context, intermediate_size=256)
    return _save(_trained(model, tokenizer, texts, steps, context), tokenizer, directory)


def llama(directory: Path, texts: Sequence[str], *, steps: int = 0, context: int = 128) -> Path:
    """Save a Llama with a Unigram tokenizer, trained for some steps on texts; return its directory."""
    tokenizer = unigram_tokenizer(texts)
    model = _new(LlamaForCausalLM, LlamaConfig, tokenizer, context, intermediate_size=128)
    return _save(_trained(model, tokenizer, texts, steps, context), tokenizer, directory)


def _new(model: Any, config: Any, tokenizer: PreTrainedTokenizerFast, context: int, **sizes: int) -> Any:
    torch.manual_seed(0)
    return model(
        config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **sizes,
        )
    )


def _trained(model: Any, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], steps: int, context: int) -> Any:
    if not steps:
        return model
    ids = [
        index
        for text in texts
        for index in [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]
    ]
    tokens = torch.tensor(ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        starts = torch.randint(0, max(1, len(tokens) - context), (8,))
        rows = torch.stack([tokens[start : start + context] for start in starts])
        loss = model(rows, labels=rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def _save(model: Any, tokenizer: PreTrainedTokenizerFast, directory: Path) -> Path:
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
