"""Finished runs are read from Dagster's files as Dagster itself tells of them."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from jgpt_dagster.catalog.status import RunSummary
from jgpt_dagster.orchestration.finished_runs import finished_runs
from jgpt_dagster.orchestration.run_facts import DUMP_TAG, PARTITION, RANGE_END, RANGE_START
from jgpt_dagster.orchestration.run_history import recent_runs
from jgpt_dagster.orchestration.told_failure import ToldFailure
from jgpt_dagster.storage.data_root import DataRoot

FAILED, CANCELED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


@dg.asset
def broken() -> None:
    raise ToldFailure("the disk is full.\nFree some space.")


@dg.asset
def with_a_bug() -> None:
    raise ValueError("no number")


def told(runs: list[RunSummary], root: DataRoot) -> list[object]:
    outputs = [
        root.directory("broken"),
        root.directory("wikipedia_dump", "20260101"),
        root.parquet("wikipedia_articles", "20260101", "001"),
        root.parquet("wikipedia_articles", "20260120", "001"),
        root.parquet("cc100_documents", shard="002"),
    ]
    return [(run.run_id, run.state, [run.makes(output) for output in outputs], run.reason()) for run in runs]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An instance with runs that have ended in every way, each made by Dagster."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for asset in (broken, with_a_bug):
            dg.materialize([asset], instance=instance, raise_on_error=False)
        cases: list[tuple[str, dg.DagsterRunStatus, dict[str, str]]] = [
            ("wikipedia_articles", FAILED, {PARTITION: "20260101|001"}),
            ("cc100_documents", FAILED, {RANGE_START: "001", RANGE_END: "003"}),
            ("", CANCELED, {DUMP_TAG: "20260101"}),
            ("wikipedia_dump", dg.DagsterRunStatus.SUCCESS, {PARTITION: "20260101"}),
        ]
        for asset_name, status, tags in cases:
            selected = frozenset({dg.AssetKey(asset_name)}) if asset_name else None
            run = dg.DagsterRun("job", asset_selection=selected, tags=tags, status=dg.DagsterRunStatus.STARTED)
            instance.add_run(run)
            if status == FAILED:
                instance.report_run_failed(run, f"{asset_name} was killed")
            elif status == CANCELED:
                instance.report_run_canceled(run, "somebody wanted it so")
            else:
                instance.report_dagster_event(
                    dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "job"), run_id=run.run_id
                )
    return tmp_path


def test_they_are_what_dagster_says(home: Path) -> None:
    root = DataRoot(home / "data")
    found = finished_runs(home)
    assert found is not None
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        assert told(list(found), root) == told(recent_runs(instance), root)
    reasons = [run.reason() for run in found]
    assert reasons[1:4] == ["somebody wanted it so", "cc100_documents was killed", "wikipedia_articles was killed"]
    assert reasons[4:] == ["ValueError: no number", "the disk is full."]


@pytest.mark.parametrize(
    "change", ["UPDATE runs SET run_body = '{}'", "UPDATE runs SET run_body = 'x'", "DROP TABLE runs"]
)
def test_what_is_not_as_it_should_be_is_for_dagster(home: Path, change: str) -> None:
    with closing(sqlite3.connect(home / "history" / "runs.db")) as database:
        database.execute(change)
        database.commit()
    assert finished_runs(home) is None


def test_reading_them_needs_no_dagster() -> None:
    modules = "jgpt_dagster.orchestration.finished_runs, jgpt_dagster.cli.status"
    subprocess.run([sys.executable, "-c", f"import sys, {modules}; sys.exit('dagster' in sys.modules)"], check=True)
