"""Interrupts that come while a block must not be torn apart arrive after it, once."""

import os
import signal
import threading

import pytest

from jgpt_dagster.runtime.interrupts import INTERRUPTS, hold_interrupts


@pytest.mark.parametrize("number", INTERRUPTS)
def test_however_many_interrupts_come_one_arrives_after_the_block(number: signal.Signals) -> None:
    arrived: list[int] = []
    before = signal.signal(number, lambda number, _: arrived.append(number))
    try:
        with hold_interrupts() as held:
            assert not held.received
            for _ in range(3):
                os.kill(os.getpid(), number)
            assert held.received and arrived == []
        assert arrived == [number]
        os.kill(os.getpid(), number)
        assert arrived == [number, number]
    finally:
        signal.signal(number, before)


def test_an_error_of_the_block_does_not_lose_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), hold_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError


def test_an_answered_interrupt_does_not_arrive() -> None:
    with hold_interrupts() as held:
        os.kill(os.getpid(), signal.SIGINT)
        held.answered()


def test_other_threads_hold_nothing() -> None:
    found: list[bool] = []

    def work() -> None:
        with hold_interrupts() as held:
            found.append(held.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
