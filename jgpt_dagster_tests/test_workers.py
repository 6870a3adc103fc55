"""Which queue a run goes to, and who may take it."""

import dagster as dg
import pytest

pytest.importorskip("dagster_celery")

from jgpt_dagster.errors import JgptError
from jgpt_dagster.workers import queue_of, worker_app


@pytest.mark.parametrize(
    ("assets", "queue"),
    [
        (["wikipedia_articles", "wikipedia_segmented"], "cpu"),
        (["pretrained_model"], "gpu"),
        (["pretrained_model", "evaluation", "release"], "gpu"),
        (["release"], "cpu"),
    ],
)
def test_a_run_that_makes_anything_on_a_gpu_goes_to_the_gpu_queue(assets: list[str], queue: str) -> None:
    run = dg.DagsterRun(job_name="__ASSET_JOB", asset_selection=frozenset(map(dg.AssetKey, assets)))
    assert queue_of(run) == queue


def test_a_worker_of_an_instance_without_queues_says_what_is_missing() -> None:
    with dg.instance_for_test() as instance, pytest.raises(JgptError, match=r"deploy/dagster\.yaml"):
        worker_app(instance)
