"""The one Definitions object: assets, checks, sensors and resources of a deployment."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from jgpt_dagster.assets.archive_download import build_archive_download
from jgpt_dagster.assets.checks import build_checks
from jgpt_dagster.assets.checks.currentness_checks import build_currentness_checks
from jgpt_dagster.assets.checks.freshness_check import build_freshness_check
from jgpt_dagster.assets.currentness_sensor import build_currentness_sensor
from jgpt_dagster.assets.documents import build_documents
from jgpt_dagster.assets.evaluation import evaluation
from jgpt_dagster.assets.foreign_evaluation import foreign_evaluation
from jgpt_dagster.assets.graph_jobs import build_jobs, build_schedules
from jgpt_dagster.assets.launchpad import with_values_of_root
from jgpt_dagster.assets.pretrained_model import pretrained_model
from jgpt_dagster.assets.release import release
from jgpt_dagster.assets.segmented_text import build_segmented
from jgpt_dagster.assets.span_index import build_span_index
from jgpt_dagster.assets.task_evaluation import task_evaluation
from jgpt_dagster.assets.tokenizer import tokenizer
from jgpt_dagster.assets.tokens import build_tokens
from jgpt_dagster.assets.training_plan import plan
from jgpt_dagster.assets.training_set import build_training_set_asset
from jgpt_dagster.assets.wikipedia_articles import build_wikipedia_articles
from jgpt_dagster.assets.wikipedia_dump import build_wikipedia_dump
from jgpt_dagster.assets.word_counts import build_word_counts
from jgpt_dagster.catalog.corpora import Archive, Corpus, WikiDumps
from jgpt_dagster.orchestration.failure_webhook import build_failure_sensors
from jgpt_dagster.orchestration.resources import (
    CorpusStore,
    Mirror,
    SegmenterResource,
    TrainingLauncher,
    fixed_resource,
)
from jgpt_dagster.orchestration.sensors import build_sensors
from jgpt_dagster.settings import Settings, load_settings


def build_definitions(settings: Settings, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions of a deployment; `resources` replaces resources by name, for tests."""
    corpora = settings.corpora
    assets = [
        *(asset for corpus in corpora for asset in _corpus_assets(corpus)),
        tokenizer,
        build_training_set_asset(corpora),
        plan,
        pretrained_model,
        evaluation,
        foreign_evaluation,
        task_evaluation,
        release,
    ]
    shown = [with_values_of_root(asset, settings) for asset in assets]
    owned = dg.map_asset_specs(lambda spec: spec.replace_attributes(owners=[settings.owner]), shown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # links to the source code, whose form may change
        linked = dg.with_source_code_references(owned)
    jobs = build_jobs(settings, load_definitions)
    return dg.Definitions(
        assets=linked,
        jobs=jobs,
        schedules=build_schedules(jobs),
        asset_checks=[
            *build_checks(corpora),
            *build_currentness_checks(assets, corpora),
            *(build_freshness_check(corpus, refresh=settings.refresh == "on") for corpus in corpora if corpus.dated),
        ],
        sensors=[*build_sensors(settings), build_currentness_sensor(assets, corpora), *build_failure_sensors(settings)],
        # A stage is one step in the run's own process; parallel work is parallel runs.
        executor=dg.in_process_executor,
        resources={
            "store": fixed_resource(CorpusStore.of(settings)),
            "mirror": fixed_resource(Mirror(dumps_url=settings.dumps_url)),
            "segmenter": fixed_resource(SegmenterResource(engine=settings.segmenter)),
            "launcher": fixed_resource(TrainingLauncher.of(settings)),
            **(resources or {}),
        },
    )


def _corpus_assets(corpus: Corpus) -> list[dg.AssetsDefinition]:
    """Return the assets of a corpus, from its source to its tokens."""
    match corpus.source:
        case WikiDumps():
            text = [build_wikipedia_dump(corpus), build_wikipedia_articles(corpus)]
        case Archive() as archive:
            text = [build_archive_download(corpus, archive), build_documents(corpus)]
        case _:
            text = [build_documents(corpus)]
    made_on_demand = [build_word_counts(corpus), build_span_index(corpus)]
    return [*text, build_segmented(corpus), build_tokens(corpus), *made_on_demand]


def code_versions(definitions: dg.Definitions) -> dict[str, str]:
    """Return the code version of each asset."""
    graph = definitions.resolve_asset_graph()
    versions = {key.to_user_string(): graph.get(key).code_version for key in graph.toposorted_asset_keys}
    return {asset: version for asset, version in versions.items() if version}


def load_definitions() -> dg.Definitions:
    """Return the definitions of this process's environment; a function that worker processes can be told to call."""
    return defs


defs = build_definitions(load_settings())
