"""How a tokenizer is learned from segmented text: the published recipe (`seed`), and one that loses nothing (`clean`).

Both are byte-pair encodings whose tokens never cross a word border. The same documents give the same bytes, whatever
the number of threads: the trainer of the tokenizers library picks an alphabet at random among equally frequent
characters, so the alphabet is chosen here; its merges it ties by token id.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from jgpt_dagster.corpus.text.segment import SPACE_SYMBOL
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.lm.tokenizer.text_tokenizer import BEGIN, END, LINE_END, UNKNOWN, SegmentedDocument, TokenizerError

MOST_TOKENS = 65_535
"""The largest vocabulary that token files of uint16 can hold with every id."""

_SPECIAL = [UNKNOWN, BEGIN, END]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
"""Names by which the library's byte fallback looks up the bytes of a character outside the alphabet."""

_PORTION_CHARACTERS = 1 << 20
_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class TokenizerSettings:
    """The recipe's figures. `limit_alphabet` is how many different characters get a token of their own."""

    vocab_size: int = 32_000
    min_frequency: int = 1
    limit_alphabet: int = 5_000


class TrainedTokenizer(NamedTuple):
    """A tokenizer and what its training counted.

    Counts are numbers of sentences, characters (without spaces) and tokens; `alphabet_coverage` is the share of the
    text's characters that are in the alphabet, `dropped_tokens` how many learned tokens would have spelled one of ours.
    """

    tokenizer: Tokenizer
    counts: dict[str, int | float]


def in_tokenizer_sample(corpus: str, key: int, share: float) -> bool:
    """Whether a document is in the sample of `share` (0 to 1) of all documents that a tokenizer is trained on.

    Decided by a hash of the corpus and the document's id, so that neither shards nor order have part in it; a smaller
    sample is part of every larger one.
    """
    digest = blake2b(f"tokenizer {corpus} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def train_tokenizer(
    documents: Callable[[], Iterable[SegmentedDocument]],
    profile: TextProfile,
    settings: TokenizerSettings,
    progress: Callable[[str], None],
) -> TrainedTokenizer:
    """Learn a tokenizer; `documents` is called twice and gives the same stream each time.

    The text is streamed, but every distinct word is kept in memory with its count until the end; `in_tokenizer_sample`
    bounds that. A small corpus gives a vocabulary smaller than asked. `progress` is told from time to time how
    far it is.

    Raises TokenizerError for settings that do not fit together and for documents without any character.
    """
    _check(settings, profile)
    counts, frequency = _count_characters(documents(), progress)
    alphabet = _choose_alphabet(frequency, settings.limit_alphabet)
    if not alphabet:
        raise TokenizerError("there is no text to train a tokenizer on. Materialize the segmented shards first.")
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace() if profile == "seed" else pre_tokenizers.WhitespaceSplit()
    trainer = BpeTrainer(
        vocab_size=settings.vocab_size - _appended(profile),
        min_frequency=settings.min_frequency,
        special_tokens=_SPECIAL,
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_portions(documents(), "words", progress), trainer)
    learned = tokenizer.get_vocab_size()
    if profile == "clean":
        tokenizer = _losing_nothing(tokenizer)
    counts |= {
        "alphabet": len(alphabet),
        "alphabet_coverage": round(sum(int(frequency[ord(char)]) for char in alphabet) / counts["characters"], 6),
        "vocabulary": tokenizer.get_vocab_size(),
        "dropped_tokens": learned + _appended(profile) - tokenizer.get_vocab_size(),
    }
    return TrainedTokenizer(tokenizer, counts)


def _appended(profile: TextProfile) -> int:
    """Return how many tokens are appended to what is learned."""
    return len(_BYTES) + len([LINE_END]) if profile == "clean" else 0


def _check(settings: TokenizerSettings, profile: TextProfile) -> None:
    if settings.vocab_size > MOST_TOKENS:
        raise TokenizerError(
            f"vocab_size={settings.vocab_size:,}: token files are uint16, which allows {MOST_TOKENS:,} at most."
        )
    needed = len(_SPECIAL) + settings.limit_alphabet + _appended(profile)
    if settings.vocab_size < needed or settings.limit_alphabet < 1:
        raise TokenizerError(
            f"vocab_size={settings.vocab_size:,} has no room for limit_alphabet={settings.limit_alphabet:,} characters "
            f"and {needed - settings.limit_alphabet} special tokens and bytes. Raise vocab_size to {needed:,} or more, "
            "or lower limit_alphabet (1 or more)."
        )


def _portions(
    documents: Iterable[SegmentedDocument], stage: str, progress: Callable[[str], None]
) -> Iterator[list[str]]:
    """Yield the sentences of a stream of documents, about a million characters at a time."""
    portion: list[str] = []
    size = total = read = 0
    for read, document in enumerate(documents, 1):
        for sentence in chain.from_iterable(document):
            portion.append(sentence)
            size += len(sentence)
        if size >= _PORTION_CHARACTERS:
            yield portion
            total += size
            progress(f"{stage}: {read:,} documents, {total:,} characters")
            portion, size = [], 0
    if portion:
        yield portion
    progress(f"{stage}: {read:,} documents, {total + size:,} characters, all")


def _count_characters(
    documents: Iterable[SegmentedDocument], progress: Callable[[str], None]
) -> tuple[dict[str, int | float], np.ndarray]:
    """Return counts, and how often each code point occurs (int64, by code point, spaces of any kind left out)."""
    frequency = np.zeros(_CODE_POINTS, dtype=np.int64)
    sentences = 0
    for portion in _portions(documents, "characters", progress):
        sentences += len(portion)
        codes = np.frombuffer("".join(portion).encode("utf-32-le"), dtype="<u4")
        frequency += np.bincount(codes, minlength=_CODE_POINTS)
    frequency[[code for code in np.flatnonzero(frequency) if chr(code).isspace()]] = 0
    characters = int(frequency.sum())
    return {
        "sentences": sentences,
        "characters": characters,
        "characters_distinct": int(np.count_nonzero(frequency)),
    }, frequency


def _choose_alphabet(frequency: np.ndarray, limit: int) -> list[str]:
    """Return the most frequent characters, of equally frequent ones the lower code points."""
    present = np.flatnonzero(frequency)
    by_frequency = present[np.argsort(-frequency[present], kind="stable")]
    return [chr(code) for code in by_frequency[:limit]]


def _losing_nothing(learned: Tokenizer) -> Tokenizer:
    """Return a tokenizer of the same merges that spells unknown characters in bytes and can give the text back."""
    vocabulary, merges = _without_reserved(learned)
    tokens = [*vocabulary, *_BYTES]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=ids, merges=merges, unk_token=UNKNOWN, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Replace(SPACE_SYMBOL, " ")]
    )
    tokenizer.add_special_tokens(_SPECIAL)
    # Not a special token: it is text, and decoding keeps it.
    tokenizer.add_tokens([AddedToken(LINE_END, normalized=False, special=False)])
    return tokenizer


def _without_reserved(learned: Tokenizer) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the tokens in the order of their ids, and the merges, without those that spell a token of ours.

    A corpus that often holds the text `</s>` or `<0x41>` teaches the trainer merges that end in just that token. Such
    a merge is dropped, and with it every merge that builds on it.
    """
    model = json.loads(learned.to_str())["model"]
    reserved = {*_SPECIAL, *_BYTES}
    known = {token for token in model["vocab"] if len(token) == 1}
    merges = []
    for left, right in model["merges"]:
        if left in known and right in known and left + right not in reserved:
            known.add(left + right)
            merges.append((left, right))
    by_id = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return [token for token in by_id if token in known or token in _SPECIAL], merges
