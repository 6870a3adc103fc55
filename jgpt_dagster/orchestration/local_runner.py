"""The runner of `jgpt run`: the asset graph from raw dumps to a release as recorded Dagster runs, without a daemon.

Each asset and shard is one run; the shards of a stage run in parallel worker processes. Before a stage, a look finds
which of its partitions are current: they need no run. A run looks again, so the same command continues after any
failure or kill.
"""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from multiprocessing import util
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG, command_lock, fail_abandoned_runs
from jgpt_dagster.orchestration.dagster_instance import open_instance
from jgpt_dagster.orchestration.partitions import add_dumps, add_model
from jgpt_dagster.orchestration.run_history import STARTED
from jgpt_dagster.orchestration.stages import Stage
from jgpt_dagster.orchestration.worker_process import (
    LoadDefinitions,
    Outcome,
    execute_run,
    start_worker,
)
from jgpt_dagster.runtime.interrupts import HeldInterrupts, hold_interrupts, interrupts_blocked
from jgpt_dagster.runtime.progress import ProgressEvent, ProgressQueue, step_label
from jgpt_dagster.storage.hash_memory import HashMemory, hashes_from, read_memory

Look: TypeAlias = Callable[[str, Sequence[str]], tuple[str, Sequence[str]]]
"""Returns why the partitions of a run of an asset have to be run (empty: they are current), and lines for the user."""

_MEMORY_ADVICE = "See the kernel's log (`dmesg`); fewer workers (--workers 1) take less memory."
_POLL_SECONDS = 0.2
# A run may wait for the pool slot of one that is killed meanwhile.
_DEAD_RUNS_SECONDS = 15.0
# Time for a worker process to end its run, if the stage has no time of its own.
_GRACE_SECONDS = 15.0
_KILL_SECONDS = 5.0


class StageFailedError(JgptError):
    """A stage failed; the message names each failed partition, its error and the command to resume."""


@dataclass(frozen=True)
class StageResult:
    """What became of a stage: how many outputs were current, and for which reasons how many were made."""

    asset: str
    verified: int
    made: Mapping[str, int]


def run_stages(
    stages: Sequence[Stage],
    *,
    dump: str,
    model: str,
    workers: int,
    run_config: Mapping[str, Any],
    resume: str,
    root: Path,
    load_definitions: LoadDefinitions,
    display: Callable[[ProgressQueue], AbstractContextManager[None]],
    report: Callable[[str], None],
    grace_seconds: Mapping[str, float] | None = None,
    look: Look | None = None,
    hashes: Path | None = None,
) -> Iterator[StageResult]:
    """Run the stages one after the other, the runs of each in up to `workers` processes; yield each result.

    What `look` finds current is not run; without one, everything is. `hashes` is the file with the hashes that a look
    may take for those of unchanged files.

    SIGINT and SIGTERM interrupt the runs in progress. Those of a stage get its `grace_seconds`, by default 15, then
    their processes are killed. However many signals came, the first one arrives when no process is left.

    `root` is the data root, where other commands see that this one is alive. Worker processes call `load_definitions`,
    a module-level function. `display` consumes the progress events of the workers, `report` receives other lines.
    Raises StageFailedError at the first stage that fails, after its other shards have ended.
    """
    instance = open_instance()
    add_dumps(instance, [dump])
    add_model(instance, model)
    fail_abandoned_runs(instance, root, report)
    context = multiprocessing.get_context("spawn")
    events: ProgressQueue = context.Queue()
    # A killed worker may leave the queue locked, for which the end of this process would wait.
    events.cancel_join_thread()
    # Without a lock, which a killed worker might hold.
    stopping = context.RawValue("b", 0)
    end_dead_runs = partial(fail_abandoned_runs, instance, root, lambda _: None)
    memory = read_memory(hashes) if hashes else HashMemory()
    with (
        hold_interrupts() as interrupts,
        _semaphores_removed(interrupts),
        command_lock(instance, root) as command,
        display(events),
        ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker, initargs=(events, stopping)) as pool,
    ):
        for stage in stages:
            due = _due_runs(stage, look, memory, workers, interrupts, report) if look else stage.runs
            if interrupts.received:
                return
            # Blocked in the workers too, until they have begun to ignore them.
            with interrupts_blocked():
                futures = {
                    pool.submit(
                        execute_run, load_definitions, stage.asset, keys, dict(run_config), command, resume
                    ): keys
                    for keys in due
                }
            outcomes = []
            for outcome in _outcomes(stage, futures, interrupts, end_dead_runs):
                outcomes.append(outcome)
                memory.learn(outcome.hashed)
                if len(due) > 1:
                    events.put(ProgressEvent(stage.asset, len(outcomes), len(due), "runs"))
            if due:
                events.put(ProgressEvent(stage.asset, ended=True))
            if interrupts.received:
                cancel = partial(_report_cancelling, instance, command)
                _stop_workers(pool, stopping, cancel, (grace_seconds or {}).get(stage.asset, _GRACE_SECONDS))
                _record_cancelled(instance, command)
                return
            if hashes:
                memory.write(hashes)
            failed = [outcome for outcome in outcomes if outcome.error]
            if failed:
                _record_failures(instance, failed)
                raise StageFailedError(
                    "\n".join(f"{outcome.label} failed: {outcome.error}" for outcome in failed)
                    + f"\nWhat was finished is kept. Resume with:\n  {resume}"
                )
            yield _result(stage, due, outcomes)


def _due_runs(
    stage: Stage,
    look: Look,
    memory: HashMemory,
    workers: int,
    interrupts: HeldInterrupts,
    report: Callable[[str], None],
) -> Sequence[tuple[str, ...]]:
    """Return the runs of a stage that are not current, in order; any if an interrupt comes before that is known."""
    looks = ThreadPoolExecutor(workers)
    try:
        with hashes_from(memory):
            futures = [looks.submit(copy_context().run, look, stage.asset, keys) for keys in stage.runs]
        pending = set(futures)
        while pending and not interrupts.received:
            _, pending = wait(pending, timeout=_POLL_SECONDS)
        if interrupts.received:
            return ()
        found = [future.result() for future in futures]
    finally:
        looks.shutdown(wait=False, cancel_futures=True)
    for _, lines in found:
        for line in lines:
            report(line)
    return [keys for keys, (due, _) in zip(stage.runs, found, strict=True) if due]


def _result(stage: Stage, due: Sequence[tuple[str, ...]], outcomes: Sequence[Outcome]) -> StageResult:
    """Return what became of a stage all of whose runs have succeeded."""
    current = sum(max(1, len(keys)) for keys in stage.runs if keys not in due)
    made = Counter(reason for outcome in outcomes for reason in outcome.made)
    outputs = sum(outcome.outputs for outcome in outcomes)
    return StageResult(stage.asset, current + outputs - made.total(), made)


def _outcomes(
    stage: Stage,
    futures: Mapping["Future[Outcome]", tuple[str, ...]],
    interrupts: HeldInterrupts,
    end_dead_runs: Callable[[], None],
) -> Iterator[Outcome]:
    """Yield the outcome of each run as it ends, until an interrupt; end the runs of dead processes meanwhile."""
    pending = set(futures)
    looked = time.monotonic()
    while pending and not interrupts.received:
        done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        if time.monotonic() - looked > _DEAD_RUNS_SECONDS:
            end_dead_runs()
            looked = time.monotonic()
        for future in done:
            label = step_label(stage.asset, futures[future])
            try:
                yield future.result()
            except BrokenProcessPool:
                yield Outcome(label, f"its worker process was killed (out of memory?). {_MEMORY_ADVICE}")


def _record_failures(instance: dg.DagsterInstance, outcomes: Sequence[Outcome]) -> None:
    """Record the failures that Dagster could not: what the runs had written is gone, so there may be room now."""
    for outcome in outcomes:
        with suppress(Exception):  # the command says it in any case
            run = instance.get_run_by_id(outcome.unrecorded) if outcome.unrecorded else None
            if run and not run.is_finished:
                instance.report_run_failed(run, outcome.error)


# ---- interrupts ------------------------------------------------------------------------------------------------------


@contextmanager
def _semaphores_removed(interrupts: HeldInterrupts) -> Iterator[None]:
    """Remove the semaphores of this process after an interrupt: it ends without what Python does at exit.

    Python's tracker of such things would print a warning of them.
    """
    yield
    if interrupts.received:
        finalizers: Callable[[int], None] = util._run_finalizers  # type: ignore[attr-defined]  # as at exit
        finalizers(0)


def _report_cancelling(instance: dg.DagsterInstance, command: str) -> None:
    """Record that somebody asks for the end of a command's runs: Dagster calls them failed otherwise."""
    begun = [status for status in STARTED if status != dg.DagsterRunStatus.CANCELING]
    with suppress(Exception):  # they are interrupted in any case
        for run in instance.get_runs(filters=dg.RunsFilter(tags={COMMAND_TAG: command}, statuses=begun)):
            instance.report_run_canceling(run)


def _record_cancelled(instance: dg.DagsterInstance, command: str) -> None:
    """Record the end of a command's runs, which have no process left.

    A run that ended while its cancelling was recorded would be shown as on its way to its end for ever.
    """
    cancelling = dg.RunsFilter(tags={COMMAND_TAG: command}, statuses=[dg.DagsterRunStatus.CANCELING])
    with suppress(Exception):  # the next command does it
        for run in instance.get_runs(filters=cancelling):
            instance.report_run_canceled(run)


def _stop_workers(pool: ProcessPoolExecutor, stopping: Any, cancel: Callable[[], None], grace_seconds: float) -> None:
    """Make the workers start no further run, interrupt the runs in progress, and kill what is left after a time."""
    stopping.value = 1
    pool.shutdown(wait=False, cancel_futures=True)
    cancel()
    # Once: a second interrupt would tear what a run does to end well.
    _signal_workers(signal.SIGINT)
    _await_workers(grace_seconds, cancel)
    _signal_workers(signal.SIGKILL)
    _await_workers(_KILL_SECONDS)


def _await_workers(seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Wait until no worker is left; `meanwhile` is called now and then: a run may have been about to begin."""
    deadline = time.monotonic() + seconds
    while multiprocessing.active_children() and time.monotonic() < deadline:
        meanwhile()
        time.sleep(_POLL_SECONDS)


def _signal_workers(number: signal.Signals) -> None:
    for worker in multiprocessing.active_children():
        if worker.pid:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, number)
