"""An ordered `map` over worker processes, for work that is too slow in one process but consumed in order by one."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, TypeVar

from jgpt_dagster.errors import JgptError

T = TypeVar("T")
R = TypeVar("R")


class WorkerLostError(JgptError):
    """A worker process ended before it returned its result."""


class OrderedMap(Protocol):
    """Calls a function on each item and yields (item, result), in the order of the items."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[tuple[T, R]]: ...


def map_in_process(function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Map in this process. An OrderedMap."""
    return ((item, function(item)) for item in items)


@contextmanager
def map_in_worker_pool(workers: int) -> Iterator[OrderedMap]:
    """Yield an OrderedMap over `workers` processes, which end with the block or with this process.

    Functions, items and results must be picklable. At most eight items a worker are in memory. Items are taken, and
    errors of a function raised, in the thread that consumes the results. Raises WorkerLostError.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit this process's locks, but not its threads
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:

        def ordered(function: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
            waiting: deque[tuple[T, Future[R]]] = deque()
            for item in items:
                with _naming_lost_worker():
                    waiting.append((item, pool.submit(function, item)))
                if len(waiting) == 8 * workers:
                    yield _first(waiting)
            while waiting:
                yield _first(waiting)

        try:
            yield ordered
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def die_with_parent() -> None:
    """Start a thread that kills this process when its parent ends; a killed parent cannot notify its children."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _start_worker() -> None:
    # The parent handles Ctrl-C on the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


def _first(waiting: deque[tuple[T, Future[R]]]) -> tuple[T, R]:
    item, future = waiting.popleft()
    with _naming_lost_worker():
        return item, future.result()


@contextmanager
def _naming_lost_worker() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise WorkerLostError(
            "A worker process of this step was killed (out of memory?). Run the same command again; "
            "JGPT_WORKERS=1 takes the least memory."
        ) from error
