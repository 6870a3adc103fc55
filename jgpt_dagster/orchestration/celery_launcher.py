"""Runs on several machines: the run launcher that hands each run to a Celery queue, and the workers that take them.

A run is one message and one step, executed on the machine of the worker. A message leaves the queue before its run
starts, so no broker ever delivers a run twice. Dagster's run monitoring finds a run whose worker died through
`check_run_worker_health`, marks it failed, and another worker takes its retry.

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

from jgpt_dagster.catalog.output_catalog import GPU_ASSETS
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.interrupted_training import with_interruption

CPU_QUEUE = "cpu"
GPU_QUEUE = "gpu"

# Settings that the launcher and all workers of one broker share; `config_source` in dagster.yaml can override each.
CELERY_SETTINGS: dict[str, Any] = {
    # A message leaves the queue before its run starts: Dagster repeats a run that dies with its worker, as a new run.
    "task_acks_late": False,
    # A worker takes only what it can start. A message that it kept waiting would return to the queue after the broker's
    # visibility timeout, and a second worker would take it too.
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    # A new process for each run: none inherits another's memory, engines or interrupts.
    "worker_max_tasks_per_child": 1,
    # Which worker has a run must stay known for as long as a training may take.
    "result_expires": 90 * 24 * 3600,
    "broker_connection_retry_on_startup": True,
    # A run writes to Dagster's own log; Celery's must leave the streams of its training process alone.
    "worker_redirect_stdouts": False,
}

# A live worker answers in milliseconds, whatever its runs do.
_ANSWER_SECONDS = 3.0
_HEALTH_CHECKS = 3


class QueueRunLauncher(CeleryRunLauncher):
    """Launches each run on the queue of its assets: GPU or CPU."""

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
        """Terminate a run on its worker; a run that no worker has started is cancelled at once."""
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
        """Return whether a worker has a run, by asking the workers; a run that waits for its worker counts as well."""
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task_id is None:
            # A run of `jgpt run` or `dagster asset materialize` is on no queue, and not ours to end.
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        task = self.celery.AsyncResult(task_id)
        if run.status == dg.DagsterRunStatus.STARTING and task.state == PENDING:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        worker = str(task.info["hostname"]) if task.state == STARTED else None
        if any(self._is_running(task_id, worker) for _ in range(_HEALTH_CHECKS)):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if task.state == SUCCESS:
            return CheckRunHealthResult(WorkerStatus.SUCCESS)
        lost = f"Worker {worker or 'of the run'} is gone, or lost the run."
        return CheckRunHealthResult(WorkerStatus.FAILED, with_interruption(lost, run))

    def _is_running(self, task_id: str, worker: str | None) -> bool:
        """Ask a worker, or all workers if it is unknown, whether it is executing a task."""
        inspect = self.celery.control.inspect(destination=[worker] if worker else None, timeout=_ANSWER_SECONDS)
        return any(task_id in tasks for tasks in (inspect.query_task(task_id) or {}).values())


def queue_of(run: dg.DagsterRun) -> str:
    """Return the queue of a run: that of the GPU workers if any of its assets needs a GPU."""
    assets = {key.to_user_string() for key in run.asset_selection or ()}
    return CPU_QUEUE if assets.isdisjoint(GPU_ASSETS) else GPU_QUEUE


def worker_app(instance: dg.DagsterInstance) -> Celery:
    """Return the Celery application that executes the runs of an instance.

    Raises JgptError if the instance does not use the queue launcher.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, QueueRunLauncher):
        raise JgptError(
            f"{instance.root_directory}/dagster.yaml hands runs to {type(launcher).__name__}, not to a queue. "
            "Start from deploy/dagster.yaml, which names jgpt_dagster.orchestration.celery_launcher.QueueRunLauncher."
        )
    create_execute_job_task(launcher.celery)
    return launcher.celery
