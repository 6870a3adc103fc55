"""Small tokenizers, and models with random weights for a tokenizer."""

from pathlib import Path

import torch
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.model.gpt2 import generation_config, gpt2_config
from jgpt_dagster.lm.tokenizer.bpe_training import TokenizerSettings, train_tokenizer
from jgpt_dagster.lm.tokenizer.text_tokenizer import Encodes, load_tokenizer, save_tokenizer
from jgpt_dagster_tests.support.token_samples import counted_words, segmented_documents


def save_small_tokenizer(directory: Path, encodes: Encodes) -> Path:
    settings = TokenizerSettings(vocab_size=400, limit_alphabet=100)
    trained = train_tokenizer(counted_words(segmented_documents(50)), "clean", settings, encodes)
    save_tokenizer(trained.tokenizer, directory, "clean", "mecab", "fingerprint", encodes)
    return directory


def new_model(tokenizer_dir: Path) -> GPT2LMHeadModel:
    tokenizer = load_tokenizer(tokenizer_dir)
    torch.manual_seed(0)
    ids = {"bos_id": 1, "eos_id": tokenizer.eos_id}
    # With these weights it continues two prompts or more by whole characters, whatever presets begin with.
    return GPT2LMHeadModel(gpt2_config("tiny", tokenizer.vocab_size, **ids, context=128, initializer_range=0.02))


def save_model(model: GPT2LMHeadModel, directory: Path) -> Path:
    model.save_pretrained(directory)
    generation_config(eos_id=2).save_pretrained(directory)
    return directory
