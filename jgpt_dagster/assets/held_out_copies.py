"""Which held-out documents of a training set have copies in what it trains on, by the signatures of all corpora."""

from collections.abc import Mapping, Sequence

import dagster as dg

from jgpt_dagster.assets.document_signatures import map_for, signatures_of_text
from jgpt_dagster.catalog.output_catalog import TRAINING_SET
from jgpt_dagster.lm.data.held_out_copies import HeldOutCopy, SignedShard, find_held_out_copies
from jgpt_dagster.lm.data.training_set import TokenShard
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.storage.safe_path import child_path, require_form
from jgpt_dagster.storage.scratch_directory import scratch_directory

# Rarely more, and a wrong guess only starts worker processes too early or too late.
_BYTES_PER_TOKEN = 4


def held_out_copies(
    context: dg.AssetExecutionContext,
    store: CorpusStore,
    dump: str,
    shards: Sequence[TokenShard],
    weights: Mapping[str, float],
    validation_share: float,
) -> list[HeldOutCopy]:
    """Return the held-out documents that have copies among the training documents of a dump's corpora.

    `shards` are those of all corpora, in the order of the store.
    """
    folder_of = child_path(store.scratch_path, TRAINING_SET, f"dump={require_form('dump', dump)}")
    text_bytes = _BYTES_PER_TOKEN * sum(shard.tokens for shard in shards)
    with (
        map_for(store, text_bytes) as ordered_map,
        scratch_directory(folder_of, "the comparison of held-out documents") as folder,
    ):
        tables = signatures_of_text(context, store, dump, ordered_map)
        signed = [
            SignedShard(shard, store.root.path / shard.path, table.path, weights[shard.corpus])
            for shard, table in zip(shards, tables, strict=True)
        ]
        return list(find_held_out_copies(signed, validation_share, folder, ordered_map))
