"""Building a training set: splits the documents of token files and writes the files of `training_set`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from jgpt_dagster.lm.data.document_split import split_documents
from jgpt_dagster.lm.data.held_out_copies import HeldOutCopy, unscored_keys
from jgpt_dagster.lm.data.integer_tables import IntegerTableWriter, read_column_batches
from jgpt_dagster.lm.data.token_files import DOCUMENTS, DOCUMENTS_SCHEMA
from jgpt_dagster.lm.data.training_set import (
    HELD_OUT_COPIES,
    HELD_OUT_COPIES_SCHEMA,
    SCORED,
    TRAIN,
    TRAIN_SCHEMA,
    VALIDATION,
    VALIDATION_SCHEMA,
    TokenShard,
    TrainingSet,
    TrainingSetCounts,
    TrainingSetError,
)

# Documents that are split together: memory stays below some 30 MB for a shard of any size.
_BATCH_DOCUMENTS = 1 << 18


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
    copies: Sequence[HeldOutCopy] = (),
) -> TrainingSet:
    """Split the documents of all shards into training spans and held-out documents; write the files to `directory`.

    `weights` maps each corpus to the number of times that its training documents occur; see `split_documents`. `copies`
    are the held-out documents that are not scored.

    Raises TrainingSetError if a shard was encoded by another tokenizer or is not of the size stated, a weight is
    missing or negative, the share is not between 0 and 1, or no document is left to train or to validate on.
    """
    _require_valid(shards, weights, validation_share, tokenizer_sha256)
    counts = TrainingSetCounts()
    unscored = unscored_keys(copies)
    # Without copies the files have the bytes of earlier versions.
    validation_schema = VALIDATION_SCHEMA.append(pa.field(SCORED, pa.bool_())) if copies else VALIDATION_SCHEMA
    with (
        IntegerTableWriter(directory / TRAIN, TRAIN_SCHEMA) as train,
        IntegerTableWriter(directory / VALIDATION, validation_schema) as validation,
    ):
        for index, shard in enumerate(shards):
            path = data_root / shard.path / DOCUMENTS
            documents = tokens = 0
            for batch in read_column_batches(path, DOCUMENTS_SCHEMA.names, _BATCH_DOCUMENTS):
                lengths = batch["length"]
                split = split_documents(shard.corpus, batch["key"], lengths, weights[shard.corpus], validation_share)
                for mask in split.train:
                    train.append(_spans(batch, mask, index))
                held_out = {name: values[split.held_out] for name, values in batch.items()}
                scored = ~np.isin(held_out["key"], unscored.get(index, ()))
                validation.append({"shard": np.full(len(scored), index), **held_out, SCORED: scored})
                counts += TrainingSetCounts(
                    train_tokens=sum(int(lengths[mask].sum()) for mask in split.train),
                    train_documents=sum(int(mask.sum()) for mask in split.train),
                    validation_tokens=int(held_out["length"].sum()),
                    validation_documents=len(held_out["key"]),
                    skipped_documents=int(split.empty.sum()),
                    unscored_documents=int((~scored).sum()),
                )
                documents += len(lengths)
                tokens += int(lengths.sum())
            if (documents, tokens) != (shard.documents, shard.tokens):
                raise TrainingSetError(
                    f"{shard.label}: {path} lists {documents:,} documents of {tokens:,} "
                    f"tokens, expected {shard.documents:,} of {shard.tokens:,}. Materialize this shard again."
                )
    _require_both_parts(counts, validation_share)
    if copies:
        with IntegerTableWriter(directory / HELD_OUT_COPIES, HELD_OUT_COPIES_SCHEMA) as table:
            table.append({name: np.array([getattr(copy, name) for copy in copies]) for name in HeldOutCopy._fields})
    result = TrainingSet(
        directory, tuple(shards), dict(weights), validation_share, vocab_size, eos_id, tokenizer_sha256, counts
    )
    result.write()
    return result


def _spans(documents: Mapping[str, np.ndarray], mask: np.ndarray, shard: int) -> dict[str, np.ndarray]:
    """Return the spans that the documents of a mask fill: one per run of neighbours."""
    edges = np.diff(np.concatenate(([0], mask.astype(np.int8), [0])))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    offsets = documents["offset"][first]
    ends = documents["offset"][last] + documents["length"][last]
    return {"shard": np.full(len(first), shard), "offset": offsets, "length": ends - offsets}


def _require_valid(
    shards: Sequence[TokenShard], weights: Mapping[str, float], validation_share: float, tokenizer_sha256: str
) -> None:
    if not 0 < validation_share < 1:
        raise TrainingSetError(f"validation_share is {validation_share}; it must be between 0 and 1, such as 0.001")
    for shard in shards:
        weight = weights.get(shard.corpus)
        if weight is None or not 0 <= weight < math.inf:
            raise TrainingSetError(f"weights[{shard.corpus!r}] is {weight}; every corpus needs a weight of 0 or more")
        if shard.tokenizer_sha256 != tokenizer_sha256:
            raise TrainingSetError(
                f"{shard.label} was made with tokenizer {shard.tokenizer_sha256[:16]}…, but the tokenizer is now "
                f"{tokenizer_sha256[:16]}…. Materialize {shard.label} again."
            )


def _require_both_parts(counts: TrainingSetCounts, share: float) -> None:
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
    if counts.unscored_documents == counts.validation_documents:
        raise TrainingSetError(
            f"each of the {counts.validation_documents:,} documents held out at validation_share={share} has a copy in "
            "what is trained on, so nothing would be scored. Raise validation_share, or leave out the corpus "
            "that repeats another."
        )
