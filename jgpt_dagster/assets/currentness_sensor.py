"""`currentness_sensor`: shows in the UI what has become stale or damaged since its check ran."""

import json
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from jgpt_dagster.assets.checks.currentness_checks import (
    IS_CURRENT,
    outcome,
    reasons_of,
    stage_specs,
    written_in_one_run,
)
from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.orchestration.resources import CorpusStore
from jgpt_dagster.orchestration.sensors.described_sensor import described_sensor
from jgpt_dagster.orchestration.sensors.run_requests import skip_on_error
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.hashing import sha256_value

_INTERVAL_SECONDS = 120
_EVENTS = 200


def build_currentness_sensor(assets: Sequence[dg.AssetsDefinition], corpora: Sequence[Corpus]) -> dg.SensorDefinition:
    """Return the sensor, which is on by default: Dagster itself does not look."""
    specs = stage_specs(assets, corpora)

    @described_sensor(minimum_interval_seconds=_INTERVAL_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
    def currentness_sensor(context: dg.SensorEvaluationContext, store: CorpusStore) -> dg.SensorResult | dg.SkipReason:
        """Evaluates `is_current` of every output that has become stale, damaged or current again. Starts nothing."""
        return skip_on_error(lambda: _evaluate(context, store, specs, corpora))

    return currentness_sensor


def _evaluate(
    context: dg.SensorEvaluationContext,
    store: CorpusStore,
    specs: Mapping[str, dg.AssetSpec],
    corpora: Sequence[Corpus],
) -> dg.SensorResult | dg.SkipReason:
    told: dict[str, str] = json.loads(context.cursor or "{}")
    events = list[dg.AssetCheckEvaluation]()
    for evaluation in evaluations(reasons_of(store, specs, [None, *store.root.dumps()]), corpora):
        place = f"{evaluation.asset_key.to_user_string()} {evaluation.partition or ''}"
        state = "" if evaluation.passed else sha256_value(evaluation.description)[:16]
        if told.get(place, "") != state and len(events) < _EVENTS:
            told[place] = state
            events.append(evaluation)
    if not events:
        return dg.SkipReason("Nothing has become stale, damaged or current again.")
    return dg.SensorResult(
        asset_events=events, cursor=json.dumps({place: state for place, state in told.items() if state})
    )


def evaluations(reasons: Mapping[Artifact, str], corpora: Sequence[Corpus]) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the evaluation of `is_current` of each output, or of all outputs of an asset that one run writes."""
    groups: dict[tuple[str, str | None], dict[Artifact, str]] = {}
    for artifact, reason in reasons.items():
        whole = written_in_one_run(artifact.asset, corpora)
        groups.setdefault((artifact.asset, None if whole else artifact.partition or None), {})[artifact] = reason
    for (asset, partition), found in groups.items():
        passed, description = outcome(found)
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(asset),
            check_name=IS_CURRENT,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=description,
            partition=partition,
        )
