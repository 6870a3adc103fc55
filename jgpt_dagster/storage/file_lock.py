"""Locks on files that the kernel releases when the process that holds them ends, however it ends."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from jgpt_dagster.errors import JgptError
from jgpt_dagster.storage.file_creation import make_own_directory, own_file_mode

# What a file system answers that has no locks, is out of them, or cannot be written.
_REFUSALS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EROFS, errno.EACCES})


class LockRefusedError(JgptError):
    """The file system of a lock file does not let the file be locked."""


def file_lock(path: Path) -> FileLock:
    """Return the lock at `path`, not acquired, whose directory is created if missing.

    Raises LinkedPathError if either is a link, and LockRefusedError if the directory cannot be made.
    """
    with _telling_refusals(path):
        make_own_directory(path.parent)
    return lock_at(path)


def lock_at(path: Path) -> FileLock:
    """Return the lock at `path`, not acquired, whose directory is there already; any thread may release it.

    A lock that mere existence of a file stands for is never used instead: it would outlive a killed process.
    Raises LinkedPathError if `path` is a link.
    """
    return FileLock(path, mode=own_file_mode(path), thread_local=False, fallback_to_soft=False)


def try_acquire(lock: FileLock, seconds: float = 0.0, poll_seconds: float = 0.05) -> bool:
    """Acquire a lock within some time and return whether that succeeded.

    Raises LockRefusedError, naming the file and what to do, if the file system refuses the lock.
    """
    with _telling_refusals(Path(lock.lock_file)):
        try:
            lock.acquire(timeout=seconds, poll_interval=poll_seconds)
        except Timeout:
            return False
    return True


@contextmanager
def locked(lock: FileLock) -> Iterator[None]:
    """Hold a lock while the block runs; wait for it as long as it takes. Raises LockRefusedError."""
    try_acquire(lock, seconds=-1)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _telling_refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise LockRefusedError(
            f"{path} cannot be locked ({error.strerror}), and without locks two runs could write the same output. "
            f"{_advice(error.errno)}"
        ) from error


def _advice(number: int | None) -> str:
    if number == errno.EROFS:
        return "Its file system is mounted read-only: mount it for writing, or point JGPT_DATA at another directory."
    if number == errno.EACCES:
        return "Let the user that runs this command write to its directory, or point JGPT_DATA at another directory."
    return (
        "Its file system has no working locks, as some NFS and FUSE mounts: mount it with locks (NFS: version 4, or "
        "the lock service running and no `nolock`), or point JGPT_DATA at a local disk."
    )
