"""The training set: which documents of which token files are trained on and which are held out. Copies no tokens.

A training set is a directory of three files: `training_set.json` lists the token files with their hashes, the mixture
and the counts; `train.parquet` what is trained on, as spans of token files in training order; `validation.parquet` the
held-out documents.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.integer_tables import ColumnWriter, column_chunks, read_columns
from jgpt_dagster.lm.data.token_files import DOCUMENTS, TOKENS, map_tokens
from jgpt_dagster.storage.atomic_write import write_json

MANIFEST = "training_set.json"
TRAIN = "train.parquet"
VALIDATION = "validation.parquet"

_TRAIN_SCHEMA = pa.schema([("shard", pa.int32()), ("offset", pa.int64()), ("length", pa.int64())])
_VALIDATION_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("key", pa.int64()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("characters", pa.int64()),
        ("bytes", pa.int64()),
    ]
)
_DOCUMENT_COLUMNS = ("key", "offset", "length", "characters", "bytes")
# Documents looked at together; bounds memory at some 30 MB whatever the size of a shard.
_CHUNK = 1 << 18


class TrainingSetError(JgptError):
    """Token files, mixture and share that do not make a training set, or a training set that is missing or damaged."""


@dataclass(frozen=True)
class TokenShard:
    """One shard of token files.

    `label` is its name in messages, `path` its directory relative to the data root, `sha256` the hash of its
    `tokens.bin`, and `tokenizer_sha256` the identity of the tokenizer that made it.
    """

    corpus: str
    label: str
    path: str
    tokens: int
    documents: int
    sha256: str
    tokenizer_sha256: str


@dataclass(frozen=True)
class Counts:
    """What a training set holds; a document that the mixture repeats counts each time.

    Documents that are empty but for `</s>` are skipped.
    """

    train_tokens: int = 0
    train_documents: int = 0
    validation_tokens: int = 0
    validation_documents: int = 0
    skipped_documents: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: value + getattr(other, name) for name, value in asdict(self).items()})


@dataclass(frozen=True)
class TrainingSet:
    """What `training_set.json` says, and the way to the spans, held-out documents and tokens."""

    directory: Path
    token_files: tuple[TokenShard, ...]
    weights: Mapping[str, float]
    validation_share: float
    vocab_size: int
    eos_id: int
    tokenizer_sha256: str
    counts: Counts

    @classmethod
    def open(cls, directory: Path) -> "TrainingSet":
        """Read a training set's manifest. Raises TrainingSetError where it is missing or is not one."""
        path = directory / MANIFEST
        try:
            value = json.loads(path.read_text())
            files = tuple(TokenShard(**entry) for entry in value.pop("token_files"))
            counts = Counts(**{name: value.pop(name) for name in asdict(Counts())})
            return cls(directory=directory, token_files=files, counts=counts, **value)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingSetError(
                f"{path} is not a training set ({error}). Materialize training_set again."
            ) from error

    def open_tokens(self, data_root: Path) -> list[np.ndarray]:
        """Memory-map the token files (uint16); their index is `shard` in both tables. Raises TokenFileError."""
        return [map_tokens(data_root / file.path / TOKENS, file.tokens) for file in self.token_files]

    def train_spans(self) -> dict[str, np.ndarray]:
        """Return `shard` (int32), `offset` and `length` (int64, in tokens) of every span, in training order."""
        return read_columns(self.directory / TRAIN, _TRAIN_SCHEMA.names)

    def held_out_documents(self) -> dict[str, np.ndarray]:
        """Return `shard`, `key`, `offset`, `length` (tokens, `</s>` too), `characters` and `bytes` of each document."""
        return read_columns(self.directory / VALIDATION, _VALIDATION_SCHEMA.names)

    def write(self) -> None:
        """Write `training_set.json`."""
        value = {**asdict(self), **asdict(self.counts)}
        write_json(
            self.directory / MANIFEST, {name: value[name] for name in value if name not in ("directory", "counts")}
        )


def build_training_set(
    shards: Sequence[TokenShard],
    weights: Mapping[str, float],
    validation_share: float,
    *,
    vocab_size: int,
    eos_id: int,
    tokenizer_sha256: str,
    data_root: Path,
    directory: Path,
) -> TrainingSet:
    """Divide the documents of all shards into training spans and held-out documents; write the files to `directory`.

    A corpus of weight w gives each training document floor(w) times, and once more those that a hash of their key picks
    with probability w - floor(w). Held-out documents do not depend on the weights.

    Raises TrainingSetError where a shard was made by another tokenizer or is not what it should be, a weight is missing
    or negative, the share is not between 0 and 1, or nothing is left to train or to validate on.
    """
    _check(shards, weights, validation_share, tokenizer_sha256)
    counts = Counts()
    with (
        ColumnWriter(directory / TRAIN, _TRAIN_SCHEMA) as train,
        ColumnWriter(directory / VALIDATION, _VALIDATION_SCHEMA) as validation,
    ):
        for index, shard in enumerate(shards):
            documents = tokens = 0
            for chunk in column_chunks(data_root / shard.path / DOCUMENTS, _DOCUMENT_COLUMNS, _CHUNK):
                counts += _divide(
                    chunk, index, shard.corpus, weights[shard.corpus], validation_share, train, validation
                )
                documents += len(chunk["key"])
                tokens += int(chunk["length"].sum())
            if (documents, tokens) != (shard.documents, shard.tokens):
                raise TrainingSetError(
                    f"{shard.label}: {data_root / shard.path / DOCUMENTS} lists {documents:,} documents of {tokens:,} "
                    f"tokens, expected {shard.documents:,} of {shard.tokens:,}. Materialize this shard again."
                )
    _require_both_parts(counts, validation_share)
    result = TrainingSet(
        directory, tuple(shards), dict(weights), validation_share, vocab_size, eos_id, tokenizer_sha256, counts
    )
    result.write()
    return result


def held_out(corpus: str, key: int, share: float) -> bool:
    """Say whether a document is held out of training: the same answer in every dump, shard layout and mixture.

    `key` is the page id or document id. The share holds for documents, on average.
    """
    return bool(_document_hashes(corpus, np.array([key])).split[0] < _threshold(share))


class _Hashes(NamedTuple):
    split: np.ndarray
    mixture: np.ndarray


def _document_hashes(corpus: str, keys: np.ndarray) -> _Hashes:
    """Return two independent uint64 a document: one decides whether it is held out, one whether it is repeated."""
    digests = b"".join([blake2b(b"%s %d" % (corpus.encode(), key), digest_size=16).digest() for key in keys.tolist()])
    columns = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return _Hashes(columns[:, 0], columns[:, 1])


def _threshold(share: float) -> np.uint64:
    """Return the number below which a share (0 <= share < 1) of all uint64 lies."""
    return np.uint64(int(share * 2**64))


def _divide(
    documents: Mapping[str, np.ndarray],
    shard: int,
    corpus: str,
    weight: float,
    validation_share: float,
    train: ColumnWriter,
    validation: ColumnWriter,
) -> Counts:
    """Append the documents of one portion of a shard to the table they belong to, and count them."""
    hashes = _document_hashes(corpus, documents["key"])
    lengths = documents["length"]
    filled = lengths > 1
    held = filled & (hashes.split < _threshold(validation_share))
    trained = filled & ~held
    train_tokens = train_documents = 0
    fraction, whole = math.modf(weight)
    for kept in [trained] * int(whole) + [trained & (hashes.mixture < _threshold(fraction))]:
        first, last = _runs(kept)
        offsets = documents["offset"][first]
        ends = documents["offset"][last] + lengths[last]
        train.append({"shard": np.full(len(first), shard), "offset": offsets, "length": ends - offsets})
        train_tokens += int(lengths[kept].sum())
        train_documents += int(kept.sum())
    columns = {name: values[held] for name, values in documents.items()}
    validation.append({"shard": np.full(int(held.sum()), shard), **columns})
    return Counts(train_tokens, train_documents, int(lengths[held].sum()), int(held.sum()), int((~filled).sum()))


def _runs(kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last index of every run of neighbours that are kept."""
    edges = np.diff(np.concatenate(([0], kept.astype(np.int8), [0])))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


def _check(
    shards: Sequence[TokenShard], weights: Mapping[str, float], validation_share: float, tokenizer_sha256: str
) -> None:
    if not 0 < validation_share < 1:
        raise TrainingSetError(f"validation_share is {validation_share}; it must lie between 0 and 1, such as 0.001")
    for shard in shards:
        weight = weights.get(shard.corpus)
        if weight is None or not 0 <= weight < math.inf:
            raise TrainingSetError(f"weights[{shard.corpus!r}] is {weight}; every corpus needs a weight of 0 or more")
        if shard.tokenizer_sha256 != tokenizer_sha256:
            raise TrainingSetError(
                f"{shard.label} was made with tokenizer {shard.tokenizer_sha256[:16]}…, but the tokenizer is now "
                f"{tokenizer_sha256[:16]}…. Materialize {shard.label} again."
            )


def _require_both_parts(counts: Counts, share: float) -> None:
    documents = counts.train_documents + counts.validation_documents
    if not counts.train_documents:
        raise TrainingSetError(
            f"no document is left to train on: {counts.validation_documents:,} are held out at "
            f"validation_share={share} and {counts.skipped_documents:,} are empty. "
            "Lower validation_share, raise a weight or select more shards."
        )
    if not counts.validation_documents:
        raise TrainingSetError(
            f"none of {documents:,} documents is held out at validation_share={share}. "
            f"Raise it, for example to {min(0.5, max(share * 2, 20 / documents)):.4f}."
        )
