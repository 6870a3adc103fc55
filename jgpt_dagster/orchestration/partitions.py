"""The two partition dimensions, dump and shard, and their product. A key of the product reads `20250801|003`."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import dagster as dg

from jgpt_dagster.errors import JgptError
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.data_root import shard_names

# Partition definitions are part of the code location, so the number of shards is read when it loads.
dump_partitions = dg.DynamicPartitionsDefinition(name="dump")
shard_partitions = dg.StaticPartitionsDefinition(shard_names(load_settings().shards))
dump_shard_partitions = dg.MultiPartitionsDefinition({"dump": dump_partitions, "shard": shard_partitions})


class DumpShard(NamedTuple):
    """The parts of a key of `dump_shard_partitions`."""

    dump: str
    shard: str


def dump_and_shard(partition_key: str) -> DumpShard:
    """Split a key of the product; Dagster orders its dimensions by name, so the dump comes first."""
    dump, shard = partition_key.split("|")
    return DumpShard(dump, shard)


def require_dump_key(date: str) -> None:
    """Raise JgptError unless `date` has the form YYYYMMDD that dump partitions have."""
    if not re.fullmatch(r"\d{8}", date):
        raise JgptError(f"{date!r} is no dump date. A dump is named by its date as YYYYMMDD, such as 20250801.")


def add_dumps(instance: dg.DagsterInstance, dates: Sequence[str]) -> None:
    """Add dump partitions to a Dagster instance; those that are there already stay. Raises JgptError for a bad date."""
    for date in dates:
        require_dump_key(date)
    instance.add_dynamic_partitions("dump", list(dates))


def known_dumps(instance: dg.DagsterInstance) -> list[str]:
    """Return the dump partitions of a Dagster instance, oldest date first (Dagster keeps the order of adding)."""
    return sorted(instance.get_dynamic_partitions("dump"))
