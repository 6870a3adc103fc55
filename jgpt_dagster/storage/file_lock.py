"""Locks on files that the kernel releases when the process that holds them ends, however it ends."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from jgpt_dagster.errors import JgptError

# What a file system answers that has no locks, is out of them, or cannot be written.
_REFUSALS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EROFS, errno.EACCES})


class LockRefusedError(JgptError):
    """The file system of a lock file does not let the file be locked."""


def file_lock(path: Path) -> FileLock:
    """Return the lock at `path`, not acquired; any thread of the process may release it.

    A lock that mere existence of a file stands for is never used instead: it would outlive a killed process.
    """
    return FileLock(path, thread_local=False, fallback_to_soft=False)


def try_acquire(lock: FileLock, seconds: float = 0.0, poll_seconds: float = 0.05) -> bool:
    """Acquire a lock within some time and return whether that succeeded; create its directory if it is missing.

    Raises LockRefusedError, naming the file and what to do, if the file system refuses the lock.
    """
    path = Path(lock.lock_file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=seconds, poll_interval=poll_seconds)
    except Timeout:
        return False
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise LockRefusedError(
            f"{path} cannot be locked ({error.strerror}), and without locks two runs could write the same output. "
            f"{_advice(error.errno)}"
        ) from error
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path` while the block runs; wait for it as long as it takes. Raises LockRefusedError."""
    lock = file_lock(path)
    try_acquire(lock, seconds=-1)
    try:
        yield
    finally:
        lock.release()


def _advice(number: int | None) -> str:
    if number == errno.EROFS:
        return "Its file system is mounted read-only: mount it for writing, or point JGPT_DATA at another directory."
    if number == errno.EACCES:
        return "Let the user that runs this command write to its directory, or point JGPT_DATA at another directory."
    return (
        "Its file system has no working locks, as some NFS and FUSE mounts: mount it with locks (NFS: version 4, or "
        "the lock service running and no `nolock`), or point JGPT_DATA at a local disk."
    )
