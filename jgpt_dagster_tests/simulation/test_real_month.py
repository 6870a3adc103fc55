"""A month in minutes with the real daemon, Dagster and a mirror on loopback: nobody watches, but for one click."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from jgpt_dagster.catalog.good_outputs import judge, required_checks
from jgpt_dagster.catalog.releases import newest_release
from jgpt_dagster.orchestration.abandoned_runs import PROCESS_TAG
from jgpt_dagster.orchestration.run_facts import PARTITION
from jgpt_dagster.orchestration.run_history import unfinished_runs
from jgpt_dagster.sample.dump_writer import write_dump
from jgpt_dagster.settings import Settings
from jgpt_dagster_tests.support.browser import running_ui
from jgpt_dagster_tests.support.deployments import Deployment, mini_deployment, mini_pages, write_config
from jgpt_dagster_tests.support.local_servers import served_folder
from jgpt_dagster_tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(2400)]

FIRST, WITHDRAWN, LYING, LAST = "20260101", "20260110", "20260115", "20260120"
WIKI = "miniwiki"
CONFIG: dict[str, dict[str, Any]] = {
    "tokenizer": {"vocab_size": 400, "limit_alphabet": 100},
    "training_set": {"validation_share": 0.2},
    "pretrained_model": {"steps": 12, "context": 16, "global_batch": 4, "log_every": 1, "checkpoint_every": 4},
    "evaluation": {"prompts": ["町は"]},
}
PATIENCE = 900


def test_a_month_ends_with_the_newest_good_dump_released_and_nothing_lost(tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", CONFIG)
    (tmp_path / "mirror").mkdir()
    with served_folder(tmp_path / "mirror") as url:
        deployment = mini_deployment(tmp_path, mini_pages(60)).with_settings(
            DUMPS_URL=url, REFRESH="on", POLL_HOURS="0.001", RUN_CONFIG=str(config)
        )
        deployment.invoke("dumps", "list")
        deployment.succeed("dagster", "sensor", "start", "train_sensor", "-m", "jgpt_dagster.definitions")
        with running_ui(deployment, tmp_path / "ui.log"):
            wait_until(lambda: is_released(deployment, FIRST), PATIENCE)
            first = {name: content for name, content in deployment.files().items() if f"dump={FIRST}" in name}

            publish(tmp_path, WITHDRAWN)
            dump_file(tmp_path, WITHDRAWN).unlink()
            wait_until(lambda: failed_runs(deployment, WITHDRAWN), PATIENCE)

            publish(tmp_path, LYING)
            dump_file(tmp_path, LYING).write_bytes(b"<html>It works!</html>")
            wait_until(lambda: failed_runs(deployment, LYING), PATIENCE)

            publish(tmp_path, LAST)
            wait_until(lambda: training_process(deployment), PATIENCE)
            kill_with_children(training_process(deployment))
            wait_until(lambda: failed_runs(deployment, f"{LAST}|tiny"), PATIENCE)
            # A sensor would try it again after five minutes.
            assets = "pretrained_model,evaluation,release"
            deployment.succeed("dg", "launch", "--assets", assets, "--partition", f"{LAST}|tiny", timeout=PATIENCE)
            wait_until(lambda: not unfinished(deployment), PATIENCE)

    # The newest good dump is the one in use, and nothing unchecked is released.
    assert newest_release(deployment.root, "tiny").parent.name == f"dump={LAST}"
    required = required_checks(Settings(cc100_url="").corpora)
    for dump in (FIRST, LAST):
        for asset in ("training_set", "pretrained_model", "evaluation", "release"):
            output = deployment.root.directory(asset, dump, model=None if asset == "training_set" else "tiny")
            assert judge(output, output.verified(), required).quality == "good"
    # Nothing whole is lost, and nothing of the other two looks whole.
    assert first.items() <= deployment.files().items()
    assert deployment.root.dumps("release") == [FIRST, LAST]
    assert not any(deployment.root.directory("wikipedia_dump", dump).manifest() for dump in (WITHDRAWN, LYING))
    # Every run ended, and status tells the truth.
    assert unfinished(deployment) == []
    shown = deployment.invoke("status")
    for dump, expected in ((FIRST, 2), (WITHDRAWN, 0), (LYING, 0), (LAST, 2)):
        (of_dump,) = (part for part in shown.split("\n\n") if part.startswith(dump))
        assert ("next: nothing: the release is made" in of_dump) == (expected == 2), of_dump
        assert ("failed" in of_dump) == (expected == 0), of_dump


def publish(folder: Path, dump: str) -> None:
    write_dump(folder / "mirror", WIKI, dump, mini_pages(60), pages_per_stream=4)


def dump_file(folder: Path, dump: str) -> Path:
    return folder / "mirror" / WIKI / dump / f"{WIKI}-{dump}-pages-articles-multistream.xml.bz2"


def is_released(deployment: Deployment, dump: str) -> bool:
    output = deployment.root.directory("release", dump, model="tiny")
    return output.manifest() is not None and output.verdicts_path.exists() and not unfinished(deployment)


def unfinished(deployment: Deployment) -> list[str]:
    with instance_of(deployment) as instance:
        return [run.run_id for run in unfinished_runs(instance)]


def failed_runs(deployment: Deployment, partition: str) -> list[str]:
    with instance_of(deployment) as instance:
        filters = dg.RunsFilter(tags={PARTITION: partition}, statuses=[dg.DagsterRunStatus.FAILURE])
        return [run.run_id for run in instance.get_runs(filters=filters)]


def training_process(deployment: Deployment) -> int:
    """Return the process that trains the model of the last dump, once it is configured; 0 if there is none yet."""
    run = deployment.data / ".scratch" / "pretrained_model" / f"dump={LAST}" / "model=tiny"
    if not (run / "config.json").exists():
        return 0
    with instance_of(deployment) as instance:
        for record in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            if record.tags.get(PARTITION) == f"{LAST}|tiny" and PROCESS_TAG in record.tags:
                name = record.tags[PROCESS_TAG].split()[0]
                holder = json.loads((deployment.data / ".locks" / f"process-{name}.json").read_text())
                return int(holder["pid"])
    return 0


def kill_with_children(process: int) -> None:
    assert process
    children = psutil.Process(process).children(recursive=True)
    os.kill(process, signal.SIGKILL)
    for child in children:
        if child.is_running():
            child.kill()


def instance_of(deployment: Deployment) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(deployment.data / ".dagster"))
