"""Runs of `jgpt run` commands that were killed: which commands are alive, and the end of the others' runs.

A killed command cannot report anything. Dagster keeps showing its runs as started and keeps their slots in pools, for
which every later run would wait forever.
"""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from jgpt_dagster.orchestration.run_history import STARTED
from jgpt_dagster.storage.file_creation import file_lock
from jgpt_dagster.storage.safe_path import child_path

COMMAND_TAG = "jgpt/command"
"""The run tag that names the command a run belongs to."""

_COMMAND = re.compile("[0-9a-f]{32}")


@contextmanager
def command_lock(root: Path) -> Iterator[str]:
    """Yield a name for this command, for `COMMAND_TAG` on its runs; a lock below `root` shows that it is alive.

    The lock file stays after an error: a worker process that was killed alone leaves an unfinished run too.
    """
    name = uuid.uuid4().hex
    lock = _lock(root, name)
    with lock:
        yield name
    Path(lock.lock_file).unlink(missing_ok=True)


def fail_abandoned_runs(instance: dg.DagsterInstance, root: Path, report: Callable[[str], None]) -> None:
    """Mark the unfinished runs of dead commands over `root` as failed, and free the pool slots of finished runs.

    `report` receives a line for each run of another origin that holds a slot, because nothing shows whether it is
    alive.
    """
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=list(STARTED))):
        command = run.tags.get(COMMAND_TAG, "")
        # The UI takes any tag, and a name becomes part of a path.
        if not _COMMAND.fullmatch(command):
            continue
        lock = _lock(root, command)
        # A command that ended well has no lock file any more, and one over another root never had one here.
        if Path(lock.lock_file).exists():
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            instance.report_run_failed(run, "The `jgpt run` that this run belonged to was killed.")
            lock.release()
    events = instance.event_log_storage
    for pool in events.get_concurrency_keys() if events.supports_global_concurrency_limits else ():
        for run_id in {slot.run_id for slot in events.get_concurrency_info(pool).claimed_slots}:
            holder = instance.get_run_by_id(run_id)
            if holder is None or holder.is_finished:
                events.free_concurrency_slots_for_run(run_id)
            else:
                report(f"run {run_id} holds the pool {pool!r}: a step of that pool waits until it ends")


def _lock(root: Path, name: str) -> FileLock:
    return file_lock(child_path(root, ".locks", f"command-{name}.lock"))
