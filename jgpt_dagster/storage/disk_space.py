"""Free disk space: checking it before a large write, and turning a full disk into an error that says what to do."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jgpt_dagster.errors import JgptError


class DiskFullError(JgptError):
    """The disk that holds the data has no room for a file."""


def require_free_space(directory: Path, needed: int, purpose: str, setting: str = "JGPT_DATA") -> None:
    """Raise DiskFullError unless `needed` bytes are free on the disk of `directory`, which need not exist yet.

    `setting` names the variable that selects the disk.
    """
    existing = directory
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DiskFullError(
            f"{directory}: {purpose} needs {needed:,} bytes and {free:,} are free. "
            f"Free some space or point {setting} at another disk, then run the same command again."
        )


def is_disk_full(error: OSError) -> bool:
    """Return whether the system reports a full disk or an exceeded quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def as_disk_full_error(path: Path) -> Iterator[None]:
    """Turn an OSError of a full disk or quota into a DiskFullError that names the file or directory."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"{path}: the disk is full. Nothing whole was lost and the unfinished file is gone. "
                "Free some space, then run the same command again."
            ) from error
        raise
