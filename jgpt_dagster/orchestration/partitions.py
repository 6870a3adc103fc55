"""The partition dimensions, dump and shard, and their product, whose keys read `20250801|003`."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import dagster as dg

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.errors import JgptError
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.data_root import shard_names

# Partition definitions belong to the code location, so the number of shards is read when it loads.
dump_partitions = dg.DynamicPartitionsDefinition(name="dump")
shard_partitions = dg.StaticPartitionsDefinition(shard_names(load_settings().shards))
dump_shard_partitions = dg.MultiPartitionsDefinition({"dump": dump_partitions, "shard": shard_partitions})


class ShardKey(NamedTuple):
    """A partition of a sharded asset; `dump` is None for a corpus that all dumps share."""

    dump: str | None
    shard: str


def corpus_partitions(corpus: Corpus) -> dg.PartitionsDefinition:
    """Return the partitions of a corpus's sharded assets."""
    return dump_shard_partitions if corpus.dated else shard_partitions


def shard_key(partition_key: str) -> ShardKey:
    """Split the partition key of a sharded asset. Dagster orders the dimensions by name, so the dump comes first."""
    dump, _, shard = partition_key.rpartition("|")
    return ShardKey(dump or None, shard)


def require_dump_key(date: str) -> None:
    """Raise JgptError unless `date` has the form YYYYMMDD of a dump partition."""
    if not re.fullmatch(r"\d{8}", date):
        raise JgptError(f"{date!r} is not a dump date. Dumps are named by date as YYYYMMDD, such as 20250801.")


def add_dumps(instance: dg.DagsterInstance, dates: Sequence[str]) -> None:
    """Add dump partitions to a Dagster instance, keeping those it has. Raises JgptError for a malformed date."""
    for date in dates:
        require_dump_key(date)
    instance.add_dynamic_partitions("dump", list(dates))


def known_dumps(instance: dg.DagsterInstance) -> list[str]:
    """Return the dump partitions of a Dagster instance, oldest date first (Dagster keeps the order of adding)."""
    return sorted(instance.get_dynamic_partitions("dump"))
