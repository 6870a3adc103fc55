"""The lock of a partition: of two runs that want to make the same output, the second waits and reports the holder."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jgpt_dagster.storage.atomic_write import write_json
from jgpt_dagster.storage.file_lock import file_lock, try_acquire
from jgpt_dagster.storage.safe_path import child_path

_POLL_SECONDS = 0.2
_REPORT_SECONDS = 30.0


@contextmanager
def partition_lock(root: Path, label: str, owner: str, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of one output while the block runs; the kernel releases it when the process ends, however it ends.

    `label` is the name of the output, `owner` names the run to those that wait, and `report` receives a line when the
    lock is held by another run, again every 30 s. Raises LockRefusedError.
    """
    path = lock_path(root, label)
    holder, lock = path.with_suffix(".json"), file_lock(path)
    wait = 0.0
    while not try_acquire(lock, wait, _POLL_SECONDS):
        report(f"{label}: waiting for {_describe(holder)}")
        wait = _REPORT_SECONDS
    try:
        write_json(holder, {"owner": owner, "pid": os.getpid(), "host": socket.gethostname()}, internal=True)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def lock_path(root: Path, label: str) -> Path:
    """Return the path of the lock of the output with this label."""
    stem = label.replace(" ", "__").replace("|", "_")
    return child_path(root, ".locks", f"{stem}.lock")


def _describe(holder: Path) -> str:
    try:
        record = json.loads(holder.read_text())
        return f"{record['owner']} (process {record['pid']} on {record['host']})"
    except (OSError, ValueError, KeyError):
        return "another process"
