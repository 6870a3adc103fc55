"""A trained tokenizer: from segmented documents to token ids and back, and the directory that it is saved in.

A tokenizer encodes `words`, which a segmenter has separated by spaces, or normalised `text` as it is: then word borders
have only guided the learning of the vocabulary. `transformers.AutoTokenizer` opens the directory. Its
`segmentation.json` says which of the two it is, and names the word segmenter and the text profile that the tokenizer
belongs to. `bpe_training` trains tokenizers.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from jgpt_dagster.corpus.text.segment import restore_text
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.atomic_write import atomic_file, write_json
from jgpt_dagster.storage.hashing import sha256_file, sha256_value

SegmentedDocument = list[list[str]]
"""Lines of sentences. A sentence is its words, joined by one half-width space each."""

Encodes = Literal["words", "text"]
"""What a tokenizer takes: words joined by half-width spaces, or text. `seed` has only the first."""

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
LINE_END = "\n"

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SEGMENTATION = "segmentation.json"


class TokenizerError(JgptError):
    """A tokenizer that cannot be trained as configured, or whose directory is missing or damaged."""


class TokenizerMismatchError(TokenizerError):
    """Text segmented by another engine than the text that the tokenizer was trained on."""


class TextTokenizer:
    """A trained tokenizer together with the profile and the segmenter of the text it was trained on.

    `encodes` is what it takes. `sha256` is its identity and changes with anything that changes token ids. `eos_id` ends
    every document. `unk_id` stands for a character outside the alphabet under `seed` and never occurs under `clean`.
    Raises TokenizerError if the tokenizer has no such tokens, or if it does not encode what `encodes` says.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        profile: TextProfile,
        segmenter: str,
        segmenter_fingerprint: str,
        sha256: str,
        encodes: Encodes = "words",
    ) -> None:
        _require_encodes(tokenizer, profile, encodes)
        self.encodes = encodes
        self.profile = profile
        self.segmenter = segmenter
        self.segmenter_fingerprint = segmenter_fingerprint
        self.sha256 = sha256
        self.eos_id = _token_id(tokenizer, END)
        self.unk_id = _token_id(tokenizer, UNKNOWN)
        self._tokenizer = tokenizer
        # That of a release normalises: what is encoded here is normalised already.
        tokenizer.normalizer = None
        # The text `</s>` is encoded as characters, never as the end of a document. tokenizer.json cannot store this.
        tokenizer.encode_special_tokens = True

    @property
    def vocab_size(self) -> int:
        """Number of token ids, including special and added tokens."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode_documents(self, documents: Sequence[SegmentedDocument]) -> list[np.ndarray]:
        """Return the ids of each document as uint16, ending in `</s>`; under `clean` a line end follows each line.

        This runs on all cores, or on RAYON_NUM_THREADS of them; with TOKENIZERS_PARALLELISM=false, on one.
        """
        texts = [encoder_text(document, self.profile, self.encodes) for document in documents]
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array([*encoding.ids, self.eos_id], dtype=np.uint16) for encoding in encodings]

    def encode(self, text: str) -> np.ndarray:
        """Return the ids (uint16) of a string of what the tokenizer encodes, without adding `</s>` or a line end."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.uint16)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of ids without special tokens; `document_text` says how exact it is."""
        text = self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=True)
        # The tokenizer of the published recipe has no decoder: tokens contain no spaces and come joined by them.
        return text.replace(" ", "") if self.profile == "seed" else text

    def token(self, index: int) -> str:
        """Return the vocabulary entry of an id. Raises IndexError if there is none."""
        token = self._tokenizer.id_to_token(index)
        if token is None:
            raise IndexError(f"token {index} of {self.vocab_size}")
        return token

    def require_segmenter(self, segmenter: str, fingerprint: str) -> None:
        """Raise TokenizerMismatchError if words are encoded, and this engine's are not those that it was trained on."""
        if self.encodes == "words" and fingerprint != self.segmenter_fingerprint:
            raise TokenizerMismatchError(
                f"the tokenizer was trained on text segmented by {self.segmenter} ({self.segmenter_fingerprint}), this "
                f"text by {segmenter} ({fingerprint}). Segment it with the tokenizer's engine (JGPT_SEGMENTER="
                f"{self.segmenter}, same version and dictionary), or train a new tokenizer with `retrain: true`."
            )


def segmented_length(document: SegmentedDocument) -> int:
    """Return the characters of a segmented document, with the spaces between words."""
    return sum(len(sentence) for line in document for sentence in line)


def encoder_text(document: SegmentedDocument, profile: TextProfile, encodes: Encodes = "words") -> str:
    """Return the string to encode for a document: its text, or its words with spaces, under `clean` with line ends."""
    if encodes == "text":
        return restore_text(document)
    if profile == "seed":
        return " ".join(sentence for line in document for sentence in line)
    return "".join(" ".join(line) + LINE_END for line in document)


def document_text(document: SegmentedDocument, profile: TextProfile) -> str:
    """Return the text that a document's tokens stand for: the unsegmented text, without `</s>`.

    Under `clean` it is the normalised text with a line feed after every line, which is exactly what decoding returns.
    Under `seed` it is the sentences without anything between them; decoding loses characters outside the alphabet.
    """
    if profile == "seed":
        return "".join(sentence for line in document for sentence in line).replace(" ", "")
    return restore_text(document)


def save_tokenizer(
    tokenizer: Tokenizer,
    directory: Path,
    profile: TextProfile,
    segmenter: str,
    segmenter_fingerprint: str,
    encodes: Encodes = "words",
) -> None:
    """Write a directory that `load_tokenizer` and `AutoTokenizer.from_pretrained` open, with the same ids."""
    with atomic_file(directory / TOKENIZER) as stream:
        stream.write(tokenizer.to_str(pretty=True).encode())
    write_json(
        directory / TOKENIZER_CONFIG,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": UNKNOWN,
            "bos_token": BEGIN,
            "eos_token": END,
            "split_special_tokens": True,
            "clean_up_tokenization_spaces": False,
            # By default transformers 4 also returns token types, for which GPT-2 adds the embedding of token 0.
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )
    write_json(
        directory / SEGMENTATION,
        {
            "profile": profile,
            "segmenter": segmenter,
            "fingerprint": segmenter_fingerprint,
            # Tokenizers of before there was a choice do not say it: their identity must stay.
            **({} if encodes == "words" else {"encodes": encodes}),
        },
    )


def load_tokenizer(directory: Path) -> TextTokenizer:
    """Open a tokenizer directory. Raises TokenizerError if a file is missing or damaged."""
    try:
        tokenizer = Tokenizer.from_str((directory / TOKENIZER).read_text(encoding="utf-8"))
        segmentation: dict[str, Any] = json.loads((directory / SEGMENTATION).read_text(encoding="utf-8"))
        sha256 = sha256_value({name: sha256_file(directory / name) for name in (TOKENIZER, SEGMENTATION)})
        return TextTokenizer(
            tokenizer,
            segmentation["profile"],
            segmentation["segmenter"],
            segmentation["fingerprint"],
            sha256,
            segmentation.get("encodes", "words"),
        )
    except Exception as error:  # the tokenizers library raises plain Exception
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            problem = f"{Path(error.filename).name} is missing"
        else:
            problem = str(error)
        raise TokenizerError(
            f"{directory} is not a complete tokenizer directory: {problem}. Materialize tokenizer, or name a release."
        ) from error


def require_profile_encodes(profile: TextProfile, encodes: Encodes) -> None:
    """Raise TokenizerError if a profile has no tokenizers that encode this."""
    if profile == "seed" and encodes == "text":
        raise TokenizerError("`seed` is the published recipe, whose tokenizer encodes words: `text` needs `clean`.")


def _require_encodes(tokenizer: Tokenizer, profile: TextProfile, encodes: Encodes) -> None:
    """Raise TokenizerError unless a tokenizer encodes this: one of text has no rule that cuts text into words."""
    require_profile_encodes(profile, encodes)
    found: Encodes = "text" if tokenizer.pre_tokenizer is None else "words"
    if found != encodes:
        raise TokenizerError(f"{SEGMENTATION} says that it encodes {encodes}, but {TOKENIZER} is of one of {found}")


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    index = tokenizer.token_to_id(token)
    if index is None:
        raise TokenizerError(f"the tokenizer has no token {token}")
    return index
