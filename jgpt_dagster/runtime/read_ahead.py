"""Reading ahead: a thread takes the next items of an iterable while the current one is worked on."""

import threading
from collections.abc import Generator, Iterable
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.5


def read_ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield the items in order, with up to `depth` of them taken in advance by a thread, whose errors are raised here.

    Worth its while if taking an item releases the interpreter's lock, as decompression does.
    """
    waiting: Queue[tuple[T] | BaseException | None] = Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[T] | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(entry, timeout=_POLL_SECONDS)
            except Full:
                continue

    def take() -> None:
        try:
            for item in items:
                put((item,))
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # raised where the items are consumed
            put(error)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        while (entry := waiting.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]
    finally:
        stopped.set()
        thread.join()
