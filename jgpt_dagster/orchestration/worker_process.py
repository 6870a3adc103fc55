"""A worker process of `jgpt run`: it executes one recorded run after another and sends its progress to the command."""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import dagster as dg
from dagster._core.utils import make_new_run_id
from dagster._utils.interrupts import capture_interrupts

from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS
from jgpt_dagster.causes import cause_of
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG
from jgpt_dagster.orchestration.code_location import runs_of_code_location
from jgpt_dagster.orchestration.run_facts import ASKED_TAG, RANGE_END, RANGE_START, failure_text
from jgpt_dagster.runtime.interrupts import INTERRUPTS
from jgpt_dagster.runtime.progress import ProgressEvent, ProgressQueue, add_listener, publish, step_label
from jgpt_dagster.runtime.worker_pool import die_with_parent
from jgpt_dagster.storage.artifact import MADE_BECAUSE
from jgpt_dagster.storage.hash_memory import Entries, HashMemory, hashes_from

LoadDefinitions = Callable[[], dg.Definitions]


@dataclass(frozen=True)
class Outcome:
    """The result of one run: None for success, else the error for the user.

    `unrecorded` is the id of a run whose end Dagster could not record, such as on a full disk. `made` has the reason
    for each output that was made, `outputs` is the number of all, and `hashed` has the files that were hashed.
    """

    label: str
    error: str | None
    unrecorded: str | None = None
    made: tuple[str, ...] = ()
    outputs: int = 0
    hashed: Entries = field(default_factory=dict)


_stopping: Any = None


def start_worker(events: ProgressQueue, stopping: Any) -> None:
    global _stopping
    _stopping = stopping
    add_listener(events.put)
    # Only the command answers Ctrl-C on the terminal and passes it on: Dagster's helper processes would answer it with
    # tracebacks. Dagster ends a step that is interrupted; between steps there is nothing to end.
    os.setpgrp()
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
    die_with_parent()


def execute_run(
    load_definitions: LoadDefinitions,
    asset: str,
    keys: tuple[str, ...],
    run_config: dict[str, Any],
    command: str,
    asked: str = "",
) -> Outcome:
    label = step_label(asset, keys)
    partition: dict[str, Any] = {"partition_key": keys[0]} if len(keys) == 1 else {}
    tags = {COMMAND_TAG: command, **({ASKED_TAG: asked} if asked else {})}
    if len(keys) > 1:
        tags |= {RANGE_START: keys[0], RANGE_END: keys[-1]}
    run_id = make_new_run_id()
    with capture_interrupts():  # an interrupt that comes before the step has started ends it when it starts
        if _stopping and _stopping.value:
            return Outcome(label, "not started")
        memory = HashMemory()
        try:
            job = load_definitions().resolve_implicit_global_asset_job_def()
            with hashes_from(memory):
                result = job.execute_in_process(
                    instance=_instance(os.environ["DAGSTER_HOME"], job.name),
                    asset_selection=[dg.AssetKey(asset)],
                    run_config=_run_config_of(asset, run_config),
                    tags=tags,
                    run_id=run_id,
                    raise_on_error=False,
                    **partition,
                )
        except Exception as error:
            # As text: some of Dagster's errors cannot be unpickled, which looks as if the worker had been killed.
            return Outcome(label, cause_of(error) or f"Dagster refused the run: {error}", run_id)
    publish(ProgressEvent(label, ended=True))
    accepted = result.success or (_unchecked(asset, run_config) and _failed_checks_alone(result))
    if not accepted:
        return Outcome(label, _error_of(result), hashed=memory.learnt)
    records = [event.step_materialization_data for event in result.get_asset_materialization_events()]
    reasons = [record.materialization.metadata.get(MADE_BECAUSE) for record in records]
    made = tuple(str(reason.value) for reason in reasons if reason)
    return Outcome(label, None, made=made, outputs=len(records), hashed=memory.learnt)


@cache
def _instance(home: str, job: str) -> dg.DagsterInstance:
    """Return the instance in DAGSTER_HOME for the runs of a job: opening it takes a quarter of what a run records."""
    return runs_of_code_location(dg.DagsterInstance.get(), job)


def _unchecked(asset: str, run_config: Mapping[str, Any]) -> bool:
    """Return whether failed checks of an asset are accepted: those of a model that is to be released unchecked."""
    release = run_config.get("ops", {}).get("release", {}).get("config", {})
    return asset in MODEL_ASSETS[:-1] and bool(release.get("unchecked"))


def _failed_checks_alone(result: dg.ExecuteInProcessResult) -> bool:
    """Return whether a run made its asset and only checks of it failed."""
    checks = result.get_asset_check_evaluations()
    return bool(result.get_asset_materialization_events()) and any(not check.passed for check in checks)


def _run_config_of(asset: str, run_config: Mapping[str, Any]) -> dict[str, Any]:
    ops = {name: config for name, config in run_config.get("ops", {}).items() if name == asset}
    # Dagster's own console lines would drown the progress bars; the run's log in the instance has them all.
    return {"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _error_of(result: dg.ExecuteInProcessResult) -> str:
    # A step's failure comes before that of its run; if no step started, the run's failure says why.
    for event in result.all_events:
        if event.is_failure and (text := failure_text(event.event_specific_data)):
            return text
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    if failed:
        return "; ".join(f"check {check.check_name} failed: {check.description or ''}".strip() for check in failed)
    return "the run failed; its log is in the Dagster UI"
