"""Work that is spread over processes comes back in order, and nothing of them outlives the block or its process."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from operator import length_hint

import pytest

from jgpt_dagster.runtime.worker_pool import OrderedMap, WorkerLostError, map_in_process, map_in_worker_pool
from jgpt_dagster_tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def in_workers() -> Iterator[OrderedMap]:
    with map_in_worker_pool(2) as ordered_map:
        yield ordered_map


def slow_at_first(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0)
    return number * number


def inverse(number: int) -> float:
    return 1 / number


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_with_their_items_in_their_order(in_workers: OrderedMap):
    expected = [(number, number * number) for number in range(100)]
    assert list(in_workers(slow_at_first, range(100))) == list(map_in_process(slow_at_first, range(100))) == expected


def test_items_are_taken_only_as_far_ahead_as_the_workers_need(in_workers: OrderedMap):
    items = iter(range(1000))
    results = in_workers(slow_at_first, items)
    for asked in range(1, 50):
        next(results)
        assert 1000 - length_hint(items) < asked + 2 * 8


def test_an_error_of_the_function_and_one_of_the_items_reach_the_caller(in_workers: OrderedMap):
    def broken() -> Iterator[int]:
        yield 1
        raise EOFError("cut short")

    with pytest.raises(ZeroDivisionError):
        list(in_workers(inverse, [1, 0]))
    with pytest.raises(EOFError, match="cut short"):
        list(in_workers(inverse, broken()))


def test_a_killed_worker_is_named_and_none_is_left():
    before = {*multiprocessing.active_children()}
    with map_in_worker_pool(1) as ordered_map, pytest.raises(WorkerLostError, match="JGPT_WORKERS=1"):
        list(ordered_map(die, [1]))
    assert {*multiprocessing.active_children()} <= before


_PARENT = """
import os
import time
from jgpt_dagster.runtime.worker_pool import map_in_worker_pool
def own_id(_):
    return os.getpid()
if __name__ == "__main__":
    with map_in_worker_pool(1) as ordered_map:
        for _, worker in ordered_map(own_id, [1]):
            print(worker, flush=True)
            time.sleep(60)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(_PARENT)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(worker))


def alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
