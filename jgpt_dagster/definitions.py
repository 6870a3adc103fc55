"""The one Definitions object: assets, checks, sensors and what they are handed."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from jgpt_dagster import checks
from jgpt_dagster.alerts import build_alerts
from jgpt_dagster.assets import (
    cc100,
    evaluation,
    plan,
    pretrained_model,
    release,
    segmented,
    tokenizer,
    training_set,
    wikipedia,
)
from jgpt_dagster.automation import build_sensors
from jgpt_dagster.resources import CorpusStore, Mirror, SegmenterResource, TrainingLauncher
from jgpt_dagster.settings import Settings, load_settings

_SHARED_MODULES = (segmented, tokenizer, training_set, plan, pretrained_model, evaluation, release)


def build_definitions(settings: Settings, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions of a deployment; `resources` replaces resources by name, for tests.

    Without a CC-100 URL the graph trains on Wikipedia alone and has no `cc100_*` assets.
    """
    with_cc100 = "cc100" in settings.corpora
    modules = [wikipedia, *([cc100] if with_cc100 else []), *_SHARED_MODULES]
    assets = [
        asset
        for asset in dg.load_assets_from_modules(modules)
        if isinstance(asset, dg.AssetsDefinition) and (with_cc100 or not asset.key.to_user_string().startswith("cc100"))
    ]
    known = {key for asset in assets for key in asset.keys}
    asset_checks = [
        check
        for check in dg.load_asset_checks_from_modules([checks])
        if {key.asset_key for key in check.check_keys} <= known
    ]
    owned = dg.map_asset_specs(lambda spec: spec.replace_attributes(owners=[settings.owner]), assets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # the links to the code; their form may change
        linked = dg.with_source_code_references(owned)
    return dg.Definitions(
        assets=linked,
        asset_checks=asset_checks,
        sensors=[*build_sensors(settings), *build_alerts(settings)],
        # A stage is one step that runs in the run's own process; parallel work is parallel runs.
        executor=dg.in_process_executor,
        resources={
            "store": CorpusStore.of(settings),
            "mirror": Mirror(dumps_url=settings.dumps_url, cc100_url=settings.cc100_url),
            "segmenter": SegmenterResource(engine=settings.segmenter),
            "launcher": TrainingLauncher.of(settings),
            **(resources or {}),
        },
    )


def code_versions(definitions: dg.Definitions) -> dict[str, str]:
    """Return the version of the code of each asset."""
    graph = definitions.resolve_asset_graph()
    versions = {key.to_user_string(): graph.get(key).code_version for key in graph.toposorted_asset_keys}
    return {asset: version for asset, version in versions.items() if version}


defs = build_definitions(load_settings())
