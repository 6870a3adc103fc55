"""The tokenizer in use: from segmented documents to token ids and back, and the directory that it lives in.

The directory is one that `transformers.AutoTokenizer` opens, with a `segmentation.json` beside that says which word
segmenter and text profile the tokenizer belongs to. How a tokenizer is learned is in `tokenizer_training`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from jgpt_dagster.corpus.text.segment import restore_text
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.atomic_write import atomic_file, write_json
from jgpt_dagster.storage.hashing import sha256_file, sha256_value

SegmentedDocument = list[list[str]]
"""Lines; a line is a list of sentences, a sentence its words joined by one half-width space."""

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
LINE_END = "\n"

_TOKENIZER = "tokenizer.json"
_CONFIG = "tokenizer_config.json"
_SEGMENTATION = "segmentation.json"


class TokenizerError(JgptError):
    """A tokenizer that cannot be learned as asked, or whose directory is missing or damaged."""


class TokenizerMismatchError(TokenizerError):
    """Text that was segmented by another engine than the text the tokenizer was trained on."""


class TextTokenizer:
    """A frozen tokenizer together with the profile and the segmenter of the text it was trained on.

    `sha256` is its identity: it changes with anything that changes token ids. `eos_id` ends every document; `unk_id` is
    a character outside the alphabet under `seed` and never occurs under `clean`. Raises TokenizerError where the
    tokenizer does not know them.
    """

    def __init__(
        self, tokenizer: Tokenizer, profile: TextProfile, segmenter: str, segmenter_fingerprint: str, sha256: str
    ) -> None:
        self.profile = profile
        self.segmenter = segmenter
        self.segmenter_fingerprint = segmenter_fingerprint
        self.sha256 = sha256
        self.eos_id = _token_id(tokenizer, END)
        self.unk_id = _token_id(tokenizer, UNKNOWN)
        self._tokenizer = tokenizer
        # A literal `</s>` in a text is characters, never the end of a document. tokenizer.json cannot say so.
        tokenizer.encode_special_tokens = True

    @property
    def vocab_size(self) -> int:
        """The number of token ids, special and added ones included."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode_documents(self, documents: Sequence[SegmentedDocument]) -> list[np.ndarray]:
        """Return the ids of each document as uint16, ending in `</s>`; under `clean` a line end follows each line.

        Uses all cores, or RAYON_NUM_THREADS of them; TOKENIZERS_PARALLELISM=false makes it one.
        """
        texts = [encoder_text(document, self.profile) for document in documents]
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array([*encoding.ids, self.eos_id], dtype=np.uint16) for encoding in encodings]

    def encode(self, text: str) -> np.ndarray:
        """Return the ids (uint16) of segmented text as it stands, such as a prompt: words joined by spaces."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.uint16)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of ids without special tokens; see `document_text` for what can be had back."""
        text = self._tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=True)
        # The recipe's tokenizer has no decoder: its tokens come joined by spaces, and hold none.
        return text.replace(" ", "") if self.profile == "seed" else text

    def token(self, index: int) -> str:
        """Return the token of an id as it stands in the vocabulary. Raises IndexError outside the vocabulary."""
        token = self._tokenizer.id_to_token(index)
        if token is None:
            raise IndexError(f"token {index} of {self.vocab_size}")
        return token

    def require_segmenter(self, segmenter: str, fingerprint: str) -> None:
        """Raise TokenizerMismatchError unless text was segmented by the engine that the tokenizer was trained with."""
        if fingerprint != self.segmenter_fingerprint:
            raise TokenizerMismatchError(
                f"the tokenizer was trained on text segmented by {self.segmenter} ({self.segmenter_fingerprint}), this "
                f"text by {segmenter} ({fingerprint}). Segment it with the tokenizer's engine (JGPT_SEGMENTER="
                f"{self.segmenter}, same version and dictionary), or train a new tokenizer with `retrain: true`."
            )


def encoder_text(document: SegmentedDocument, profile: TextProfile) -> str:
    """Return the string that encodes a document: its sentences joined by spaces, under `clean` with its line ends."""
    if profile == "seed":
        return " ".join(sentence for line in document for sentence in line)
    return "".join(" ".join(line) + LINE_END for line in document)


def document_text(document: SegmentedDocument, profile: TextProfile) -> str:
    """Return the text that a document's tokens stand for: the unsegmented text, without `</s>`.

    Under `clean` it is the normalised text, every line ended by a line feed, and decoding gives exactly this back.
    Under `seed` it is the sentences joined by nothing, where decoding drops the characters outside the alphabet.
    """
    if profile == "seed":
        return "".join(sentence for line in document for sentence in line).replace(" ", "")
    return restore_text(document)


def save_tokenizer(
    tokenizer: Tokenizer, directory: Path, profile: TextProfile, segmenter: str, segmenter_fingerprint: str
) -> None:
    """Write the directory that `load_tokenizer` and `AutoTokenizer.from_pretrained` open; both give the same ids."""
    with atomic_file(directory / _TOKENIZER) as stream:
        stream.write(tokenizer.to_str(pretty=True).encode())
    write_json(
        directory / _CONFIG,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": UNKNOWN,
            "bos_token": BEGIN,
            "eos_token": END,
            "split_special_tokens": True,
            "clean_up_tokenization_spaces": False,
            # transformers 4 makes token types by default, and GPT-2 adds them up as embeddings of token 0.
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )
    write_json(
        directory / _SEGMENTATION,
        {"profile": profile, "segmenter": segmenter, "fingerprint": segmenter_fingerprint},
    )


def load_tokenizer(directory: Path) -> TextTokenizer:
    """Open a tokenizer directory. Raises TokenizerError where a file is missing or damaged."""
    try:
        tokenizer = Tokenizer.from_str((directory / _TOKENIZER).read_text(encoding="utf-8"))
        segmentation: dict[str, Any] = json.loads((directory / _SEGMENTATION).read_text(encoding="utf-8"))
        sha256 = sha256_value({name: sha256_file(directory / name) for name in (_TOKENIZER, _SEGMENTATION)})
        return TextTokenizer(
            tokenizer, segmentation["profile"], segmentation["segmenter"], segmentation["fingerprint"], sha256
        )
    except Exception as error:  # the tokenizers library raises plain Exception
        raise TokenizerError(
            f"{directory} is not a whole tokenizer directory: {error}. Materialize tokenizer."
        ) from error


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    index = tokenizer.token_to_id(token)
    if index is None:
        raise TokenizerError(f"the tokenizer has no token {token}")
    return index
