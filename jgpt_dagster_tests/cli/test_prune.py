"""`jgpt prune` deletes what nothing refers to, and nothing else."""

import os
import time
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.storage.partition_lock import partition_lock
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

RUN = f".scratch/pretrained_model/dump={DUMP}/model=tiny"


@pytest.fixture
def deployment(finished: Deployment, tmp_path: Path) -> Deployment:
    return finished.copy_with_runs(tmp_path / "data").with_settings(KEEP_RUNS_DAYS="0")


def run_ids(deployment: Deployment) -> set[str]:
    with dg.DagsterInstance.from_config(str(deployment.data / ".dagster")) as instance:
        return {run.run_id for run in instance.get_runs()}


def verify(deployment: Deployment, times: int) -> None:
    """Run a stage that is finished."""
    from jgpt_dagster_tests.support import deployments

    job = deployments._job(deployment.data, tuple(deployment.settings.items()))
    with dg.DagsterInstance.from_config(str(deployment.data / ".dagster")) as instance:
        for _ in range(times):
            result = job.execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey("tokenizer")], run_config=deployments._QUIET_LOGGERS
            )
            assert result.success


def aged(path: Path) -> Path:
    then = time.time() - 3600
    for entry in (path, *path.rglob("*")):
        os.utime(entry, (then, then))
    return path


def test_records_of_runs_that_made_nothing_go_and_all_others_stay(deployment: Deployment) -> None:
    made = run_ids(deployment)
    verify(deployment, times=3)
    records = list((deployment.data / ".dagster" / "history" / "runs").glob("*.db"))
    assert "2 records of runs" in deployment.invoke("prune", "--dry-run")
    assert len(run_ids(deployment)) == len(made) + 3
    deployment.invoke("prune")
    # The run that made an output stays, and so does the last one that has seen it.
    left = run_ids(deployment)
    assert made < left and len(left) == len(made) + 1
    files = {path.stem for path in (deployment.data / ".dagster" / "history" / "runs").glob("*.db")}
    assert left <= files and len(files) == len(records) - 2
    assert "done" in deployment.invoke("status")


def test_records_stay_as_long_as_the_setting_says(deployment: Deployment) -> None:
    verify(deployment, times=2)
    before = run_ids(deployment)
    deployment.with_settings(KEEP_RUNS_DAYS="90").invoke("prune")
    assert run_ids(deployment) == before


def test_what_nothing_refers_to_goes(deployment: Deployment) -> None:
    before = deployment.files()
    removed = deployment.data / f".scratch/pretrained_model/dump={DUMP}/.model=tiny.aside-1"
    removed.mkdir(parents=True)
    gone = deployment.data / ".scratch/pretrained_model/dump=20250101/model=tiny"
    (gone / "checkpoints").mkdir(parents=True)
    incoming = deployment.data / ".incoming" / f"{deployment.settings['WIKI']}-{DUMP}"
    incoming.mkdir(parents=True)
    temporary = deployment.data / f"wikipedia_tokens/dump={DUMP}/.shard=000.tmp"
    temporary.mkdir()
    (temporary / "x").touch()
    for path in (gone, temporary):
        aged(path)
    listed = deployment.invoke("prune", "--dry-run")
    for path in (removed, gone, incoming, temporary, deployment.data / RUN):
        assert str(path) in listed and path.exists()
    deployment.invoke("prune")
    for path in (removed, gone, incoming, temporary, deployment.data / RUN):
        assert not path.exists()
    assert deployment.files() == before


def test_what_a_run_works_on_stays(deployment: Deployment) -> None:
    fresh = deployment.data / f"wikipedia_tokens/dump={DUMP}/.shard=000.tmp"
    fresh.mkdir()
    held = deployment.data / f"wikipedia_tokens/dump={DUMP}/.shard=001.tmp"
    held.mkdir()
    aged(held)
    unfinished = deployment.data / RUN
    (unfinished / "result.json").unlink()
    with partition_lock(deployment.data, f"wikipedia_tokens {DUMP}|001", "a test", pytest.fail):
        assert f"{held} is kept" in deployment.invoke("prune")
    assert fresh.exists() and held.exists() and unfinished.exists()
