"""Runs on several machines: the run launcher that hands each run to a Celery queue, and the workers that take them.

A run is one message and one step, executed where the worker is. A message is taken off the queue before its run starts,
so that no broker ever delivers a run twice; a run whose worker died is found by Dagster's run monitoring, which asks
`check_run_worker_health`, marks it failed, and has its retry made by another worker.

Importing this module needs the extra `cluster`. The instance's dagster.yaml (see `deploy/dagster.yaml`) names the
launcher, and workers read their broker from the same place.
"""

from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from celery import Celery
from celery.states import PENDING, STARTED, SUCCESS
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG
from dagster_celery.tasks import create_execute_job_task

from jgpt_dagster.errors import JgptError

CPU_QUEUE = "cpu"
GPU_QUEUE = "gpu"

# What the launcher and all workers of one broker have in common; `config_source` in dagster.yaml may replace any.
CELERY_SETTINGS: dict[str, Any] = {
    # Off the queue before the run starts: one that dies with its worker is Dagster's to repeat, as another run.
    "task_acks_late": False,
    # A worker takes what it can start at once. A message that it kept waiting would come back to the queue after the
    # broker's visibility timeout, and another worker would have it too.
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    # A process of its own for each run: none inherits another's memory, engines or interrupts.
    "worker_max_tasks_per_child": 1,
    # Which worker has a run must be known for as long as a training takes.
    "result_expires": 90 * 24 * 3600,
    "broker_connection_retry_on_startup": True,
    # A run writes to Dagster's own log; Celery's must leave the streams of its training process alone.
    "worker_redirect_stdouts": False,
}

# A worker that is alive answers in milliseconds, whatever its runs do.
_ANSWER_SECONDS = 3.0
_LOOKS = 3


class QueueRunLauncher(CeleryRunLauncher):
    """Launches each run on the queue that the tags of its assets name."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Return the launcher that a dagster.yaml describes."""
        given = {**config_value, "config_source": CELERY_SETTINGS | (config_value.get("config_source") or {})}
        return cls(inst_data=inst_data, **given)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put a run on its queue."""
        run = context.dagster_run
        if DAGSTER_CELERY_QUEUE_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {DAGSTER_CELERY_QUEUE_TAG: queue_of(run)})
            run = self._instance.get_run_by_id(run.run_id) or run
        super().launch_run(LaunchRunContext(dagster_run=run, workspace=context.workspace))

    def terminate(self, run_id: str) -> bool:
        """End a run wherever it is; one that no worker has begun is cancelled at once."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        task = self.celery.AsyncResult(run.tags[DAGSTER_CELERY_TASK_ID_TAG])
        waiting = task.state == PENDING
        task.revoke(terminate=True, signal="SIGTERM")
        if waiting:
            self._instance.report_run_canceled(run)
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Tell whether a worker has a started run, by asking the workers themselves."""
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task_id is None:
            # A run of `jgpt run` or `dagster asset materialize`: it is on nobody's queue and none of ours to end.
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        task = self.celery.AsyncResult(task_id)
        worker = str(task.info["hostname"]) if task.state == STARTED else None
        if any(self._has(task_id, worker) for _ in range(_LOOKS)):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if task.state == SUCCESS:
            return CheckRunHealthResult(WorkerStatus.SUCCESS)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"Worker {worker or 'of the run'} is gone, or lost the run.")

    def _has(self, task_id: str, worker: str | None) -> bool:
        """Ask a worker, or all where none is known, whether it is at a task."""
        inspect = self.celery.control.inspect(destination=[worker] if worker else None, timeout=_ANSWER_SECONDS)
        return any(task_id in tasks for tasks in (inspect.query_task(task_id) or {}).values())


def queue_of(run: dg.DagsterRun) -> str:
    """Return the queue of a run by the tags of the assets that it makes."""
    from jgpt_dagster.definitions import defs

    graph = defs.resolve_asset_graph()
    tags = [graph.assets_def_for_key(key).op.tags for key in run.asset_selection or () if graph.has(key)]
    return GPU_QUEUE if any(tag.get(DAGSTER_CELERY_QUEUE_TAG) == GPU_QUEUE for tag in tags) else CPU_QUEUE


def worker_app(instance: dg.DagsterInstance) -> Celery:
    """Return the Celery application that executes the runs of an instance.

    Raises JgptError where the instance hands its runs to no queue.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, QueueRunLauncher):
        raise JgptError(
            f"{instance.root_directory}/dagster.yaml hands runs to {type(launcher).__name__}, not to a queue. "
            "Start from deploy/dagster.yaml, which names jgpt_dagster.orchestration.celery_launcher.QueueRunLauncher."
        )
    create_execute_job_task(launcher.celery)
    return launcher.celery
