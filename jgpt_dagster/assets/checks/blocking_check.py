"""The decorator of every blocking check, which records beside the output what it found."""

from collections.abc import Callable, Sequence
from functools import wraps

import dagster as dg

from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.told_failure import told_function
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.verdict import record_verdict

CheckFunction = Callable[[dg.AssetCheckExecutionContext, CorpusStore], dg.AssetCheckResult]


def blocking_check(
    asset: str,
    outputs: Callable[[dg.AssetCheckExecutionContext, CorpusStore], Sequence[Artifact]],
    *,
    name: str | None = None,
    partitions: dg.PartitionsDefinition | None = None,
    description: str | None = None,
) -> Callable[[CheckFunction], dg.AssetChecksDefinition]:
    """Return the decorator of a check of `asset`, whose verdict is on the outputs that `outputs` returns."""

    def decorate(function: CheckFunction) -> dg.AssetChecksDefinition:
        check = name or function.__name__

        @wraps(function)
        def recorded(context: dg.AssetCheckExecutionContext, store: CorpusStore) -> dg.AssetCheckResult:
            found = function(context, store)
            for output in outputs(context, store):
                record_verdict(output, check, found.passed, found.description or "")
            return found

        return dg.asset_check(
            asset=asset, name=check, partitions_def=partitions, blocking=True, description=description
        )(told_function(recorded))

    return decorate
