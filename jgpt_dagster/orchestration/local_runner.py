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
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import util
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
from dagster._core.utils import make_new_run_id
from dagster._utils.interrupts import capture_interrupts

from jgpt_dagster.catalog.corpora import Corpus
from jgpt_dagster.catalog.output_catalog import MODEL_ASSETS, TOKENIZER
from jgpt_dagster.causes import cause_of
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG, command_lock, fail_abandoned_runs
from jgpt_dagster.orchestration.partitions import add_dumps, add_model
from jgpt_dagster.orchestration.run_history import ASKED_TAG, MADE_BECAUSE, RANGE_END, RANGE_START, failure_text
from jgpt_dagster.runtime.interrupts import INTERRUPTS, HeldInterrupts, hold_interrupts, interrupts_blocked
from jgpt_dagster.runtime.progress import ProgressEvent, add_listener, publish, step_label
from jgpt_dagster.runtime.worker_pool import die_with_parent
from jgpt_dagster.storage.hash_memory import Entries, HashMemory, hashes_from, read_memory

ProgressQueue: TypeAlias = "Queue[ProgressEvent | None]"
LoadDefinitions = Callable[[], dg.Definitions]
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
class Stage:
    """One asset, and the partition keys of each of its runs (an empty tuple: unpartitioned)."""

    asset: str
    runs: tuple[tuple[str, ...], ...]


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


@dataclass(frozen=True)
class StageResult:
    """What became of a stage: how many outputs were current, and for which reasons how many were made."""

    asset: str
    verified: int
    made: Mapping[str, int]


def stages_up_to(
    definitions: dg.Definitions, corpora: Sequence[Corpus], dump: str, model: str, until: str
) -> list[Stage]:
    """Return the stages that lead to the asset `until` of a dump and model, in order.

    Raises JgptError if there is no such asset.
    """
    graph = definitions.resolve_asset_graph()
    known = {key.to_user_string(): key for key in graph.toposorted_asset_keys}
    if until not in known:
        raise JgptError(f"There is no asset {until!r}. The assets are: {', '.join(known)}.")
    # The tokenizer tracks no edge to what it is trained on, because a new dump must not make it stale.
    segmented = [corpus.segmented_asset for corpus in corpora]
    wanted = _ancestors(definitions, segmented, until)
    order = [name for name in known if name in wanted]
    # Without these edges, the graph's order may put the tokenizer anywhere before the tokens.
    tokenizer_sources = _ancestors(definitions, segmented, *segmented)
    order.sort(key=lambda name: name not in tokenizer_sources)
    return [Stage(name, _runs_of(definitions, known[name], dump, model)) for name in order]


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
    instance = dg.DagsterInstance.get()
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
        ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(events, stopping)
        ) as pool,
    ):
        for stage in stages:
            due = _due_runs(stage, look, memory, workers, interrupts, report) if look else stage.runs
            if interrupts.received:
                return
            # Blocked in the workers too, until they have begun to ignore them.
            with interrupts_blocked():
                futures = {
                    pool.submit(_execute, load_definitions, stage.asset, keys, dict(run_config), command, resume): keys
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
                _stop_workers(pool, stopping, (grace_seconds or {}).get(stage.asset, _GRACE_SECONDS))
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


def _ancestors(definitions: dg.Definitions, tokenizer_sources: Sequence[str], *names: str) -> set[str]:
    """Return the named assets and everything that they are made from, the tokenizer's sources included."""
    graph = definitions.resolve_asset_graph()
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        key = dg.AssetKey(name)
        if name in found or not graph.has(key):
            continue
        found.add(name)
        pending += [parent.to_user_string() for parent in graph.get(key).parent_keys]
        if name == TOKENIZER:
            pending += tokenizer_sources
    return found


def _runs_of(definitions: dg.Definitions, key: dg.AssetKey, dump: str, model: str) -> tuple[tuple[str, ...], ...]:
    node = definitions.resolve_asset_graph().get(key)
    partitions = node.partitions_def
    if partitions is None:
        return ((),)
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        return ((dump,),)
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        if "model" in partitions.partition_dimension_names:
            return ((f"{dump}|{model}",),)
        shards = partitions.get_partitions_def_for_dimension("shard").get_partition_keys()
        return tuple((f"{dump}|{shard}",) for shard in shards)
    keys = tuple(partitions.get_partition_keys())
    policy = node.backfill_policy
    single_run = policy is not None and policy.max_partitions_per_run is None
    return (keys,) if single_run else tuple((key,) for key in keys)


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


def _stop_workers(pool: ProcessPoolExecutor, stopping: Any, grace_seconds: float) -> None:
    """Make the workers start no further run, interrupt the runs in progress, and kill what is left after a time."""
    stopping.value = 1
    pool.shutdown(wait=False, cancel_futures=True)
    # Once: a second interrupt would tear what a run does to end well.
    _signal_workers(signal.SIGINT)
    _await_workers(grace_seconds)
    _signal_workers(signal.SIGKILL)
    _await_workers(_KILL_SECONDS)


def _await_workers(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _signal_workers(number: signal.Signals) -> None:
    for worker in multiprocessing.active_children():
        if worker.pid:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, number)


# ---- in the worker processes -------------------------------------------------------------------------------------

_stopping: Any = None


def _start_worker(events: ProgressQueue, stopping: Any) -> None:
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


def _execute(
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
                    instance=dg.DagsterInstance.get(),
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
