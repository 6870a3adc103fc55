"""The sensors ask for what is due and for nothing else, and say in plain words why they ask for nothing."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from jgpt_dagster.catalog.missing_work import missing_work, work_of_dump
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.definitions import build_definitions
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG, command_lock
from jgpt_dagster.orchestration.partitions import add_dumps
from jgpt_dagster.orchestration.run_history import runs_using_dump
from jgpt_dagster.orchestration.sensors import build_sensors, run_requests
from jgpt_dagster.orchestration.sensors.run_requests import WORK_TAG
from jgpt_dagster.settings import Settings, SettingsError, load_settings
from jgpt_dagster.storage.verdict import record_verdict
from jgpt_dagster_tests.support.deployments import DUMP, LATER_DUMP, Deployment, mini_deployment, write_config
from jgpt_dagster_tests.support.sensor_ticks import Desk, assets

SHARDS = ("000", "001")
SHARD_STAGES = ["wikipedia_articles", "wikipedia_segmented"]
REUSING = [*SHARD_STAGES, "wikipedia_tokens"]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A very small wiki in two shards, made up to the training set of its first dump. Read only."""
    deployment = mini_deployment(tmp_path_factory.mktemp("whole")).with_settings(SHARDS="2")
    keys = [f"{DUMP}|{shard}" for shard in SHARDS]
    make(deployment, "wikipedia_dump", DUMP)
    for asset in SHARD_STAGES:
        make(deployment, asset, *keys)
    assert deployment.materialize("tokenizer", vocab_size=400, limit_alphabet=100).error is None
    make(deployment, "wikipedia_tokens", *keys)
    assert deployment.materialize("training_set", DUMP, validation_share=0.3).error is None
    return deployment


def make(deployment: Deployment, asset: str, *partitions: str) -> None:
    for partition in partitions or (None,):
        assert deployment.materialize(asset, partition).error is None


# ---- the stages --------------------------------------------------------------------------------------------------


def without(whole: Deployment, data: Path, *outputs: tuple[str, str | None]) -> Deployment:
    """Return a copy of a deployment without some outputs, each an asset and a shard of it."""
    deployment = whole.copy(data)
    for asset, shard in outputs:
        dump = None if asset == "tokenizer" else DUMP
        (deployment.shard(asset, DUMP, shard) if shard else deployment.root.directory(asset, dump)).remove()
    return deployment


def every(*names: str) -> list[tuple[str, str | None]]:
    return [(name, shard) for name in names for shard in SHARDS]


def test_every_sensor_says_in_the_ui_what_it_does() -> None:
    webhook = build_definitions(Settings(failure_webhook=SecretStr("https://example.org")))
    described = {sensor.name: sensor.description for sensor in webhook.get_repository_def().sensor_defs}
    assert len(described) == 6 and all(described.values()), described


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ([], []),
        ([("training_set", None)], [(["training_set"], DUMP)]),
        (
            [("training_set", None), ("wikipedia_tokens", "001")],
            [(["wikipedia_tokens"], f"{DUMP}|001")],
        ),
        (
            [("training_set", None), *every("wikipedia_tokens"), ("wikipedia_segmented", "000")],
            [(["wikipedia_segmented", "wikipedia_tokens"], f"{DUMP}|000"), (["wikipedia_tokens"], f"{DUMP}|001")],
        ),
        (
            [("training_set", None), ("tokenizer", None), *every("wikipedia_tokens"), ("wikipedia_segmented", "001")],
            [(["wikipedia_segmented"], f"{DUMP}|001")],
        ),
        (
            [("training_set", None), ("tokenizer", None), *every("wikipedia_tokens")],
            [(["tokenizer"], None)],
        ),
        (
            [("training_set", None), *every("wikipedia_tokens", "wikipedia_segmented", "wikipedia_articles")],
            [([*SHARD_STAGES, "wikipedia_tokens"], f"{DUMP}|{shard}") for shard in SHARDS],
        ),
        (
            [
                *[("training_set", None), ("tokenizer", None)],
                *every("wikipedia_tokens", "wikipedia_segmented", "wikipedia_articles"),
            ],
            [(SHARD_STAGES, f"{DUMP}|{shard}") for shard in SHARDS],
        ),
        ([("training_set", None), ("wikipedia_dump", None)], []),
    ],
    ids=[
        "all is there",
        "training set",
        "one token file",
        "shards at different stages",
        "tokenizer waits for every shard",
        "tokenizer",
        "a refresh",
        "the first dump",
        "the dump itself is not the refresh's matter",
    ],
)
def test_exactly_the_missing_outputs_that_can_be_made_are_requested(
    tmp_path: Path,
    instance: dg.DagsterInstance,
    whole: Deployment,
    gone: list[tuple[str, str | None]],
    expected: list[tuple[list[str], str | None]],
) -> None:
    add_dumps(instance, [DUMP])
    desk = Desk(without(whole, tmp_path / "data", *gone), instance)
    assert desk.asked("refresh_sensor") == expected


def test_the_newest_fetched_dump_is_refreshed(tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment) -> None:
    add_dumps(instance, [LATER_DUMP, DUMP])
    deployment = whole.copy(tmp_path / "data")
    desk = Desk(deployment, instance)
    assert desk.reason("refresh_sensor") == f"The dump of {DUMP} has its training set."
    (deployment.data / "wikipedia_dump" / f"dump={DUMP}").rename(
        deployment.data / "wikipedia_dump" / f"dump={LATER_DUMP}"
    )
    assert [key for _, key in desk.asked("refresh_sensor")] == [f"{LATER_DUMP}|{shard}" for shard in SHARDS]


def test_of_a_dump_whose_text_failed_a_check_nothing_is_requested_and_the_dump_before_is_refreshed(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment
) -> None:
    add_dumps(instance, [LATER_DUMP, DUMP])
    desk = Desk(without(whole, tmp_path / "data", ("training_set", None)), instance)
    data = desk.deployment.data
    for asset in ("wikipedia_dump", "wikipedia_articles", "wikipedia_segmented"):
        shutil.copytree(data / asset / f"dump={DUMP}", data / asset / f"dump={LATER_DUMP}")
    articles = desk.deployment.shard("wikipedia_articles", LATER_DUMP, "001")
    record_verdict(articles, "pages_add_up", False, "1 of 2 pages")
    assert desk.asked("refresh_sensor") == [(["training_set"], DUMP)]


def test_no_tokenizer_is_trained_on_articles_that_failed_a_check(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment
) -> None:
    gone = [("training_set", None), ("tokenizer", None), *every("wikipedia_tokens")]
    deployment = without(whole, tmp_path / "data", *gone)
    assert [item.name for item in missing_work(deployment_catalog(deployment), DUMP)] == ["tokenizer"]
    articles = deployment.shard("wikipedia_articles", DUMP, "001")
    record_verdict(articles, "pages_add_up", False, "1 of 2 pages")
    work = work_of_dump(deployment_catalog(deployment), DUMP)
    assert "tokenizer" not in [item.name for item in work.items]
    assert work.failure == f"wikipedia_articles {DUMP}|001: check pages_add_up failed: 1 of 2 pages"


def deployment_catalog(deployment: Deployment) -> OutputCatalog:
    values: dict[str, Any] = {name.lower(): value for name, value in deployment.settings.items()}
    return Settings(data=deployment.data, scratch=None, **values).catalog


def test_queued_and_running_work_is_not_requested_again(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment
) -> None:
    add_dumps(instance, [DUMP])
    desk = Desk(without(whole, tmp_path / "data", ("training_set", None), *every("wikipedia_tokens")), instance)
    first, second = desk.tick("refresh_sensor").run_requests
    run_id = desk.record(first, dg.DagsterRunStatus.NOT_STARTED)
    assert desk.asked("refresh_sensor") == [(["wikipedia_tokens"], f"{DUMP}|001")]
    # As a person starts it: without the mark of a sensor.
    tags = {name: value for name, value in second.tags.items() if name != WORK_TAG}
    desk.record(second.with_replaced_attrs(tags=tags), dg.DagsterRunStatus.NOT_STARTED)
    assert f"run {run_id} is not started" in desk.reason("refresh_sensor")


def test_attempts_at_a_failed_stage_start_over_when_its_input_changes(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_requests, "_FIRST_RETRY_SECONDS", 0)
    add_dumps(instance, [DUMP])
    deployment = without(whole, tmp_path / "data", ("training_set", None), ("wikipedia_tokens", "000"))
    desk = Desk(deployment, instance)
    for _ in range(3):
        (request,) = desk.tick("refresh_sensor").run_requests
        desk.record(request, dg.DagsterRunStatus.FAILURE)
    assert "3 runs did not produce it" in desk.reason("refresh_sensor")
    segmented = deployment.shard("wikipedia_segmented", DUMP, "000")
    segmented.remove()
    segmented.path.hardlink_to(deployment.shard("wikipedia_segmented", DUMP, "001").path)
    # Its verdict was on other data, so the run checks it again.
    assert desk.asked("refresh_sensor") == [(["wikipedia_segmented", "wikipedia_tokens"], f"{DUMP}|000")]


def test_the_sensor_waits_for_a_live_command_and_fails_a_dead_one(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment
) -> None:
    add_dumps(instance, [DUMP])
    desk = Desk(without(whole, tmp_path / "data", ("training_set", None)), instance)
    (request,) = desk.tick("refresh_sensor").run_requests
    other = request.with_replaced_attrs(asset_selection=[dg.AssetKey("cc100_dump")], tags={})
    with pytest.raises(KeyboardInterrupt), command_lock(instance, desk.deployment.data) as command:
        run_id = desk.record(other, dg.DagsterRunStatus.NOT_STARTED, **{COMMAND_TAG: command})
        assert "`jgpt run` is in progress" in desk.reason("refresh_sensor")
        raise KeyboardInterrupt
    assert desk.asked("refresh_sensor") == [(["training_set"], DUMP)]
    run = instance.get_run_by_id(run_id)
    assert run is not None and run.status == dg.DagsterRunStatus.FAILURE


def test_requested_runs_get_the_run_config_of_the_deployment(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment
) -> None:
    add_dumps(instance, [DUMP])
    deployment = without(whole, tmp_path / "data", ("training_set", None))
    config = write_config(
        tmp_path / "run.yaml", {"training_set": {"validation_share": 0.4}, "tokenizer": {"vocab_size": 400}}
    )
    desk = Desk(deployment.with_settings(RUN_CONFIG=str(config)), instance)
    (request,) = desk.tick("refresh_sensor").run_requests
    assert request.run_config == {"ops": {"training_set": {"config": {}}}}, "the root keeps 0.3"
    (deployment.data / "run_config.json").unlink()
    (request,) = desk.tick("refresh_sensor").run_requests
    assert request.run_config == {"ops": {"training_set": {"config": {"validation_share": 0.4}}}}


def test_wrong_run_config_requests_nothing_and_is_named(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment
) -> None:
    add_dumps(instance, [DUMP])
    config = write_config(tmp_path / "run.yaml", {"training_set": {"share": 0.3}})
    deployment = without(whole, tmp_path / "data", ("training_set", None)).with_settings(RUN_CONFIG=str(config))
    assert "there is no field 'share'" in Desk(deployment, instance).reason("refresh_sensor")


def test_missing_cc100_is_downloaded_and_its_documents_made_in_one_pass(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment, mirror: Path
) -> None:
    add_dumps(instance, [DUMP])
    archive = (mirror / "cc-100" / "ja.txt.xz").as_uri()
    deployment = without(whole, tmp_path / "data", ("training_set", None)).with_settings(CC100_URL=archive)
    desk = Desk(deployment, instance)
    assert desk.asked("refresh_sensor") == [(["cc100_dump"], None)]
    make(deployment, "cc100_dump")
    (request,) = desk.tick("refresh_sensor").run_requests
    assert (assets(request), request.partition_key) == (["cc100_documents"], None)
    desk.record(request, dg.DagsterRunStatus.NOT_STARTED)
    assert "cc100_documents 000…001" in desk.reason("refresh_sensor")
    make(deployment, "cc100_documents", "000")
    assert desk.asked("refresh_sensor") == [(["cc100_segmented", "cc100_tokens"], "000")]


# ---- training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refresh", ["on", "off"])
def test_a_setting_switches_the_refresh_and_only_a_person_switches_training(refresh: Any) -> None:
    settings = Settings(refresh=refresh, poll_hours=0.5)
    built = {sensor.name: sensor for sensor in build_sensors(settings)}
    running = {name for name, sensor in built.items() if sensor.default_status == dg.DefaultSensorStatus.RUNNING}
    refreshing = {"new_dump_sensor", "refresh_sensor"} if refresh == "on" else set()
    assert running == {"abandoned_runs_sensor", *refreshing}
    assert "train_sensor" in built
    assert built["new_dump_sensor"].minimum_interval_seconds == 1800


def test_training_evaluation_and_release_follow_the_training_set_in_one_run(
    tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment
) -> None:
    desk = Desk(whole.copy(tmp_path / "data"), instance)
    assert "a first dump is not made yet" in desk.reason("train_sensor")
    add_dumps(instance, [DUMP])
    (request,) = desk.tick("train_sensor").run_requests
    assert (assets(request), request.partition_key) == (["pretrained_model", "evaluation", "release"], f"{DUMP}|tiny")
    desk.record(request, dg.DagsterRunStatus.NOT_STARTED)
    assert "is not started" in desk.reason("train_sensor")
    desk.deployment.root.directory("training_set", DUMP).remove()
    assert f"training set of {DUMP} is not made yet" in desk.reason("train_sensor")


def test_a_run_that_reuses_a_dump_uses_it(tmp_path: Path, instance: dg.DagsterInstance, whole: Deployment) -> None:
    desk = Desk(whole, instance)

    def record(partition: str, *names: str) -> str:
        request = dg.RunRequest(
            asset_selection=[dg.AssetKey(name) for name in names], tags={"dagster/partition": partition}
        )
        return desk.record(request, dg.DagsterRunStatus.NOT_STARTED)

    def ids(*found: str) -> Sequence[str]:
        return sorted(found)

    of_it = record(DUMP, "training_set")
    reusing = record(f"{LATER_DUMP}|000", "wikipedia_segmented")
    record(LATER_DUMP, "pretrained_model")
    record("20251201|000", "wikipedia_segmented")
    assert ids(*runs_using_dump(instance, DUMP, REUSING)) == ids(of_it, reusing)


@pytest.mark.parametrize(
    ("name", "value"),
    [("POLL_HOURS", "0"), ("POLL_HOURS", "nan"), ("POLL_HOURS", "inf"), ("REFRESH", "yes"), ("RUN_CONFIG", "")],
)
def test_a_refresh_setting_out_of_range_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"JGPT_{name}", value)
    with pytest.raises(SettingsError, match=f"JGPT_{name}={value}"):
        load_settings()


def test_the_refresh_is_on_and_polls_every_six_hours_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFRESH", "POLL_HOURS", "RUN_CONFIG"):
        monkeypatch.delenv(f"JGPT_{name}", raising=False)
    settings = load_settings()
    assert (settings.refresh, settings.poll_hours, settings.run_config) == ("on", 6, None)
