"""Creation of files and folders: exclusively, never through a link, with no wider rights than others need.

A data root that is created here belongs to its owner alone (0700). In one that already exists, outputs are as readable
as the folder that they are made in, so a team shares a root by `chmod g+rwxs $JGPT_DATA` and a umask of 002. What is
*internal* (locks, downloads, run records, the scratch directory, DAGSTER_HOME) is the owner's alone, and the group's
too if the group may write to the folder that it is made in. Others never get rights to it, nor may they write anything.
"""

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from jgpt_dagster.errors import JgptError

OWNER_ONLY = 0o600
"""The mode of a file that its owner alone may read, such as a key."""


class LinkedPathError(JgptError):
    """There is a link where this package makes a file or folder of its own."""


def make_directory(path: Path, *, internal: bool = False) -> None:
    """Create a directory and its missing parents; one that exists stays as it is.

    A symbolic link to a directory will do: the scratch directory may be one. Where that must not be, use
    `make_own_directory`.
    """
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for directory in reversed(missing):
        try:
            directory.mkdir(mode=_mode(directory.parent, internal=internal))
        except FileExistsError:
            if not directory.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from None


def make_own_directory(path: Path) -> None:
    """Create an internal directory of a fixed name, such as `.locks`. Raises LinkedPathError if it is a link."""
    if path.is_symlink():
        raise _linked(path)
    make_directory(path, internal=True)


def remove_own_directory(path: Path) -> None:
    """Remove an internal directory with all it holds, as far as possible; nothing if it lies behind a link."""
    if not (path.is_symlink() or path.parent.is_symlink()):
        shutil.rmtree(path, ignore_errors=True)


def make_root(path: Path) -> None:
    """Create the top directory of a data root or scratch disk, for its owner alone; one that exists stays as it is."""
    make_directory(path.parent, internal=True)
    path.mkdir(mode=0o700, exist_ok=True)


def create_directory(path: Path) -> None:
    """Create a directory whose parent exists. Raises FileExistsError, also for a symbolic link."""
    path.mkdir(mode=_mode(path.parent))


def create_file(path: Path, *, internal: bool = False, mode: int | None = None) -> BinaryIO:
    """Create a file and open it for reading and writing bytes.

    `mode` overrides the rights that follow from the folder. Raises FileExistsError if anything has this name, be it a
    link to nothing.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    rights = _mode(path.parent, internal=internal) & 0o666 if mode is None else mode
    return os.fdopen(os.open(path, flags, rights), "w+b")


def open_own_file(path: Path) -> BinaryIO:
    """Open an internal file for reading and appending bytes, unbuffered, and create it if there is none of our own.

    Anything else of this name is removed first: a link, a second name of a file that lies elsewhere too, something that
    is no file, and a file of another user.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        pass
    except OSError:  # a link, a directory, a FIFO or device that nobody reads
        remove(path)
    else:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid():
            return os.fdopen(descriptor, "a+b", buffering=0)
        os.close(descriptor)
        remove(path)
    rights = _mode(path.parent, internal=True) & 0o666
    return os.fdopen(os.open(path, flags | os.O_CREAT | os.O_EXCL, rights), "a+b", buffering=0)


def remove(path: Path) -> None:
    """Remove a file, a directory with all it holds, or a link (never what it leads to); nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def own_file_mode(path: Path) -> int:
    """Return the rights of an internal file at `path`. Raises LinkedPathError if there is a link."""
    if path.is_symlink():
        raise _linked(path)
    return _mode(path.parent, internal=True) & 0o666


def _mode(parent: Path, *, internal: bool = False) -> int:
    """Return the rights of a directory that is made in `parent`, from which the system takes the umask."""
    found = stat.S_IMODE(parent.stat().st_mode)
    shared_by_group = found & (stat.S_IWGRP | stat.S_IWOTH) == stat.S_IWGRP
    if internal:
        return 0o770 if shared_by_group else 0o700
    return 0o700 | (found & (0o075 if shared_by_group else 0o055))


def _linked(path: Path) -> LinkedPathError:
    return LinkedPathError(
        f"{path} is a link to {os.readlink(path)}, where a file or folder of this package's own belongs. Somebody who "
        "can write to that folder may have put it there: look at it, then delete it and run the same command again."
    )
