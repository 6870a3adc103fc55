"""Ends a run that stands still: a process that hangs would make all others wait for it, for ever or until a timeout
that names nobody.

Each process has a file beside the checkpoints, which a thread of its touches. A process that is stopped, or whose host
is gone, does not, and so the others can tell which one it is.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

HEARTBEATS = "heartbeats"
_BEATS = 10
_LONGEST_PAUSE = 10.0


class Watchdog:
    """Ends this process where it makes no step for too long. A context manager; `beat` tells of progress."""

    def __init__(self, run: Path, rank: int, world: int, seconds: float, newest_checkpoint: Callable[[], str]) -> None:
        self._directory = run / HEARTBEATS
        self._rank, self._world, self._seconds = rank, world, seconds
        self._newest_checkpoint = newest_checkpoint
        self._pause = min(seconds / _BEATS, _LONGEST_PAUSE)
        self._progress = time.monotonic()
        self._step = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watchdog":
        self._directory.mkdir(parents=True, exist_ok=True)
        self._file(self._rank).write_text(f"process {self._rank} (pid {os.getpid()} on {socket.gethostname()})")
        self.beat(0)
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._ended.set()
        self._thread.join()
        self._file(self._rank).unlink(missing_ok=True)
        with suppress(OSError):
            # Fails as long as another process has its file there.
            self._directory.rmdir()

    def beat(self, step: int) -> None:
        """Tell that this process is about to take a step, or to do what follows one."""
        self._step, self._progress = step, time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(self._pause):
            # A shared disk may fail for a moment; the next beat comes soon.
            with suppress(OSError):
                os.utime(self._file(self._rank))
            if time.monotonic() - self._progress > self._seconds:
                self._end_run()

    def _end_run(self) -> None:
        try:
            silent = self._silent()
            who = f"{' and '.join(silent.values())} gives no sign of life" if silent else "every process is alive"
        except OSError as error:
            silent, who = {}, f"which process holds it up cannot be told ({error})"
        try:
            self._explain(who, speaks=self._rank == min(set(range(self._world)) - silent.keys()))
        finally:
            os._exit(1)

    def _explain(self, who: str, *, speaks: bool) -> None:
        if speaks:
            _say(
                f"error: no progress for {self._seconds:,.0f} s at step {self._step:,}: {who}. Look at what holds it "
                "up (memory, disk, GPU errors in the kernel's log), then run again to go on from the newest "
                "checkpoint. Where a step may take longer by its nature, raise stall_seconds."
            )
            # Only now: it may be the disk of the checkpoints that does not answer.
            _say(f"newest checkpoint: {self._newest_checkpoint()}")
        else:
            # The launcher ends all processes as soon as one has failed: leave the first word to the one that explains.
            time.sleep(self._pause)

    def _silent(self) -> dict[int, str]:
        """Return the processes whose files are old beside this one's; the clock is that of the shared disk."""
        now = self._file(self._rank).stat().st_mtime
        files = {rank: self._file(rank) for rank in range(self._world) if self._file(rank).exists()}
        return {rank: file.read_text() for rank, file in files.items() if now - file.stat().st_mtime > 3 * self._pause}

    def _file(self, rank: int) -> Path:
        return self._directory / f"rank={rank:05d}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
