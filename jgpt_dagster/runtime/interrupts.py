"""SIGINT and SIGTERM that wait: a block that must not be torn apart learns of them, and they arrive after it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class HeldInterrupts:
    """The first interrupt that a block has received; None so far."""

    number: int | None = None

    @property
    def received(self) -> bool:
        """Whether there was any."""
        return self.number is not None

    def answered(self) -> None:
        """Let nothing arrive after the block: it has done what the interrupt asked for."""
        self.number = None


@contextmanager
def hold_interrupts() -> Iterator[HeldInterrupts]:
    """Hold SIGINT and SIGTERM back while the block runs; however many came, the first one arrives once, after it.

    Outside the main thread, which alone receives signals, nothing is held.
    """
    held = HeldInterrupts()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return

    def hold(number: int, frame: object) -> None:
        held.number = held.number or number

    with interrupts_blocked():
        previous = {number: signal.signal(number, hold) for number in INTERRUPTS}
    try:
        yield held
    finally:
        with interrupts_blocked():
            for number, handler in previous.items():
                # None stands for a handler that was not installed from Python.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if held.number is not None:
            signal.raise_signal(held.number)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Let the kernel keep SIGINT and SIGTERM until the block ends; processes that are started in it keep them too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
