"""Run the training program under a launcher, and end every process of the launch with it.

Launchers start processes, some in sessions of their own, and forward signals unreliably. Two things make up for that.
Every process of a launch has the launch's id in its environment, by which all of them are found. And its standard input
is a pipe held open by the launching process, so that the training program notices when that process is gone.

A launcher that receives SIGTERM gives its children 30 seconds (DeepSpeed, torchrun), which may be too short to save a
checkpoint. So training processes, which have a process name of their own, get the signal first, and launchers once
those are gone.
"""

import ctypes
import os
import re
import selectors
import shlex
import signal
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from jgpt_dagster.causes.report import Report, most_telling, read_report
from jgpt_dagster.errors import JgptError
from jgpt_dagster.runtime.interrupts import hold_interrupts

EXIT_INTERRUPTED = 143
"""Exit code of a training process that saved a checkpoint and ended on SIGTERM: 128 + 15."""

_FATAL_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)
_KILLED = {
    signal.SIGKILL: ": out of memory? See the kernel's log (`dmesg`). Use a smaller `micro_batch`, "
    "`activation_checkpointing: true` or fewer processes (JGPT_PROCESSES), then run the same command again.",
    signal.SIGBUS: ": is /dev/shm, or a disk, full? Free some space, then run the same command again.",
}
_LAUNCH_ID = "JGPT_LAUNCH"
# The name of a training process, as `ps -o comm` shows it; Linux allows 15 characters.
_TRAINING_PROCESS_NAME = "jgpt-train"
# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_TAIL_LINES = 30
_POLL_SECONDS = 0.2
# Time for the last processes of a launch to end after their launcher.
_STRAGGLER_SECONDS = 1.0
# Time for a launcher to end after its training processes.
_LAUNCHER_SECONDS = 5.0


class LaunchError(JgptError):
    """A command that could not be started, or a launch that failed; the message is the cause."""


class LaunchInterruptedError(LaunchError):
    """A launch whose processes were asked to end, and did."""


class ReportedError(LaunchError):
    """A launch of which a process has reported the cause and what to do."""


def run_process_group(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    on_line: Callable[[str], None],
    stop_grace_seconds: float = 30,
) -> int:
    """Run a command, pass each line of output of its whole process group to `on_line`, and return its exit code, 0.

    `env` is the whole environment. However this call ends (the command ends, `on_line` raises, KeyboardInterrupt), no
    process is left: training processes get SIGTERM and `stop_grace_seconds` to save a checkpoint, then all others get
    SIGTERM and soon afterwards SIGKILL. Without training processes, the others get the grace period. If the calling
    process is killed, the command is killed too and training processes end themselves.

    SIGINT and SIGTERM end the call, however many come: their handlers are called once no process is left.

    Raises LaunchError if the command cannot be started, ends with a code other than 0, or ends before the processes
    that it started (a killed launcher may report success): with the cause that its processes have reported (see
    `causes.report`), else with the last lines of output; LaunchInterruptedError if they were ended by SIGTERM.
    """
    with hold_interrupts() as interrupts:
        group = _ProcessGroup(argv, env, on_line)
        abandoned = False
        try:
            while group.process.poll() is None and not interrupts.received:
                group.forward_output()
            # Bounded: the processes of a killed launcher would run, and may print, for ever.
            deadline = time.monotonic() + _STRAGGLER_SECONDS
            while (abandoned := any(group.pids())) and time.monotonic() < deadline and not interrupts.received:
                group.forward_output()
        finally:
            group.stop(stop_grace_seconds)
    code = group.process.wait()
    if code or abandoned:
        raise _failure(argv, code, group.tail, group.reports)
    return code


def die_with_launcher() -> None:
    """Mark this process as a training process, and kill it once the process that launched it has ended.

    Does nothing in a process that `run_process_group` did not start.
    """
    if _LAUNCH_ID in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_NAME, _TRAINING_PROCESS_NAME.encode())
        threading.Thread(target=_die_with_stdin, daemon=True).start()


class _ProcessGroup:
    """A running command with every process that it started."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.reports: list[Report] = []
        self._launch_id = uuid.uuid4().hex
        self._on_line = on_line
        self._partial_line = b""
        libc, parent = ctypes.CDLL(None), os.getpid()

        def die_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        try:
            self.process = subprocess.Popen(  # noqa: S603  # no shell; arguments are numbers and paths of this package
                argv,
                env={**env, _LAUNCH_ID: self._launch_id},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            raise LaunchError(f"cannot start {argv[0]}: {error}") from error
        assert self.process.stdout is not None  # noqa: S101  # it is a pipe
        self._output = self.process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)

    def forward_output(self) -> bool:
        """Wait for output, at most a fraction of a second, and forward it by line. Return False if there was none."""
        if not self._selector.select(_POLL_SECONDS):
            return False
        data = os.read(self._output, 1 << 16)
        if not data:
            # A closed pipe stays readable: sleep instead of spinning until the processes end too.
            time.sleep(_POLL_SECONDS)
            return False
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        for line in lines:
            self._forward(line)
        return True

    def pids(self) -> Iterator[int]:
        """Yield the ids of the processes of this launch, without zombies, which have no environment."""
        entry = f"{_LAUNCH_ID}={self._launch_id}".encode()
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if entry in (directory / "environ").read_bytes().split(b"\0"):
                    yield int(directory.name)
            except OSError:
                continue

    def stop(self, grace_seconds: float) -> None:
        """End every remaining process and forward the rest of their output."""
        try:
            deadline = time.monotonic() + grace_seconds
            if any(self._training_pids()):
                self._terminate(self._training_pids, deadline)
                deadline = time.monotonic() + min(grace_seconds, _LAUNCHER_SECONDS)
            self._terminate(self.pids, deadline)
        finally:
            while any(self.pids()):
                _signal(self.pids(), signal.SIGKILL)
                time.sleep(0.05)
            self.process.wait()
        while self.forward_output():
            pass
        if self._partial_line:
            self._forward(self._partial_line)
        self._selector.close()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _forward(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        if report := read_report(text):
            self.reports.append(report)
            return
        self.tail.append(text)
        try:
            self._on_line(text)
        except BaseException:
            # The same error must not interrupt the ending of the processes.
            self._on_line = lambda _: None
            raise

    def _training_pids(self) -> Iterator[int]:
        """Yield the ids of the training processes among them."""
        for pid in self.pids():
            try:
                if Path(f"/proc/{pid}/comm").read_text().rstrip("\n") == _TRAINING_PROCESS_NAME:
                    yield pid
            except OSError:
                continue

    def _terminate(self, pids: Callable[[], Iterator[int]], deadline: float) -> None:
        """Send SIGTERM once to each process and forward output until all have ended or the deadline has passed."""
        signalled: set[int] = set()
        while (running := set(pids())) and time.monotonic() < deadline:
            _signal(running - signalled, signal.SIGTERM)
            signalled |= running
            self.forward_output()


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _die_with_stdin() -> None:
    # Nothing is ever written to this pipe: a read returns once its other end, held by the launching process, is closed.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _failure(argv: Sequence[str], code: int, tail: Sequence[str], reports: Sequence[Report]) -> LaunchError:
    """Return the error of a launch that failed: the cause first, the command and its output only if nobody knows it."""
    report = most_telling(reports)
    killed_by = _fatal_signal(code, tail)
    if report and report.kind == "failed":
        return ReportedError(report.cause)
    if killed_by and killed_by != signal.SIGTERM:
        return LaunchError(f"a training process was killed by {killed_by.name}{_KILLED.get(killed_by, '.')}")
    if report and report.kind == "lost peer":
        return ReportedError(report.cause)
    if code == EXIT_INTERRUPTED or killed_by or (report and report.kind == "interrupted"):
        words = report.cause if report else "interrupted before it had begun"
        return LaunchInterruptedError(f"{words}\nRun it again to resume from the newest checkpoint.")
    how = f"ended with exit code {code}" if code else "ended before the processes that it started"
    cause = report.cause.partition("\n")[0] if report else how
    return LaunchError(
        "\n".join(
            [f"the training program failed: {cause}", f"{shlex.join(argv)} {how}. The last lines of its output:", *tail]
        )
    )


def _fatal_signal(code: int, tail: Sequence[str]) -> signal.Signals | None:
    """Return the signal that killed a process of a launch, by the launcher's exit code or what torchrun prints."""
    # DeepSpeed's launcher exits with the negative signal number of a killed process, a shell with 128 more.
    number = next((value for value in (-code, 256 - code, code - 128) if value in _FATAL_SIGNALS), 0)
    torchrun = re.search(r"Signal (\d+) \(SIG\w+\) received by PID", "\n".join(tail))
    number = number or (int(torchrun[1]) if torchrun else 0)
    return signal.Signals(number) if number in _FATAL_SIGNALS else None
