"""Atomic writes: a file or directory appears under its name complete and flushed to disk, or not at all.

Temporary names are fixed (`.NAME.tmp` next to the target) rather than random: the partition lock excludes a second
writer, and the leftovers of a killed writer are removed by the next one instead of piling up. Whatever has such a name,
a link included, is removed and the file or directory is created anew, so nobody can lead a writer elsewhere.
"""

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from jgpt_dagster.storage.disk_space import as_disk_full_error
from jgpt_dagster.storage.file_creation import create_directory, create_file, make_directory, remove

# From fcntl.h and linux/fs.h.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def atomic_file(path: Path, *, internal: bool = False, mode: int | None = None) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; the file is renamed to `path` when the block ends without an error.

    `internal` and `mode` decide who may read it (see `file_creation`). Raises DiskFullError, naming the file, if the
    disk or the quota is full. An existing file stays at `path` until the new one is complete.
    """
    make_directory(path.parent)
    temporary = temporary_path(path)
    with as_disk_full_error(path):
        remove(temporary)
        try:
            with create_file(temporary, internal=internal, mode=mode) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
            _sync_directory(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory to fill; it is renamed to `path` when the block ends without an error.

    It changes places with an existing directory, which is deleted afterwards: at every moment one of them is whole at
    `path`. On a file system that cannot swap, the existing one is moved aside first, and a kill between the two renames
    leaves `path` missing. Raises DiskFullError as `atomic_file` does.
    """
    make_directory(path.parent)
    temporary, retired = temporary_path(path), retired_path(path)
    for leftover in (temporary, retired):
        remove(leftover)
    create_directory(temporary)
    with as_disk_full_error(path):
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    _sync_file(file)
            if not (os.path.lexists(path) and _swap(temporary, path)):
                if os.path.lexists(path):
                    os.rename(path, retired)
                os.rename(temporary, path)
            _sync_directory(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    for replaced in (temporary, retired):
        remove(replaced)


def write_json(path: Path, value: Any, *, internal: bool = False) -> None:
    """Write a value atomically as indented JSON with sorted keys. Raises ValueError for NaN and infinities.

    `internal` decides who may read it (see `file_creation`).
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False)
    with atomic_file(path, internal=internal) as stream:
        stream.write(text.encode() + b"\n")


def link_or_copy(source: Path | str, target: Path | str) -> None:
    """Hard-link a file or symbolic link; copy it if the file system has no hard links or the target is on another."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)


def temporary_path(path: Path) -> Path:
    """Return the path of a file or directory while it is being written."""
    return path.with_name(f".{path.name}.tmp")


def retired_path(path: Path) -> Path:
    """Return the path of a directory that was replaced or is being removed."""
    return path.with_name(f".{path.name}.old")


def _swap(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; return whether the system and the file system can (renameat2(2))."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    """Flush a directory, without which a rename may not survive a power cut. Some network file systems cannot."""
    try:
        _sync_file(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
