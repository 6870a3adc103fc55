"""Runs whose process is gone: which process makes a run, whether it is alive, and the end of the others' runs.

A killed process cannot report anything. Dagster keeps showing its runs as started and keeps their slots in pools, for
which every later run would wait forever.

Every process that makes runs holds a lock file below the data root, which the kernel releases with the process, and a
tag of each run names that file. The record beside it says on which machine the lock tells the truth.
"""

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import dagster as dg
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from filelock import FileLock

from jgpt_dagster.orchestration.interrupted_training import with_interruption
from jgpt_dagster.orchestration.run_history import STARTED
from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.file_creation import make_own_directory
from jgpt_dagster.storage.file_lock import file_lock, try_acquire
from jgpt_dagster.storage.safe_path import child_path

# Both say nothing to a person: Dagster's UI hides the tags that begin like this.
COMMAND_TAG = ".dagster/jgpt_command"
"""The run tag that names the `jgpt run` command a run belongs to."""

PROCESS_TAG = ".dagster/jgpt_process"
"""The run tag that names the process that makes a run, followed by the id of the run: a retry copies tags."""

_FORMER_TAGS = {COMMAND_TAG: "jgpt/command", PROCESS_TAG: "jgpt/process"}

_LOCK = re.compile("(command|process)-([0-9a-f]{32})[.]lock")

_KILLED = " or could not record its end (out of memory, a full disk, a restart? See the kernel's log)"

# From its creation to the first resource, a run takes a second.
_BEGIN_SECONDS = 600.0


@dataclass(frozen=True)
class _Holder:
    """Who holds a lock: a process of a host since its boot, for the runs of one Dagster instance."""

    pid: int
    host: str
    boot: str
    instance: str

    @classmethod
    def this(cls, instance: dg.DagsterInstance) -> "_Holder":
        return cls(os.getpid(), socket.gethostname(), _boot_id(), _id_of(instance))

    @property
    def is_here(self) -> bool:
        """Whether this machine's kernel knows about the lock: a lock of another host may be invisible here."""
        return self.host == socket.gethostname() or (self.boot != "" and self.boot == _boot_id())


@contextmanager
def command_lock(instance: dg.DagsterInstance, root: Path) -> Iterator[str]:
    """Yield a name for this command, for `COMMAND_TAG` on its runs; a lock below `root` shows that it is alive.

    The lock file stays after an error: a worker process that was killed alone leaves an unfinished run too.
    """
    name, lock = _hold(root, "command", _Holder.this(instance))
    try:
        yield name
        _unlink(Path(lock.lock_file))
    finally:
        lock.release()


def record_process(instance: dg.DagsterInstance, run: dg.DagsterRun, root: Path) -> None:
    """Record that this process makes a run; a lock below `root`, held until the process ends, shows that it is alive.

    Raises LockRefusedError.
    """
    name, _ = _hold_for_life(root, _Holder.this(instance))
    instance.add_run_tags(run.run_id, {PROCESS_TAG: f"{name} {run.run_id}"})


def fail_abandoned_runs(instance: dg.DagsterInstance, root: Path, report: Callable[[str], None]) -> None:
    """Mark the unfinished runs of this machine's dead processes as failed, and free the pool slots of finished runs.

    `report` receives a line for each run that is not known to be dead and holds a slot. Raises LockRefusedError.
    """
    with ExitStack() as stack:
        dead = dict(_dead_processes(instance, root, stack))
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=list(STARTED))):
            name = _process_of(run)
            if name in dead:
                _end(instance, run, with_interruption(dead[name], run))
            elif name is None and _never_began(instance, run):
                _end(instance, run, "The process of this run was killed before the run began.")
        for name in dead:
            for kind in ("command", "process"):
                _unlink(_lock_path(root, kind, name))
    _free_slots(instance, report)


def fail_lost_launches(instance: dg.DagsterInstance) -> None:
    """Mark runs as failed that a worker of a queue has taken and lost before they began; Dagster retries them.

    Dagster's run monitoring asks for the workers of started runs only.
    """
    launcher = instance.run_launcher
    if launcher.supports_check_run_worker_health:
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
            result = launcher.check_run_worker_health(run)
            if result.status == WorkerStatus.FAILED:
                _end(instance, run, result.msg or "The worker of this run is gone.")


def command_of(run: dg.DagsterRun) -> str | None:
    """Return the name of the `jgpt run` that a run belongs to; None for another run."""
    return _tag(run, COMMAND_TAG) or None


def _tag(run: dg.DagsterRun, name: str) -> str:
    """Return the value of a tag, also under its name of earlier releases; empty if there is none."""
    return run.tags.get(name) or run.tags.get(_FORMER_TAGS[name], "")


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun, reason: str) -> None:
    latest = instance.get_run_by_id(run.run_id)
    if latest is None or latest.is_finished:
        return
    if latest.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(latest, reason)
    else:
        instance.report_run_failed(latest, reason)


def _process_of(run: dg.DagsterRun) -> str | None:
    """Return the name of the process, or else of the command, that makes a run; None if no tag of its own says."""
    name, _, run_id = _tag(run, PROCESS_TAG).partition(" ")
    if run_id == run.run_id:
        return name
    return command_of(run) if run.parent_run_id is None else None


def _never_began(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether a run that no process claims has done nothing for minutes: each claims its run when it begins.

    A run that waits for its launcher is not judged: how long it may wait is Dagster's own setting.
    """
    if run.status not in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED):
        return False
    record = instance.get_run_record_by_id(run.run_id)
    if record is None or time.time() - record.create_timestamp.timestamp() < _BEGIN_SECONDS:
        return False
    # A step begins within the first few lines.
    first = instance.event_log_storage.get_logs_for_run(run.run_id, limit=50)
    return not any(entry.step_key for entry in first) and all(
        time.time() - entry.timestamp >= _BEGIN_SECONDS for entry in first
    )


def _free_slots(instance: dg.DagsterInstance, report: Callable[[str], None]) -> None:
    events = instance.event_log_storage
    for pool in events.get_concurrency_keys() if events.supports_global_concurrency_limits else ():
        info = events.get_concurrency_info(pool)
        holders = {slot.run_id for slot in info.claimed_slots}
        # A waiting step of a dead run would be given the next slot.
        for run_id in holders | {step.run_id for step in info.pending_steps}:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                events.free_concurrency_slots_for_run(run_id)
            elif run_id in holders:
                report(f"run {run_id} holds the pool {pool!r}: a step of that pool waits until it ends")


# ---- lock files --------------------------------------------------------------------------------------------------


def _lock_path(root: Path, kind: str, name: str) -> Path:
    return child_path(root, ".locks", f"{kind}-{name}.lock")


def _hold(root: Path, kind: str, holder: _Holder) -> tuple[str, FileLock]:
    """Acquire a new lock file and return its name and lock. The record comes first: a lock without one is judged."""
    name = uuid.uuid4().hex
    path = _lock_path(root, kind, name)
    make_own_directory(path.parent)
    write_json(path.with_suffix(".json"), asdict(holder), internal=True)
    lock = file_lock(path)
    try_acquire(lock, seconds=-1)
    return name, lock


@cache
def _hold_for_life(root: Path, holder: _Holder) -> tuple[str, FileLock]:
    """The same, once for a process and instance: `holder` names the process, which a forked copy is not."""
    return _hold(root, "process", holder)


def _dead_processes(instance: dg.DagsterInstance, root: Path, stack: ExitStack) -> Iterator[tuple[str, str]]:
    """Yield the name of each dead process and how it ended, in words; hold its lock until the stack is closed."""
    for path in sorted((root / ".locks").glob("*-*.lock")):
        match = _LOCK.fullmatch(path.name)
        holder = _read_holder(path.with_suffix(".json"))
        if match is None or (holder and not (holder.is_here and holder.instance == _id_of(instance))):
            continue
        lock = file_lock(path)
        if not try_acquire(lock):
            continue
        stack.callback(lock.release)
        if match[1] == "command":
            yield match[2], f"The `jgpt run` that this run belonged to was killed{_KILLED}."
        elif holder:
            yield match[2], f"The process of this run ({holder.pid} on {holder.host}) was killed{_KILLED}."


def _read_holder(path: Path) -> _Holder | None:
    """Return the record of a lock; None for a command of a release that wrote none."""
    try:
        return _Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _unlink(lock: Path) -> None:
    for path in (lock, lock.with_suffix(".json")):
        with suppress(FileNotFoundError):
            path.unlink()


def _id_of(instance: dg.DagsterInstance) -> str:
    storage = instance.run_storage
    return storage.get_run_storage_id() if isinstance(storage, SqlRunStorage) else ""


@cache
def _boot_id() -> str:
    """Return the kernel's name for the time since this machine started; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
