"""A watchdog that ends a stalled run: without it, all processes would wait for one that hangs, for ever or until a
timeout that does not name it.

A thread of each process touches a heartbeat file beside the checkpoints. A process that is stopped, or whose host is
gone, does not, which tells the others which one it is.
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

from jgpt_dagster.causes.report import Report

HEARTBEATS = "heartbeats"
_HEARTBEATS_PER_TIMEOUT = 10
_LONGEST_PAUSE_SECONDS = 10.0


class Watchdog:
    """Ends this process if it makes no progress for `seconds`. A context manager."""

    def __init__(
        self, run: Path, rank: int, world_size: int, seconds: float, newest_checkpoint: Callable[[], str]
    ) -> None:
        self._directory = run / HEARTBEATS
        self._rank, self._world_size, self._seconds = rank, world_size, seconds
        self._newest_checkpoint = newest_checkpoint
        self._pause = min(seconds / _HEARTBEATS_PER_TIMEOUT, _LONGEST_PAUSE_SECONDS)
        self._last_progress = time.monotonic()
        self._step = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watchdog":
        self._directory.mkdir(parents=True, exist_ok=True)
        self._file(self._rank).write_text(f"process {self._rank} (pid {os.getpid()} on {socket.gethostname()})")
        self.report_progress(0)
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._ended.set()
        self._thread.join()
        self._file(self._rank).unlink(missing_ok=True)
        with suppress(OSError):
            # Fails while another process still has its file there.
            self._directory.rmdir()

    def report_progress(self, step: int) -> None:
        """Restart the timeout: this process is about to take a step."""
        self._step, self._last_progress = step, time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(self._pause):
            # A shared disk may fail for a moment; the next heartbeat comes soon.
            with suppress(OSError):
                os.utime(self._file(self._rank))
            if time.monotonic() - self._last_progress > self._seconds:
                self._end_run()

    def _end_run(self) -> None:
        try:
            stale = self._stale_processes()
            who = f"{' and '.join(stale.values())} does not respond" if stale else "every process is alive"
        except OSError as error:
            stale, who = {}, f"the process that holds it up is unknown ({error})"
        try:
            self._explain(who, in_full=self._rank == min(set(range(self._world_size)) - stale.keys()))
        finally:
            os._exit(1)

    def _explain(self, who: str, *, in_full: bool) -> None:
        if in_full:
            cause = (
                f"no progress for {self._seconds:,.0f} s at step {self._step:,}: {who}. Look at what holds it up "
                "(memory, disk, GPU errors in the kernel's log), then run again to resume from the newest checkpoint. "
                "If steps legitimately take longer, raise stall_seconds."
            )
            _print_error(f"error: {cause}")
            Report("failed", cause, self._rank).send()
            # Last, since the disk of the checkpoints may be what hangs.
            _print_error(f"newest checkpoint: {self._newest_checkpoint()}")
        else:
            # The launcher ends all processes once one has failed: wait for the one that explains.
            time.sleep(self._pause)

    def _stale_processes(self) -> dict[int, str]:
        """Return the processes whose heartbeats are older than this one's, by the clock of the shared disk."""
        now = self._file(self._rank).stat().st_mtime
        files = {rank: self._file(rank) for rank in range(self._world_size) if self._file(rank).exists()}
        return {rank: file.read_text() for rank, file in files.items() if now - file.stat().st_mtime > 3 * self._pause}

    def _file(self, rank: int) -> Path:
        return self._directory / f"rank={rank:05d}"


def _print_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
