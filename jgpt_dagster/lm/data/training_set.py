"""The training set: which documents of which token files are for training and which are held out. Copies no tokens.

A training set is a directory of three files. `training_set.json` lists the token files with their hashes, the mixture
and the counts. `train.parquet` lists the training documents as spans of token files, in training order.
`validation.parquet` lists the held-out documents. If some of them have copies in what is trained on, it has a column
`scored` that is false for them, and `held_out_copies.parquet` says which copies; otherwise it has neither.
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
HELD_OUT_COPIES = "held_out_copies.parquet"

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
SCORED = "scored"
HELD_OUT_COPIES_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("key", pa.int64()),
        ("copy_shard", pa.int32()),
        ("copy_key", pa.int64()),
        ("bands", pa.int32()),
        ("repeated_characters", pa.int64()),
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

    Documents with no token except `</s>` are skipped. Of the validation documents, `unscored_documents` have copies in
    what is trained on.
    """

    train_tokens: int = 0
    train_documents: int = 0
    validation_tokens: int = 0
    validation_documents: int = 0
    skipped_documents: int = 0
    unscored_documents: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name; without unscored documents if there are none, as earlier versions wrote them."""
        return {name: value for name, value in asdict(self).items() if value or name != "unscored_documents"}

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
            counted = [name for name in asdict(TrainingSetCounts()) if name in value or name != "unscored_documents"]
            counts = TrainingSetCounts(**{name: value.pop(name) for name in counted})
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
        """Return `shard`, `key`, `offset`, `length` (tokens with `</s>`), `characters` and `bytes` of each document.

        `scored` says which of them have no copy in what is trained on.
        """
        path = self.directory / VALIDATION
        if self.counts.unscored_documents:
            return read_columns(path, [*VALIDATION_SCHEMA.names, SCORED])
        documents = read_columns(path, VALIDATION_SCHEMA.names)
        return {**documents, SCORED: np.ones(len(documents["key"]), bool)}

    def held_out_copies(self) -> dict[str, np.ndarray]:
        """Return the columns of HELD_OUT_COPIES_SCHEMA: for each unscored document one copy, and what they share."""
        if not self.counts.unscored_documents:
            return {name: np.empty(0, np.int64) for name in HELD_OUT_COPIES_SCHEMA.names}
        return read_columns(self.directory / HELD_OUT_COPIES, HELD_OUT_COPIES_SCHEMA.names)

    def write(self) -> None:
        """Write `training_set.json`."""
        value = {**asdict(self), **self.counts.to_dict()}
        write_json(
            self.directory / MANIFEST, {name: value[name] for name in value if name not in ("directory", "counts")}
        )
