"""Causes that lie with the machine: disks, memory, rights, connections."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

AGAIN = "then run the same command again"

# A disk with less than this is full for all that this package and Dagster write.
_FULL_BYTES = 1 << 18

PORT_TAKEN = f"this port is taken by another program. In training, set MASTER_PORT to a free one or unset it, {AGAIN}."
_RIGHTS = f"this user may not do that. Give the user that runs this command the rights to it, {AGAIN}."
_NETWORK = f"the connection failed. Check the network and whether the other side runs, {AGAIN}."
_ADVICE = {
    errno.EROFS: f"its file system is mounted read-only. Mount it for writing, or use another directory, {AGAIN}.",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOENT: f"it is missing. Create, mount or restore it, or correct the setting that names it, {AGAIN}.",
    errno.ENOTDIR: f"a part of this path is no directory. Correct the setting that names it, {AGAIN}.",
    errno.EISDIR: f"it is a directory where a file belongs. Move it away, {AGAIN}.",
    errno.EMFILE: f"too many files are open. Raise the limit (`ulimit -n`), {AGAIN}.",
    errno.ENFILE: f"too many files are open on this machine. End other programs, {AGAIN}.",
    errno.EFBIG: f"the file would exceed the largest size allowed. Raise that limit (`ulimit -f`), {AGAIN}.",
    errno.EIO: f"the disk reports an input/output error. See the kernel's log (`dmesg`), {AGAIN}.",
    errno.ESTALE: f"the network file system has lost it. Mount it again, {AGAIN}.",
    errno.EAGAIN: f"this user may start no more processes. Raise the limit (`ulimit -u`), {AGAIN}.",
    errno.EADDRINUSE: PORT_TAKEN,
    **dict.fromkeys((errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH), _NETWORK),
    **dict.fromkeys((errno.ENETUNREACH, errno.EHOSTDOWN, errno.EPIPE), _NETWORK),
}


def describe(error: OSError) -> str:
    """Return the cause of an error of the system: the file, what is wrong with it, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        # Of a copy, the second is the one that is written.
        return disk_full(_name(error.filename2 or error.filename))
    if error.errno == errno.ENOMEM:
        return out_of_memory()
    advice = _ADVICE.get(error.errno or 0, f"see the kernel's log (`dmesg`), {AGAIN}.")
    # A thread or process that cannot be started, or a port, has no file.
    name = _name(error.filename) or (error.strerror or str(error))
    return f"{name}: {advice}"


def disk_full(what: str = "") -> str:
    """Return the cause of a full disk, which names a file on it or else whichever places are full."""
    full = " and ".join(places_without_space())
    where = (
        f"{what}: the disk is full" if what else f"the disk of {full} is full" if full else "a disk or quota is full"
    )
    return f"{where}. Free some space (`jgpt prune` and `jgpt dumps prune` do), {AGAIN}."


def out_of_memory() -> str:
    """Return the cause of memory that cannot be had."""
    return (
        "out of memory. Let fewer processes work at once (JGPT_WORKERS=1; JGPT_PROCESSES=1 and a smaller `micro_batch` "
        f"in training), or give it more memory, {AGAIN}."
    )


def places_without_space() -> Iterator[str]:
    """Yield each place that is written to and has no space left, with the variable that names it."""
    data = os.environ.get("JGPT_DATA", "")
    named = {
        "JGPT_DATA": data,
        "JGPT_SCRATCH": os.environ.get("JGPT_SCRATCH", ""),
        "DAGSTER_HOME": os.environ.get("DAGSTER_HOME", ""),
        "TMPDIR": tempfile.gettempdir() if "TMPDIR" in os.environ else "/tmp",  # noqa: S108  # looked at, not used
        "/dev/shm": "/dev/shm",  # noqa: S108
    }
    for name, text in named.items():
        if text and "://" not in text and is_full(Path(text).expanduser()):
            yield text if name == text else f"{name}={text}"


def is_full(directory: Path) -> bool:
    """Return whether the disk of a directory has no space, or no entries for files, left."""
    if not directory.is_dir():
        return False
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize < _FULL_BYTES or (disk.f_files > 0 and disk.f_favail == 0)


def _name(filename: object) -> str:
    if isinstance(filename, bytes):
        return os.fsdecode(filename)
    return "" if filename is None or isinstance(filename, int) else str(filename)
