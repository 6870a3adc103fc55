"""Scores of any model on held-out texts: bits by document, and the characters that its tokenizer loses."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.training_set import TrainingSet
from jgpt_dagster.lm.data.validation_data import scored_order
from jgpt_dagster.lm.evaluation.bootstrap import bootstrap_interval
from jgpt_dagster.lm.evaluation.text_models import TextModel
from jgpt_dagster.lm.tokenizer.text_tokenizer import TextTokenizer
from jgpt_dagster.runtime.batching import batches
from jgpt_dagster.storage.hashing import sha256_value

MAX_LOST_SHARE = 0.01
"""The share of characters above which bits would be those of another text."""

_BATCH_CHARACTERS = 50_000
_SPACES = re.compile(r"\s+")
_SHOWN_LOSSES = 4


class TextScoreError(JgptError):
    """Texts that a model cannot be scored on."""


class HeldOutText(NamedTuple):
    """A held-out document as text: normalised and unsegmented, with a line feed after each line under `clean`."""

    corpus: str
    key: int
    text: str


@dataclass(frozen=True)
class TextScores:
    """Columns with a row per document. `bits` are sums of -log2 p over all tokens of the text after the start token.

    `lost` counts the characters that do not come back from the tokenizer, and `losses` the most frequent ones of all.
    """

    corpora: list[str]
    keys: np.ndarray
    characters: np.ndarray
    bytes: np.ndarray
    tokens: np.ndarray
    lost: np.ndarray
    bits: np.ndarray
    losses: list[tuple[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """Return counts and figures of all documents and of each corpus."""
        names = np.array(self.corpora)
        return {
            "total": self._figures(np.ones(len(names), bool)),
            "corpora": {str(name): self._figures(names == name) for name in np.unique(names)},
        }

    def _figures(self, rows: np.ndarray) -> dict[str, float | None]:
        bits, characters, size = self.bits[rows], self.characters[rows], self.bytes[rows]
        ends: dict[str, float | None] = {}
        for unit, sizes in (("byte", size), ("character", characters)):
            low, high = bootstrap_interval(bits, sizes) or (None, None)
            ends |= {
                f"bits_per_{unit}": math.fsum(bits) / int(sizes.sum()),
                f"bits_per_{unit}_low": low,
                f"bits_per_{unit}_high": high,
            }
        return {
            "documents": len(bits),
            "tokens": int(self.tokens[rows].sum()),
            "characters": int(characters.sum()),
            "bytes": int(size.sum()),
            "lost_characters": int(self.lost[rows].sum()),
            "lost_share": int(self.lost[rows].sum()) / int(characters.sum()),
            "bits": math.fsum(bits),
            **ends,
        }


def held_out_texts(
    training_set: TrainingSet, files: list[np.ndarray], tokenizer: TextTokenizer, max_characters: int
) -> list[HeldOutText]:
    """Return the scored held-out documents of a training set under `clean`, decoded from its token files.

    They are all, or the first in hash order up to about `max_characters`; the same ones whatever model is scored.
    Raises TextScoreError if a document is not the text that was counted when it was encoded.
    """
    documents = training_set.held_out_documents()
    texts = []
    for index in first_documents(training_set, documents, max_characters):
        shard, start, length = (int(documents[name][index]) for name in ("shard", "offset", "length"))
        text = tokenizer.decode(files[shard][start : start + length - 1])
        key = int(documents["key"][index])
        require_counted(training_set, documents, int(index), text)
        texts.append(HeldOutText(training_set.token_files[shard].corpus, key, text))
    return texts


def first_documents(training_set: TrainingSet, documents: dict[str, np.ndarray], max_characters: int) -> np.ndarray:
    """Return the indices of the scored held-out documents, in hash order up to about `max_characters`."""
    order = scored_order(training_set, documents)
    lengths = documents["characters"][order]
    first: np.ndarray = order[np.cumsum(lengths) - lengths < max_characters]
    return first


def require_counted(training_set: TrainingSet, documents: dict[str, np.ndarray], index: int, text: str) -> None:
    """Raise TextScoreError unless a text has the size that its held-out document was counted with."""
    expected = (int(documents["characters"][index]), int(documents["bytes"][index]))
    found = (len(text), len(text.encode()))
    if found != expected:
        label = training_set.token_files[int(documents["shard"][index])].label
        raise TextScoreError(
            f"{label}: document {int(documents['key'][index])} has {found[0]:,} characters in {found[1]:,} bytes, "
            f"expected {expected[0]:,} in {expected[1]:,}. Materialize its tokens and training_set again."
        )


def texts_sha256(texts: Sequence[HeldOutText]) -> str:
    """Return the identity of texts: scores on the same ones can be compared."""
    return sha256_value([list(text) for text in texts])


def score_texts(
    model: TextModel,
    texts: Sequence[HeldOutText],
    *,
    window: int,
    batch: int,
    advance: Callable[[int], None] = lambda documents: None,
) -> TextScores:
    """Score texts in windows of `window` tokens, `batch` at once. `advance` receives the numbers of finished documents.

    Raises TextScoreError if more than MAX_LOST_SHARE of the characters do not come back from the tokenizer, or if a
    score is not finite, and what the model raises.
    """
    encoded: list[np.ndarray] = []
    lost: list[int] = []
    losses: Counter[str] = Counter()
    for group in batches(texts, max_size=_BATCH_CHARACTERS, size=lambda text: len(text.text)):
        for text, ids in zip(group, model.encoder.encode([text.text for text in group]), strict=True):
            missing = lost_characters(text.text, model.encoder.decode(ids))
            lost.append(sum(missing.values()))
            losses += missing
            encoded.append(ids)
    characters = sum(len(text.text) for text in texts)
    if sum(lost) > MAX_LOST_SHARE * characters:
        shown = ", ".join(f"{name!r} {count / characters:.2%}" for name, count in losses.most_common(_SHOWN_LOSSES))
        raise TextScoreError(
            f"{sum(lost) / characters:.2%} of the characters of the held-out documents do not come back from the "
            f"tokenizer (most of all {shown}): its bits would be those of another text. At most {MAX_LOST_SHARE:.0%} "
            "may be lost."
        )
    bits: list[float] = []
    for some in batches(encoded, max_size=_BATCH_CHARACTERS, size=len):
        bits += model.bits([np.concatenate(([model.start_id], ids)) for ids in some], window, batch)
        advance(len(some))
    if not np.isfinite(bits).all():
        raise TextScoreError("the model gives a token of the held-out documents no finite probability.")
    return TextScores(
        corpora=[text.corpus for text in texts],
        keys=np.array([text.key for text in texts], np.int64),
        characters=np.array([len(text.text) for text in texts], np.int64),
        bytes=np.array([len(text.text.encode()) for text in texts], np.int64),
        tokens=np.array([len(ids) for ids in encoded], np.int64),
        lost=np.array(lost, np.int64),
        bits=np.array(bits),
        losses=losses.most_common(_SHOWN_LOSSES),
    )


def lost_characters(text: str, back: str) -> Counter[str]:
    """Return the characters of a text that are not in what came back, by their number.

    Characters count wherever they stand. White space counts beside the same character, before or after it: many
    tokenizers put spaces of their own between words.
    """
    if text == back:
        return Counter()
    missing = Counter(_SPACES.sub("", text)) - Counter(_SPACES.sub("", back))
    after, before = (_lost_spaces(text, back, side) for side in (-1, 1))
    return missing + (after & before)


def _lost_spaces(text: str, back: str, side: int) -> Counter[str]:
    """Return the white space of a text that does not come back beside its neighbour on one side, by character."""
    lost = Counter(_spaces(text, side)) - Counter(_spaces(back, side))
    found: Counter[str] = Counter()
    for (space, _), count in lost.items():
        for character in space:
            found[character] += count
    return found


def _spaces(text: str, side: int) -> Iterator[tuple[str, str]]:
    """Yield each run of white space with its neighbour before (-1) or after it (1)."""
    for match in _SPACES.finditer(text):
        neighbour = match.start() - 1 if side < 0 else match.end()
        yield match[0], text[neighbour] if 0 <= neighbour < len(text) else ""
