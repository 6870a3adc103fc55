"""The one Definitions object: assets, checks, sensors and what they are handed."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from jgpt_dagster.assets import (
    cc100,
    checks,
    evaluation,
    pretrained_model,
    release,
    segmented,
    tokenizer,
    training_plan,
    training_set,
    wikipedia,
)
from jgpt_dagster.assets.folder_corpus import build_folder_documents
from jgpt_dagster.orchestration.failure_webhook import build_alerts
from jgpt_dagster.orchestration.resources import CorpusStore, Mirror, SegmenterResource, TrainingLauncher
from jgpt_dagster.orchestration.sensors import build_sensors
from jgpt_dagster.settings import Settings, load_settings

_MODULES = (wikipedia, segmented, tokenizer, training_set, training_plan, pretrained_model, evaluation, release)


def build_definitions(settings: Settings, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions of a deployment; `resources` replaces resources by name, for tests.

    Without a CC-100 URL the graph has no `cc100_*` assets; each folder of the settings adds a corpus.
    """
    undated = [corpus for corpus in settings.corpora if corpus != "wikipedia"]
    assets: list[Any] = [
        *dg.load_assets_from_modules([*([cc100] if "cc100" in undated else []), *_MODULES]),
        *(build_folder_documents(corpus) for corpus in settings.folders),
        *(build(corpus) for corpus in undated for build in (segmented.build_segmented, training_set.build_tokens)),
        training_set.build_training_set_asset(undated),
    ]
    asset_checks = [
        *dg.load_asset_checks_from_modules([checks]),
        *(check for corpus in undated for check in checks.build_corpus_checks(corpus)),
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
