"""Nothing that failed its checks is built on: not by sensors, and not by hand unless asked for, which the card says."""

from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.catalog.missing_work import missing_model_work, missing_work
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.orchestration.partitions import add_dumps, add_model
from jgpt_dagster.orchestration.worker_process import execute_run
from jgpt_dagster.settings import Settings
from jgpt_dagster.storage.artifact import Artifact
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.directory_artifact import DirectoryArtifact
from jgpt_dagster.storage.sealed_json import read_sealed_json
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment

pytestmark = pytest.mark.slow

KEY = f"{DUMP}|tiny"


@pytest.fixture
def deployment(finished: Deployment, tmp_path: Path) -> Deployment:
    return finished.copy(tmp_path / "data")


def settings_of(deployment: Deployment) -> Settings:
    values = {name.lower(): value for name, value in deployment.settings.items()}
    return Settings.model_validate({"data": deployment.data, "scratch": None, **values})


def fail(artifact: Artifact, check: str) -> None:
    """Let a check of an output have failed."""
    verdicts = read_sealed_json(artifact.verdicts_path.read_bytes())
    verdicts[check] |= {"passed": False, "description": "loss 5 at first, 99 at last"}
    artifact.verdicts_path.unlink()
    write_json(artifact.verdicts_path, verdicts)


def test_a_finished_deployment_leaves_nothing_to_do(deployment: Deployment) -> None:
    catalog = settings_of(deployment).catalog
    assert missing_work(catalog, DUMP) == [] and missing_model_work(catalog, DUMP) is None


def test_a_model_that_failed_its_check_is_shown_and_not_released(deployment: Deployment) -> None:
    model = deployment.root.directory("pretrained_model", DUMP, model="tiny")
    release = deployment.root.directory("release", DUMP, model="tiny")
    fail(model, "loss_fell")
    status = deployment.invoke("status", "--dump", DUMP)
    assert "pretrained_model     failed" in status and "check loss_fell failed: loss 5 at first, 99 at last" in status
    refused = deployment.materialize("release", KEY).error
    assert refused is not None and "check loss_fell failed" in refused and "--unchecked" in refused
    made = deployment.materialize("release", KEY, unchecked=True)
    assert made.error is None
    card = (release.path / "README.md").read_text()
    assert "**Released unchecked.**" in card and "loss 5 at first, 99 at last" in card
    assert not release.run_record()["checks"]["pretrained_model"]["loss_fell"]["passed"]


def test_a_model_is_not_released_if_the_text_that_it_is_made_of_failed_a_check(deployment: Deployment) -> None:
    fail(deployment.root.parquet("wikipedia_articles", DUMP, "001"), "pages_add_up")
    fail(deployment.root.directory("training_set", DUMP), "documents_add_up")
    refused = deployment.materialize("release", KEY).error
    assert refused is not None and "release 20260101|tiny is not made" in refused
    assert "training_set 20260101: check documents_add_up failed" in refused
    assert "wikipedia_articles 20260101|001: check pages_add_up failed" in refused


def test_what_was_made_before_verdicts_were_recorded_is_checked_and_not_made_again(deployment: Deployment) -> None:
    before = deployment.mtimes()
    for path in deployment.data.rglob("*checks.json"):
        path.unlink()
    catalog = settings_of(deployment).catalog
    assert [work.name for work in missing_work(catalog, DUMP)] == [f"training_set {DUMP}"]
    assert missing_model_work(catalog, DUMP) is None, "its training set comes first"
    assert "pretrained_model     unchecked" in deployment.invoke("status", "--dump", DUMP)
    assert deployment.materialize("training_set", DUMP, **SMALL_RUN["training_set"]).error is None
    work = missing_model_work(catalog, DUMP)
    assert work is not None and work.assets == ["pretrained_model", "evaluation", "release"]
    assert deployment.materialize("release", KEY).error is None
    assert {name: time for name, time in deployment.mtimes().items() if not name.endswith("checks.json")} == {
        name: time for name, time in before.items() if not name.endswith("checks.json")
    }


def test_unchecked_shards_are_work_and_failed_ones_are_built_on_by_nothing(deployment: Deployment) -> None:
    catalog = settings_of(deployment).catalog
    deployment.root.directory("training_set", DUMP).remove()
    articles = deployment.root.parquet("wikipedia_articles", DUMP, "001")
    fail(articles, "pages_add_up")
    assert [work.name for work in missing_work(catalog, DUMP)] == [f"wikipedia_articles {DUMP}|001"]
    articles.verdicts_path.unlink()
    assert [work.name for work in missing_work(catalog, DUMP)] == [f"wikipedia_articles {DUMP}|001"]


def rewrite_counts(artifact: DirectoryArtifact, **counts: float) -> None:
    """Change the counts of an output's manifest, as if it had been made so, and forget what checks found."""
    path = artifact.path / "manifest.json"
    manifest = read_sealed_json(path.read_bytes())
    path.unlink()
    artifact.verdicts_path.unlink()
    write_json(path, manifest | {"counts": manifest["counts"] | counts})


@pytest.mark.parametrize("unchecked", [False, True])
def test_jgpt_run_goes_past_a_failed_check_of_a_model_alone_and_only_if_asked_to(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, unchecked: bool
) -> None:
    rewrite_counts(deployment.root.directory("pretrained_model", DUMP, model="tiny"), last_loss=99.0)
    rewrite_counts(deployment.root.directory("training_set", DUMP), train_documents=1)
    for name, value in deployment.env.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.get() as instance:
        add_dumps(instance, [DUMP])
        add_model(instance, "tiny")
    config = {"ops": {"release": {"config": {"unchecked": unchecked}}}}

    def error(asset: str, partition: str) -> str | None:
        definitions = build_definitions(settings_of(deployment))
        return execute_run(lambda: definitions, asset, (partition,), config, "of no command").error

    assert "documents_add_up" in str(error("training_set", DUMP)), "what a model is made of must pass in any case"
    failed = error("pretrained_model", KEY)
    assert failed is None if unchecked else "loss_fell" in str(failed)
