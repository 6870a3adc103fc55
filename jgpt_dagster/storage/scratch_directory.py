"""A directory for the intermediate files of one step, which is gone when the step ends."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jgpt_dagster.storage.atomic_write import temporary_path
from jgpt_dagster.storage.disk_space import DiskFullError, is_disk_full
from jgpt_dagster.storage.file_creation import make_directory, remove


@contextmanager
def scratch_directory(path: Path, purpose: str) -> Iterator[Path]:
    """Yield an empty directory, the temporary one of `path`, for this user alone. It is deleted when the block ends.

    The caller holds the lock of the output that `path` is named for: what a killed process has left is removed. Raises
    DiskFullError, naming the purpose, if the disk is full.
    """
    directory = temporary_path(path)
    make_directory(directory.parent, internal=True)
    remove(directory)
    directory.mkdir(mode=0o700)
    try:
        yield directory
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(
            f"{path.parent}: {purpose} has no room: {error.strerror}. "
            "Free some space or point JGPT_SCRATCH at another disk, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
