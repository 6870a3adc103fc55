"""`jgpt run`: the asset graph from raw dumps to a release as recorded Dagster runs, without a daemon.

One run an asset and shard, shards of a stage in parallel worker processes. Whatever is whole and current is verified by
its asset and left alone, so the same command continues after any failure or kill.
"""

import multiprocessing
import os
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._utils.interrupts import capture_interrupts
from tqdm import tqdm

from jgpt_dagster.cli.progress_bars import progress_bars
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.abandoned_runs import COMMAND_TAG, alive, fail_abandoned_runs
from jgpt_dagster.orchestration.partitions import add_dumps
from jgpt_dagster.runtime.progress import ProgressEvent, add_listener, publish, step_label
from jgpt_dagster.runtime.worker_pool import die_with_parent


class StageFailedError(JgptError):
    """A stage failed; the message names each failed partition, its error and the command to resume."""


@dataclass(frozen=True)
class Stage:
    """One asset, and the partition keys of each of its runs (an empty tuple: unpartitioned)."""

    asset: str
    runs: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one run: None for success, else the error as a person reads it."""

    label: str
    error: str | None


def plan(definitions: dg.Definitions, dump: str, until: str) -> list[Stage]:
    """Return the stages that lead to the asset `until` of a dump, in order.

    Raises JgptError where there is no such asset.
    """
    graph = definitions.resolve_asset_graph()
    known = {key.to_user_string(): key for key in graph.toposorted_asset_keys}
    if until not in known:
        raise JgptError(f"There is no asset {until!r}. The assets are: {', '.join(known)}.")
    wanted = _ancestors(definitions, until)
    order = [name for name in known if name in wanted]
    # The tokenizer has no edges, so the graph's order may place it anywhere in front of the tokens.
    of_tokenizer = _ancestors(definitions, *_tokenizer_sources(known))
    sources = [name for name in order if name in of_tokenizer]
    order = sources + [name for name in order if name not in sources]
    return [Stage(name, _runs_of(definitions, known[name], dump)) for name in order]


def run_stages(
    stages: Sequence[Stage], *, dump: str, workers: int, run_config: Mapping[str, Any], resume: str, root: Path
) -> Iterator[Stage]:
    """Run the stages one after the other, the runs of each in up to `workers` processes; yield each finished stage.

    `root` is the data root, where other commands can see that this one is alive. Raises StageFailedError at the first
    stage that fails, after its other shards have ended.
    """
    instance = dg.DagsterInstance.get()
    add_dumps(instance, [dump])
    fail_abandoned_runs(instance, root, tqdm.write)
    context = multiprocessing.get_context("spawn")
    events: Queue[ProgressEvent | None] = context.Queue()
    stopping = context.Event()
    with (
        alive(root) as command,
        progress_bars(events),
        ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(events, stopping)
        ) as pool,
        _workers_end_too(stopping),
    ):
        for stage in stages:
            with _interrupts_held():
                futures = {
                    pool.submit(_execute, stage.asset, keys, dict(run_config), command): keys for keys in stage.runs
                }
            failed = []
            for done, outcome in enumerate(_outcomes(stage, futures), start=1):
                failed += [outcome] if outcome.error else []
                if len(stage.runs) > 1:
                    events.put(ProgressEvent(stage.asset, done, len(stage.runs), "runs"))
            events.put(ProgressEvent(stage.asset, ended=True))
            if failed:
                raise StageFailedError(
                    "\n".join(f"{outcome.label} failed: {outcome.error}" for outcome in failed)
                    + f"\nWhat was finished is kept. Resume with:\n  {resume}"
                )
            yield stage


def _ancestors(definitions: dg.Definitions, *names: str) -> set[str]:
    """Return the named assets and all that they are made from, the tokenizer's sources included."""
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
        if name == "tokenizer":
            pending += _tokenizer_sources(key.to_user_string() for key in graph.get_all_asset_keys())
    return found


def _tokenizer_sources(assets: Iterable[str]) -> list[str]:
    """Return what the tokenizer is trained on. It tracks no edge to them, since a new dump must not turn it stale."""
    return [asset for asset in assets if asset.endswith("_segmented")]


def _runs_of(definitions: dg.Definitions, key: dg.AssetKey, dump: str) -> tuple[tuple[str, ...], ...]:
    node = definitions.resolve_asset_graph().get(key)
    partitions = node.partitions_def
    if partitions is None:
        return ((),)
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        return ((dump,),)
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        shards = partitions.get_partitions_def_for_dimension("shard").get_partition_keys()
        return tuple((f"{dump}|{shard}",) for shard in shards)
    keys = tuple(partitions.get_partition_keys())
    policy = node.backfill_policy
    one_pass = policy is not None and policy.max_partitions_per_run is None
    return (keys,) if one_pass else tuple((key,) for key in keys)


def _outcomes(stage: Stage, futures: Mapping["Future[Outcome]", tuple[str, ...]]) -> Iterator[Outcome]:
    for future in as_completed(futures):
        try:
            yield future.result()
        except BrokenProcessPool:
            yield Outcome(step_label(stage.asset, futures[future]), "its worker process was killed (out of memory?)")


# ---- Ctrl-C ------------------------------------------------------------------------------------------------------


@contextmanager
def _workers_end_too(stopping: Event) -> Iterator[None]:
    """Where the block is left by Ctrl-C, have the workers begin no further run and end the one that they are at."""
    try:
        yield
    except BaseException:
        stopping.set()
        for worker in multiprocessing.active_children():
            if worker.pid:
                os.kill(worker.pid, signal.SIGINT)
        raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends, also from the processes that are started in it: see `_start_worker`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- in the worker processes -------------------------------------------------------------------------------------

_stopping: Event | None = None


def _start_worker(events: "Queue[ProgressEvent | None]", stopping: Event) -> None:
    global _stopping
    _stopping = stopping
    add_listener(events.put)
    # Ctrl-C on the terminal is the command's to answer alone, which passes it on: Dagster's helper processes would
    # answer it with tracebacks. Dagster ends a step that is interrupted; between steps there is nothing to end.
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    die_with_parent()


def _execute(asset: str, keys: tuple[str, ...], run_config: dict[str, Any], command: str) -> Outcome:
    from jgpt_dagster.definitions import defs

    label = step_label(asset, keys)
    partition: dict[str, Any] = {"partition_key": keys[0]} if len(keys) == 1 else {}
    tags = {COMMAND_TAG: command}
    if len(keys) > 1:
        tags |= {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    with capture_interrupts():  # one that comes before the step has begun ends it when it begins
        if _stopping and _stopping.is_set():
            return Outcome(label, "not begun")
        try:
            result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=dg.DagsterInstance.get(),
                asset_selection=[dg.AssetKey(asset)],
                run_config=_config_for(asset, run_config),
                tags=tags,
                raise_on_error=False,
                **partition,
            )
        except Exception as error:
            # Told in words: some of Dagster's errors cannot be unpickled, which looks as if the worker had been killed.
            return Outcome(label, f"Dagster refused the run: {error}")
    publish(ProgressEvent(label, ended=True))
    return Outcome(label, None if result.success else _error_of(result))


def _config_for(asset: str, run_config: Mapping[str, Any]) -> dict[str, Any]:
    ops = {name: config for name, config in run_config.get("ops", {}).items() if name == asset}
    # Dagster's own console lines would drown the bars; the run's log in the instance has them all.
    return {"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _error_of(result: dg.ExecuteInProcessResult) -> str:
    # A step's failure comes before that of its run; where no step was reached, the run's tells why.
    for failure in (event.event_specific_data for event in result.all_events if event.is_failure):
        described = getattr(failure, "user_failure_data", None)
        if described and described.description:
            return str(described.description)
        if error := getattr(failure, "error", None):
            while error.cause:
                error = error.cause
            return re.sub(rf"^(\w+\.)+{error.cls_name}: ", "", error.message.strip())
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    if failed:
        return "; ".join(f"check {check.check_name} failed: {check.description or ''}".strip() for check in failed)
    return "the run failed; its log is in the Dagster UI"
