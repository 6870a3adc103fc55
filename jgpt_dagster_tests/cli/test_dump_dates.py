"""A date is checked, and asked of the mirror, before anything is fetched or recorded."""

import json
from pathlib import Path

import pytest

from jgpt_dagster_tests.support.deployments import DUMP, Deployment, mini_deployment


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """A mirror with a finished dump and an unfinished later one."""
    deployment = mini_deployment(tmp_path)
    announced = tmp_path / "mirror" / "miniwiki" / "20260201"
    announced.mkdir()
    jobs = {"articlesmultistreamdump": {"status": "in-progress", "updated": ""}}
    (announced / "dumpstatus.json").write_text(json.dumps({"jobs": jobs}))
    return deployment


@pytest.mark.parametrize("date", ["20261301", "20260230", "20260000"])
@pytest.mark.parametrize("command", [["run", "--dump"], ["dumps", "add"], ["status", "--dump"]])
def test_a_day_that_no_calendar_has_is_refused(deployment: Deployment, command: list[str], date: str) -> None:
    refused = deployment.try_invoke(*command, date)
    assert refused.code == 1 and f"{date} is not the date of a day" in refused.output
    assert not list(deployment.data.glob("*dump*"))


def test_a_dump_that_is_not_ready_is_refused_before_anything_is_fetched(deployment: Deployment) -> None:
    deployment.invoke("dumps", "add", "20260201")  # as a person may have done in the UI
    refused = deployment.try_invoke("run", "--dump", "20260201")
    assert refused.code == 1 and "the miniwiki dump of 20260201 is not ready" in refused.output
    assert not list(deployment.data.glob("*dump*"))


def test_the_dumps_of_the_mirror_are_listed_with_state_and_size(deployment: Deployment) -> None:
    lines = deployment.invoke("dumps", "available").splitlines()
    assert [line.split()[:2] for line in lines] == [[DUMP, "done"], ["20260201", "in-progress"]]
    assert lines[0].endswith("B")
    assert "No dump is here yet." in deployment.invoke("dumps", "list")
    deployment.materialize("wikipedia_dump", DUMP)
    assert deployment.invoke("dumps", "available").splitlines()[0].endswith("here")
    (listed,) = deployment.invoke("dumps", "list").splitlines()
    assert listed.startswith(f"{DUMP}  wikipedia_dump whole  release absent  ") and listed.endswith("kB")


@pytest.mark.slow
def test_latest_is_the_newest_finished_dump(deployment: Deployment) -> None:
    output = deployment.succeed("jgpt", "run", "--dump", "latest", "--to", "wikipedia_dump")
    assert f"miniwiki {DUMP}, as far as wikipedia_dump, in {deployment.data}" in output
    assert "wikipedia_dump       made (it was not there)" in output
