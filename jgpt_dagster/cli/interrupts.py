"""What Ctrl-C and SIGTERM do to a command that can be run again to go on."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from jgpt_dagster.runtime.interrupts import INTERRUPTS

NOTHING_BEGUN = f"Interrupted before anything was begun. Resume with:\n  {shlex.join(['jgpt', *sys.argv[1:]])}"
"""What is said of an interrupt while modules are imported."""


@contextmanager
def exit_on_interrupt(message: str) -> Iterator[None]:
    """End the process at once, with a message, when the first SIGINT or SIGTERM arrives in the block.

    The exit code is that of shells: 128 and the number of the signal, 130 for Ctrl-C. Nothing is raised, so no library
    can swallow it or show a traceback, and a second signal changes nothing. What must not be torn apart holds signals
    back by `hold_interrupts`. Outside the main thread, the block just runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        for later in INTERRUPTS:
            signal.signal(later, signal.SIG_IGN)
        sys.stdout.flush()
        # Unbuffered: the stream itself may be in the middle of a write.
        os.write(sys.stderr.fileno(), f"\n{message}\nAborted!\n".encode())
        os._exit(128 + number)

    previous = {number: signal.signal(number, end) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
