"""Training of a tokenizer on segmented text: the published recipe (`seed`), and a lossless variant (`clean`).

Both are byte-pair encodings learned within words: no token crosses a word border of the text that it is learned from.
One that encodes `text` has no words to keep to afterwards. The same documents give the same bytes for any number of
threads. The alphabet is chosen here: the trainer of the tokenizers library chooses at random among equally frequent
characters.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import PreTokenizer

from jgpt_dagster.corpus.text.segment import SPACE_SYMBOL
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.lm.tokenizer.merge_table import Merge, closed_merges
from jgpt_dagster.lm.tokenizer.merge_training import MergeTrainer, memory_of
from jgpt_dagster.lm.tokenizer.text_tokenizer import (
    BEGIN,
    END,
    LINE_END,
    UNKNOWN,
    Encodes,
    TokenizerError,
    require_profile_encodes,
)
from jgpt_dagster.lm.tokenizer.word_counts import WordCounts

MAX_VOCAB_SIZE = 65_535
"""The largest vocabulary whose ids and size are uint16."""

_SPECIAL_TOKENS = [UNKNOWN, BEGIN, END]
_BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
"""Tokens that the byte fallback of the tokenizers library uses for characters outside the alphabet."""

_BYTE_TOKEN = re.compile("<0x[0-9A-Fa-f+][0-9A-Fa-f]>")

_CODE_POINTS = 0x110000

# Distinct words grow with this power of the text: 0.606 on real articles (benchmarks/rehearsal), rounded so that a
# smaller sample is suggested.
_HEAPS_EXPONENT = 0.6


@dataclass(frozen=True)
class TokenizerSettings:
    """Sizes, by default those of the published recipe. `limit_alphabet` characters get a token of their own."""

    vocab_size: int = 32_000
    min_frequency: int = 1
    limit_alphabet: int = 5_000


class TrainedTokenizer(NamedTuple):
    """A tokenizer and the counts of its training.

    There are counts of sentences, characters (without spaces) and tokens. `alphabet_coverage` is the fraction of the
    text's characters that are in the alphabet. `dropped_tokens` counts learned tokens that would have spelled a
    reserved one.
    """

    tokenizer: Tokenizer
    counts: dict[str, int | float]


def in_tokenizer_sample(corpus: str, key: int, share: float) -> bool:
    """Return whether a document is in the sample of `share` (0 to 1) of all documents that a tokenizer is trained on.

    A hash of the corpus and the document's id decides, so that the sample does not depend on shards or order. A smaller
    sample is a subset of every larger one.
    """
    digest = blake2b(f"tokenizer {corpus} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def train_tokenizer(
    words: WordCounts,
    profile: TextProfile,
    settings: TokenizerSettings,
    encodes: Encodes = "words",
    max_memory: int | None = None,
) -> TrainedTokenizer:
    """Train a tokenizer on counted words.

    What it `encodes` changes neither the vocabulary nor the order of merges, only what they are applied to. A small
    corpus gives a smaller vocabulary than `vocab_size`.

    Raises TokenizerError for settings that do not fit together, for text without any character, and for one whose
    training would take more than `max_memory` bytes (`merge_training.memory_of`).
    """
    require_trainable(settings, profile, encodes)
    counts, frequency = _count_characters(words, max_memory)
    alphabet = _choose_alphabet(frequency, settings.limit_alphabet)
    if not alphabet:
        raise TokenizerError("there is no text to train a tokenizer on. Materialize the segmented shards first.")
    learned = _learn(words, profile, settings, alphabet)
    tokenizer = _lossless(learned, encodes) if profile == "clean" else _published(learned)
    counts |= {
        "alphabet": len(alphabet),
        "alphabet_coverage": round(sum(int(frequency[ord(char)]) for char in alphabet) / counts["characters"], 6),
        "vocabulary": tokenizer.get_vocab_size(),
        "dropped_tokens": len(learned.tokens) + _added_tokens(profile) - tokenizer.get_vocab_size(),
    }
    return TrainedTokenizer(tokenizer, counts)


class _Learned(NamedTuple):
    """Tokens in the order of their ids, special ones first, and merges, best first."""

    tokens: list[str]
    merges: list[Merge]


def _learn(words: WordCounts, profile: TextProfile, settings: TokenizerSettings, alphabet: list[str]) -> _Learned:
    trainer = MergeTrainer(alphabet)
    cut = _pre_tokenizer(profile).pre_tokenize_str
    for batch in words.batches():
        pieces = [(piece, count) for word, count in batch for piece, _ in cut(word)]
        trainer.add([piece for piece, _ in pieces], [count for _, count in pieces])
    # Arrow keeps what it read the words into, and learning takes several times as much.
    pa.default_memory_pool().release_unused()
    size = settings.vocab_size - _added_tokens(profile) - len(_SPECIAL_TOKENS)
    merges = trainer.learn(size, settings.min_frequency)
    return _Learned([*_SPECIAL_TOKENS, *sorted(alphabet), *map("".join, merges)], merges)


def _pre_tokenizer(profile: TextProfile) -> PreTokenizer:
    return pre_tokenizers.Whitespace() if profile == "seed" else pre_tokenizers.WhitespaceSplit()


def _added_tokens(profile: TextProfile) -> int:
    """Return how many tokens are added to the learned ones."""
    return len(_BYTE_TOKENS) + len([LINE_END]) if profile == "clean" else 0


def require_trainable(settings: TokenizerSettings, profile: TextProfile, encodes: Encodes) -> None:
    """Raise TokenizerError for what a profile does not encode, and for a vocabulary of a size that cannot be.

    That is one too large for uint16, or too small for the tokens that it must have.
    """
    require_profile_encodes(profile, encodes)
    if settings.vocab_size > MAX_VOCAB_SIZE:
        raise TokenizerError(
            f"vocab_size={settings.vocab_size:,}: token files are uint16, which allows {MAX_VOCAB_SIZE:,} at most."
        )
    needed = len(_SPECIAL_TOKENS) + settings.limit_alphabet + _added_tokens(profile)
    if settings.vocab_size < needed or settings.limit_alphabet < 1:
        raise TokenizerError(
            f"vocab_size={settings.vocab_size:,} has no room for limit_alphabet={settings.limit_alphabet:,} characters "
            f"and {needed - settings.limit_alphabet} special tokens and bytes. Raise vocab_size to {needed:,} or more, "
            "or lower limit_alphabet (1 or more)."
        )


def _count_characters(words: WordCounts, max_memory: int | None) -> tuple[dict[str, int | float], np.ndarray]:
    """Return counts, and the frequency of each code point (int64, indexed by code point, 0 for white space)."""
    frequency = np.zeros(_CODE_POINTS, dtype=np.int64)
    distinct = length = 0
    for batch in words.batches():
        distinct += len(batch)
        length += sum(len(word) for word, _ in batch)
        codes = np.frombuffer("".join(word for word, _ in batch).encode("utf-32-le"), dtype="<u4")
        weights = np.repeat([count for _, count in batch], [len(word) for word, _ in batch])
        np.add.at(frequency, codes, weights)
    _require_memory(distinct, length, max_memory)
    frequency[[code for code in np.flatnonzero(frequency) if chr(code).isspace()]] = 0
    return {
        "sentences": words.sentences,
        "characters": int(frequency.sum()),
        "characters_distinct": int(np.count_nonzero(frequency)),
    }, frequency


def _require_memory(distinct: int, length: int, limit: int | None) -> None:
    needed = memory_of(length)
    if limit is not None and needed > limit:
        raise TokenizerError(
            f"to learn merges from the {distinct:,} distinct words of the text takes {needed / 1e9:.3g} GB of memory; "
            f"`max_memory` allows {limit / 1e9:.3g} GB. Raise it on a machine that has more, or train on a smaller "
            f"share of the documents: with `sample_share` at {(limit / needed) ** (1 / _HEAPS_EXPONENT):.2g} times its "
            "present value it should fit."
        )


def _choose_alphabet(frequency: np.ndarray, limit: int) -> list[str]:
    """Return the most frequent characters; among equally frequent ones, the lower code points."""
    present = np.flatnonzero(frequency)
    by_frequency = present[np.argsort(-frequency[present], kind="stable")]
    return [chr(code) for code in by_frequency[:limit]]


def _published(learned: _Learned) -> Tokenizer:
    """Return the tokenizer of the published recipe."""
    ids = {token: index for index, token in enumerate(learned.tokens)}
    tokenizer = Tokenizer(BPE(vocab=ids, merges=learned.merges, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = _pre_tokenizer("seed")
    tokenizer.add_special_tokens(_SPECIAL_TOKENS)
    return tokenizer


def _lossless(learned: _Learned, encodes: Encodes) -> Tokenizer:
    """Return a tokenizer of the same merges that encodes unknown characters as bytes and decodes to the exact text.

    In text a space is a space: U+2581 can then be told from it.
    """
    vocabulary, merges = _drop_reserved_tokens(learned)
    decoder = [decoders.ByteFallback(), decoders.Fuse()]
    if encodes == "text":
        vocabulary = [token.replace(SPACE_SYMBOL, " ") for token in vocabulary]
        merges = closed_merges(
            (left.replace(SPACE_SYMBOL, " "), right.replace(SPACE_SYMBOL, " ")) for left, right in merges
        )
    else:
        decoder.append(decoders.Replace(SPACE_SYMBOL, " "))
    tokens = [*vocabulary, *_BYTE_TOKENS]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=ids, merges=merges, unk_token=UNKNOWN, byte_fallback=True))
    if encodes == "words":
        tokenizer.pre_tokenizer = _pre_tokenizer("clean")
    tokenizer.decoder = decoders.Sequence(decoder)
    tokenizer.add_special_tokens(_SPECIAL_TOKENS)
    # A line end is text, not a special token, so that decoding keeps it.
    tokenizer.add_tokens([AddedToken(LINE_END, normalized=False, special=False)])
    return tokenizer


def _drop_reserved_tokens(learned: _Learned) -> _Learned:
    """Return what was learned without the tokens that spell a reserved one.

    From a corpus in which the text `</s>` or `<0x41>` is frequent, merges are learned that produce exactly that token.
    Such a merge is dropped, and with it every merge that builds on it.
    """
    kept = {token for token in learned.tokens if len(token) == 1}
    merges = []
    for left, right in learned.merges:
        if left in kept and right in kept and not _is_reserved(left + right):
            kept.add(left + right)
            merges.append((left, right))
    return _Learned([token for token in learned.tokens if token in kept or token in _SPECIAL_TOKENS], merges)


def _is_reserved(token: str) -> bool:
    """Return whether decoding takes a token for a special token or a byte, which it also reads in lower case."""
    return token in _SPECIAL_TOKENS or _BYTE_TOKEN.fullmatch(token) is not None
