"""The stages of `jgpt run`: which assets lead to another, in which order, and which runs each of them has."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.output_catalog import TOKENIZER
from jgpt_dagster.errors import JgptError


@dataclass(frozen=True)
class Stage:
    """One asset, and the partition keys of each of its runs (an empty tuple: unpartitioned)."""

    asset: str
    runs: tuple[tuple[str, ...], ...]


def stages_up_to(
    definitions: dg.Definitions, corpora: Sequence[Corpus], dump: str, model: str, until: str
) -> list[Stage]:
    """Return the stages that lead to the asset `until` of a dump and model, in order.

    Raises JgptError if there is no such asset.
    """
    graph = definitions.resolve_asset_graph()
    known = {key.to_user_string(): key for key in graph.toposorted_asset_keys}
    if until not in known:
        raise JgptError(f"There is no asset {until!r}. The assets are: {', '.join(known)}.")
    # The tokenizer tracks no edge to what it is trained on, because a new dump must not make it stale.
    segmented = [corpus.segmented_asset for corpus in corpora]
    wanted = _ancestors(definitions, segmented, until)
    order = [name for name in known if name in wanted]
    # Without these edges, the graph's order may put the tokenizer anywhere before the tokens.
    tokenizer_sources = _ancestors(definitions, segmented, *segmented)
    order.sort(key=lambda name: name not in tokenizer_sources)
    return [Stage(name, _runs_of(definitions, known[name], dump, model)) for name in order]


def _ancestors(definitions: dg.Definitions, tokenizer_sources: Sequence[str], *names: str) -> set[str]:
    """Return the named assets and everything that they are made from, the tokenizer's sources included."""
    graph = definitions.resolve_asset_graph()
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        key = dg.AssetKey(name)
        if name in found or not graph.has(key):
            continue
        found.add(name)
        pending += [parent.to_user_string() for parent in graph.get(key).parent_keys]
        if name == TOKENIZER:
            pending += tokenizer_sources
    return found


def _runs_of(definitions: dg.Definitions, key: dg.AssetKey, dump: str, model: str) -> tuple[tuple[str, ...], ...]:
    node = definitions.resolve_asset_graph().get(key)
    partitions = node.partitions_def
    if partitions is None:
        return ((),)
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        return ((dump,),)
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        if "model" in partitions.partition_dimension_names:
            return ((f"{dump}|{model}",),)
        shards = partitions.get_partitions_def_for_dimension("shard").get_partition_keys()
        return tuple((f"{dump}|{shard}",) for shard in shards)
    keys = tuple(partitions.get_partition_keys())
    policy = node.backfill_policy
    single_run = policy is not None and policy.max_partitions_per_run is None
    return (keys,) if single_run else tuple((key,) for key in keys)
