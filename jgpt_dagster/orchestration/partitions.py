"""The partition dimensions dump, shard, model and name, and their products: `20250801|003`, `20250801|tiny`."""

from collections.abc import Sequence
from typing import NamedTuple

import dagster as dg

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.orchestration.told_failure import ToldFailure
from jgpt_dagster.settings import load_settings
from jgpt_dagster.storage.data_root import shard_names
from jgpt_dagster.storage.safe_path import KeyKind, UnsafeNameError, has_form, require_form

# Partition definitions belong to the code location, so the number of shards is read when it loads.
dump_partitions = dg.DynamicPartitionsDefinition(name="dump")
shard_partitions = dg.StaticPartitionsDefinition(shard_names(load_settings().shards))
model_partitions = dg.DynamicPartitionsDefinition(name="model")
dump_shard_partitions = dg.MultiPartitionsDefinition({"dump": dump_partitions, "shard": shard_partitions})
dump_model_partitions = dg.MultiPartitionsDefinition({"dump": dump_partitions, "model": model_partitions})
dump_name_partitions = dg.MultiPartitionsDefinition(
    {"dump": dump_partitions, "name": dg.DynamicPartitionsDefinition(name="name")}
)


_PartitionedContext = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


class ShardKey(NamedTuple):
    """A partition of a sharded asset; `dump` is None for a corpus that all dumps share."""

    dump: str | None
    shard: str


class ModelKey(NamedTuple):
    """A partition of an asset of a model."""

    dump: str
    model: str


class NameKey(NamedTuple):
    """A partition of an asset of a model that is evaluated, under the name that the evaluation has."""

    dump: str
    name: str


def corpus_partitions(corpus: Corpus) -> dg.PartitionsDefinition:
    """Return the partitions of a corpus's sharded assets."""
    return dump_shard_partitions if corpus.dated else shard_partitions


def dump_key(context: _PartitionedContext) -> str:
    """Return the dump that a step makes. Raises ToldFailure for a key that is not of this form.

    Dagster itself takes any text, from the Launchpad and from a run's tags, and the key becomes part of paths.
    """
    return _checked("dump", context.partition_key)


def shard_key(context: _PartitionedContext, corpus: Corpus) -> ShardKey:
    """Return the shard that a step makes. Raises ToldFailure for a key that is not of the corpus's form.

    Dagster orders the dimensions of a key by name, so the dump comes first.
    """
    if not corpus.dated:
        return ShardKey(None, _checked("shard", context.partition_key))
    dump, _, shard = context.partition_key.partition("|")
    return ShardKey(_checked("dump", dump), _checked("shard", shard))


def model_key(context: _PartitionedContext) -> ModelKey:
    """Return the model that a step makes. Raises ToldFailure for a key that is not of this form."""
    dump, _, model = context.partition_key.partition("|")
    return ModelKey(_checked("dump", dump), _checked("model", model))


def name_key(context: _PartitionedContext) -> NameKey:
    """Return the evaluation that a step makes. Raises ToldFailure for a key that is not of this form."""
    dump, _, name = context.partition_key.partition("|")
    return NameKey(_checked("dump", dump), _checked("name", name))


def shard_keys(context: _PartitionedContext) -> list[str]:
    """Return the shards that a step makes, in order. Raises ToldFailure for a key that is not of this form."""
    return sorted(_checked("shard", key) for key in context.partition_keys)


def partition_label(context: _PartitionedContext, partitions: dg.PartitionsDefinition | None) -> str:
    """Return the partition that a step is about as labels have it; empty if its asset has none, or the step has many.

    Raises ToldFailure for a key that is not of the form of these partitions.
    """
    if partitions is None:
        if context.has_partition_key or context.has_partition_key_range:
            shard_keys(context)
        return ""
    if partitions is dump_partitions:
        return dump_key(context)
    if partitions is dump_model_partitions:
        return "|".join(model_key(context))
    if partitions is dump_shard_partitions:
        dump, _, shard = context.partition_key.partition("|")
        return f"{_checked('dump', dump)}|{_checked('shard', shard)}"
    return _checked("shard", context.partition_key)


def _checked(kind: KeyKind, key: str) -> str:
    try:
        return require_form(kind, key)
    except UnsafeNameError as error:
        raise ToldFailure(str(error)) from None


def add_dumps(instance: dg.DagsterInstance, dates: Sequence[str]) -> None:
    """Add dump partitions to a Dagster instance, keeping those it has. Raises UnsafeNameError for a malformed date."""
    for date in dates:
        require_form("dump", date)
    instance.add_dynamic_partitions("dump", list(dates))


def add_model(instance: dg.DagsterInstance, model: str) -> None:
    """Add the partition of a model to a Dagster instance. Raises UnsafeNameError for a malformed name."""
    instance.add_dynamic_partitions("model", [require_form("model", model)])


def add_name(instance: dg.DagsterInstance, name: str) -> None:
    """Add the partition of an evaluated model to a Dagster instance. Raises UnsafeNameError for a malformed name."""
    instance.add_dynamic_partitions("name", [require_form("name", name)])


def known_dumps(instance: dg.DagsterInstance) -> list[str]:
    """Return the dump partitions of a Dagster instance, oldest date first (Dagster keeps the order of adding).

    The UI lets anyone add a partition of another form; nothing works on such a one.
    """
    return sorted(dump for dump in instance.get_dynamic_partitions("dump") if has_form("dump", dump))
