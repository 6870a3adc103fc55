"""The training set: which documents of which token files are for training and which are held out. Copies no tokens.

A training set is a directory of three files. `training_set.json` lists the token files with their hashes, the mixture
and the counts. `train.parquet` lists the training documents as spans of token files, in training order.
`validation.parquet` lists the held-out documents.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.data.integer_tables import read_columns
from jgpt_dagster.lm.data.token_files import TOKENS, map_tokens
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.safe_path import child_path

MANIFEST = "training_set.json"
TRAIN = "train.parquet"
VALIDATION = "validation.parquet"

TRAIN_SCHEMA = pa.schema([("shard", pa.int32()), ("offset", pa.int64()), ("length", pa.int64())])
VALIDATION_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("key", pa.int64()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("characters", pa.int64()),
        ("bytes", pa.int64()),
    ]
)


class TrainingSetError(JgptError):
    """Token files or settings that do not make a training set, or a training set that is missing or damaged."""


@dataclass(frozen=True)
class TokenShard:
    """The token file of a shard.

    `label` is its name in messages, `path` its directory relative to the data root, `sha256` the hash of its
    `tokens.bin`, and `tokenizer_sha256` the identity of the tokenizer that encoded it.
    """

    corpus: str
    label: str
    path: str
    tokens: int
    documents: int
    sha256: str
    tokenizer_sha256: str


@dataclass(frozen=True)
class TrainingSetCounts:
    """The size of a training set. A document that the mixture repeats counts each time.

    Documents with no token except `</s>` are skipped.
    """

    train_tokens: int = 0
    train_documents: int = 0
    validation_tokens: int = 0
    validation_documents: int = 0
    skipped_documents: int = 0

    def __add__(self, other: "TrainingSetCounts") -> "TrainingSetCounts":
        return TrainingSetCounts(**{name: value + getattr(other, name) for name, value in asdict(self).items()})


@dataclass(frozen=True)
class TrainingSet:
    """The contents of `training_set.json`, with access to spans, held-out documents and tokens."""

    directory: Path
    token_files: tuple[TokenShard, ...]
    weights: Mapping[str, float]
    validation_share: float
    vocab_size: int
    eos_id: int
    tokenizer_sha256: str
    counts: TrainingSetCounts

    @classmethod
    def open(cls, directory: Path) -> "TrainingSet":
        """Read a training set's manifest. Raises TrainingSetError if it is missing or damaged."""
        path = directory / MANIFEST
        try:
            value = json.loads(path.read_text())
            files = tuple(TokenShard(**entry) for entry in value.pop("token_files"))
            counts = TrainingSetCounts(**{name: value.pop(name) for name in asdict(TrainingSetCounts())})
            return cls(directory=directory, token_files=files, counts=counts, **value)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingSetError(
                f"{path} is not a training set ({error}). Materialize training_set again."
            ) from error

    def open_tokens(self, data_root: Path) -> list[np.ndarray]:
        """Memory-map the token files (uint16), in the order of `shard` in both tables.

        Raises TokenFileError, and UnsafeNameError for a path that leads out of the data root.
        """
        return [
            map_tokens(child_path(data_root, *file.path.split("/"), TOKENS), file.tokens) for file in self.token_files
        ]

    def train_spans(self) -> dict[str, np.ndarray]:
        """Return `shard` (int32), `offset` and `length` (int64, in tokens) of every span, in training order."""
        return read_columns(self.directory / TRAIN, TRAIN_SCHEMA.names)

    def held_out_documents(self) -> dict[str, np.ndarray]:
        """Return `shard`, `key`, `offset`, `length` (tokens with `</s>`), `characters` and `bytes` of each document."""
        return read_columns(self.directory / VALIDATION, VALIDATION_SCHEMA.names)

    def write(self) -> None:
        """Write `training_set.json`."""
        value = {**asdict(self), **asdict(self.counts)}
        write_json(
            self.directory / MANIFEST, {name: value[name] for name in value if name not in ("directory", "counts")}
        )
