"""The decorator of every asset: queue, pool and GPU tags follow from the asset's name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from jgpt_dagster.catalog.output_catalog import GPU_ASSETS

# Each executor reads its own tags only, so all of them can be set. The pool keeps a second GPU run waiting.
CPU_TAGS: dict[str, Any] = {"dagster-celery/queue": "cpu"}
GPU_TAGS: dict[str, Any] = {
    "dagster-celery/queue": "gpu",
    "dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "8"}}}},
}
_GPU_POOL = "gpu"


def stage_asset(
    name: str,
    *,
    group: str,
    kinds: set[str],
    code_version: str,
    partitions: dg.PartitionsDefinition | None = None,
    deps: Sequence[str | dg.AssetDep] = (),
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Return the decorator of one asset; the description is the function's docstring unless given."""
    gpu = name in GPU_ASSETS
    return dg.asset(
        name=name,
        group_name=group,
        kinds=kinds,
        code_version=code_version,
        partitions_def=partitions,
        deps=deps,
        description=description,
        metadata=metadata,
        backfill_policy=backfill_policy,
        op_tags=GPU_TAGS if gpu else CPU_TAGS,
        pool=_GPU_POOL if gpu else None,
    )
