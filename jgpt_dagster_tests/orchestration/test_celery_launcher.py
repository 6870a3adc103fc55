"""Which queue a run goes to, and who may take it."""

from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner

pytest.importorskip("dagster_celery")

from jgpt_dagster.cli import main
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.celery_launcher import queue_of, worker_app


@pytest.mark.parametrize(
    ("assets", "queue"),
    [
        (["wikipedia_articles", "wikipedia_segmented"], "cpu"),
        (["pretrained_model"], "gpu"),
        (["pretrained_model", "evaluation", "release"], "gpu"),
        (["release"], "cpu"),
    ],
)
def test_a_run_with_a_gpu_asset_goes_to_the_gpu_queue(assets: list[str], queue: str) -> None:
    run = dg.DagsterRun(job_name="__ASSET_JOB", asset_selection=frozenset(map(dg.AssetKey, assets)))
    assert queue_of(run) == queue


def test_a_worker_of_an_instance_without_queues_says_what_is_missing() -> None:
    with dg.instance_for_test() as instance, pytest.raises(JgptError, match=r"deploy/dagster\.yaml"):
        worker_app(instance)


def test_jgpt_run_warns_that_queue_workers_take_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "redis://127.0.0.1:1/0"
    launcher = {
        "module": "jgpt_dagster.orchestration.celery_launcher",
        "class": "QueueRunLauncher",
        "config": {"broker": url, "backend": url},
    }
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": launcher}))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("JGPT_DATA", str(tmp_path / "data"))
    assert "on this machine alone" in CliRunner().invoke(main, ["run", "--dump", "none"]).output
