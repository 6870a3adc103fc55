"""Counts what a process and its children change on disk, and kills all of them with SIGKILL at a chosen change.

A *change* is an opening for writing, a renaming, a removal, or the making of a link or directory below one folder, as
the audit events of Python tell of it before it happens. What libraries in other languages write (safetensors,
tokenizers, torch) has no event of its own; it lies between two changes, and the sizes of all files, which are noted
before each change, say between which.

To kill within a write, every process gets a limit to the size of its files (RLIMIT_FSIZE) at a change: the kernel ends
the process that reaches it in the middle of its write, as SIGKILL would, whichever library writes. `watch` ends the
others.

A plan travels in the environment. This module imports nothing but the standard library: each process runs it first.
"""

import ctypes
import json
import os
import resource
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Training processes get no other variables than those that they need; PYTHON… is among them.
VARIABLE = "PYTHONFILECHANGES"

_RECORD_BYTES = 512
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Plan:
    """Where to count and when to kill: at change `at`, numbered from 1, or within the first file that grows beyond
    `limit` bytes after it. Without `at`, changes are counted and sizes noted.

    `root` is the folder whose changes count; `log` is one outside of it, for this plan alone.
    """

    root: str
    log: str
    at: int = 0
    limit: int | None = None

    @property
    def changes(self) -> Path:
        return Path(self.log, "changes")

    @property
    def processes(self) -> Path:
        return Path(self.log, "processes")

    @property
    def sizes(self) -> Path:
        return Path(self.log, "sizes")

    @property
    def reached(self) -> Path:
        return Path(self.log, "reached")


@dataclass(frozen=True)
class Change:
    """One change: its number from 1, the process, the audit event and the path, relative to the root."""

    number: int
    process: int
    event: str
    path: str


def count(plan: Plan) -> None:
    """Count the changes of this process and all that it starts from now on, and kill them as planned."""
    os.environ[VARIABLE] = json.dumps(asdict(plan))
    here = str(Path(__file__).parent / "audited")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    _Counter(plan).begin()


def count_along() -> None:
    """Count along if a process that counts has started this one."""
    if VARIABLE in os.environ:
        _Counter(Plan(**json.loads(os.environ[VARIABLE]))).begin()


def changes_of(plan: Plan) -> list[Change]:
    """Return the changes that were counted, in order."""
    content = plan.changes.read_bytes() if plan.changes.exists() else b""
    records = [content[start : start + _RECORD_BYTES] for start in range(0, len(content), _RECORD_BYTES)]
    fields = [record.decode(errors="replace").rstrip().split(" ", 2) for record in records]
    return [Change(number, int(pid), event, path) for number, (pid, event, path) in enumerate(fields, 1)]


def growths_of(plan: Plan, end: dict[int, tuple[str, int]]) -> Iterator[tuple[int, str, int, int]]:
    """Yield where files grow: the change after which one does, its path, and its sizes before and afterwards.

    `end` are the sizes once all has ended (see `sizes_below`).
    """
    noted = {0: dict[int, tuple[str, int]]()}
    for line in plan.sizes.read_text().splitlines():
        number, found = json.loads(line)
        noted[number] = {int(inode): (path, size) for inode, (path, size) in found.items()}
    numbers = sorted(noted)
    links = {change.number for change in changes_of(plan) if change.event == "os.link"}
    for number, following in zip(numbers[1:], [*numbers[2:], None], strict=True):
        before, after = noted[number], end if following is None else noted[following]
        for inode, (path, size) in after.items():
            old = before.get(inode, ("", 0))[1]
            # A link to a file that lies elsewhere is no write.
            if size > old and not (number in links and inode not in before):
                yield number, path, old, size


def sizes_below(root: str) -> dict[int, tuple[str, int]]:
    """Return path and size of every file below a folder by its inode."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            with suppress(OSError):
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    found[status.st_ino] = (os.path.relpath(path, root), status.st_size)
    return found


def watch(plan: Plan, process: int, seconds: float = 300) -> int:
    """Wait until a child process that counts, and all that it has started, have ended; return its wait status.

    Once one of them has reached the limit of a plan, or the child has ended, the others are killed.
    """
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            break
        if plan.limit is not None and plan.reached.exists() and not all(map(_is_alive, _registered(plan))):
            os.kill(process, signal.SIGKILL)
        if time.monotonic() > deadline:
            plan.reached.touch()
            os.kill(process, signal.SIGKILL)
        time.sleep(0.002)
    plan.reached.touch()  # whoever starts only now ends at once
    while alive := [pid for pid in _registered(plan) if pid != process and _is_alive(pid)]:
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return status


def kill_all(plan: Plan) -> None:
    """Kill all processes that count by a plan, this one last."""
    for pid in sorted(_registered(plan), key=lambda pid: pid == os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class _Counter:
    """Numbers the changes of this process among those of all, by the length of a log that all append to."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._root = plan, plan.root.rstrip("/") + "/"
        self._pid = 0
        self._log = -1

    def begin(self) -> None:
        if self._plan.at and self._plan.reached.exists() and self._plan.limit is None:
            os.kill(os.getpid(), signal.SIGKILL)
        # Python ignores it, and a library would take a full disk for its cause.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._register()
        sys.addaudithook(self._hear)

    def _register(self) -> None:
        """Note this process, which may have been forked from one that counts."""
        self._pid = os.getpid()
        self._log = os.open(self._plan.changes, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(self._plan.processes, "ab", buffering=0) as stream:
            stream.write(b"%10d" % self._pid)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if (path := _changed(event, arguments)) and f"{path}/".startswith(self._root):
            if os.getpid() != self._pid:
                self._register()
            self._count(event, path[len(self._root) :] or ".")

    def _count(self, event: str, path: str) -> None:
        record = f"{self._pid} {event} {path}".encode()[: _RECORD_BYTES - 1]
        os.write(self._log, record.ljust(_RECORD_BYTES - 1) + b"\n")
        number = os.lseek(self._log, 0, os.SEEK_CUR) // _RECORD_BYTES
        if not self._plan.at:
            line = json.dumps([number, sizes_below(self._plan.root)]) + "\n"
            with open(self._plan.sizes, "ab", buffering=0) as stream:
                stream.write(line.encode())
        elif number == self._plan.at:
            self._plan.reached.touch()
            if self._plan.limit is None:
                kill_all(self._plan)
                ctypes.CDLL(None).pause()
            else:
                for pid in _registered(self._plan):
                    with suppress(OSError):
                        resource.prlimit(pid, resource.RLIMIT_FSIZE, (self._plan.limit, resource.RLIM_INFINITY))


def _changed(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return the path of a change, if an audit event tells of one."""
    if event == "open":
        path, _, flags = arguments
        return _path(path) if isinstance(flags, int) and flags & _WRITING else None
    if event in ("os.rename", "os.link"):
        return _path(arguments[1], arguments[3])
    if event == "os.symlink":
        return _path(arguments[1], arguments[2])
    if event in ("os.remove", "os.rmdir"):
        return _path(arguments[0], arguments[1])
    if event == "os.mkdir":
        return _path(arguments[0], arguments[2])
    if event == "os.truncate":
        return _path(arguments[0])
    if event == "ctypes.dlsym" and arguments[1] == "renameat2":
        return os.environ.get(VARIABLE) and json.loads(os.environ[VARIABLE])["root"] + "/(two paths change places)"
    return None


def _path(path: Any, folder: int = -1) -> str | None:
    """Return an absolute path, of a name in an open folder or an open file if need be."""
    with suppress(OSError, TypeError, ValueError):
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        base = os.getcwd() if folder < 0 else os.readlink(f"/proc/self/fd/{folder}")
        return os.path.normpath(os.path.join(base, os.fsdecode(path)))
    return None


def _registered(plan: Plan) -> list[int]:
    content = plan.processes.read_bytes() if plan.processes.exists() else b""
    return [int(content[start : start + 10]) for start in range(0, len(content), 10)]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
