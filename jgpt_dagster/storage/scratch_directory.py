"""A directory for the intermediate files of one step, which is gone when the step ends."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from jgpt_dagster.storage.disk_space import DiskFullError, is_disk_full
from jgpt_dagster.storage.file_creation import make_directory


@contextmanager
def scratch_directory(parent: Path, purpose: str) -> Iterator[Path]:
    """Yield an empty directory in `parent`, for this user alone; both are made. It is deleted when the block ends.

    What a killed process leaves is named `.….tmp`, so that `jgpt prune` finds it. Raises DiskFullError, naming the
    purpose, if the disk is full.
    """
    make_directory(parent, internal=True)
    directory = Path(mkdtemp(dir=parent, prefix=".", suffix=".tmp"))
    try:
        yield directory
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(
            f"{parent}: {purpose} has no room: {error.strerror}. "
            "Free some space or point JGPT_SCRATCH at another disk, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
