"""The decorator of every asset: queue, pool and GPU tags follow from the asset's name, and its failures are told."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from jgpt_dagster.catalog.output_catalog import GPU_ASSETS
from jgpt_dagster.orchestration.run_config import told_config
from jgpt_dagster.orchestration.told_failure import told_function

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
    decorate = dg.asset(
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
    return lambda function: decorate(_told(name, function))


def _told(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of an asset whose runs fail with their cause alone, wrong run config included."""
    telling, signature = told_function(function), inspect.signature(function)
    if parameter := signature.parameters.get("config"):
        told = parameter.replace(annotation=told_config(name, parameter.annotation))
        parameters = {**signature.parameters, "config": told}
        telling.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
        telling.__annotations__ = {**function.__annotations__, "config": told.annotation}
    return telling
