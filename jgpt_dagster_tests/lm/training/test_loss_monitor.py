from typing import Any

import pytest

from jgpt_dagster.lm.training.loss_monitor import LossMonitor


def row(step: int, loss: float, **more: float) -> dict[str, Any]:
    return {"step": step, "loss": loss, **more}


def monitored(monitor: LossMonitor, losses: list[float], first: int = 10, every: int = 10) -> LossMonitor:
    for number, loss in enumerate(losses):
        monitor.add(row(first + every * number, loss))
    return monitor


FALLING = [8.0, 6.0, 5.0, 4.5, 4.2, 4.0, 3.9, 3.9, 3.8, 3.8] + [3.7] * 20


def test_a_loss_that_stays_far_above_its_lowest_level_has_diverged_since_it_rose() -> None:
    monitor = monitored(LossMonitor(None, divergence_steps=100), [*FALLING, *[5.5] * 10])
    assert not monitor.diverged and monitor.diverging_since == 310
    monitor.add(row(410, 7.0))
    assert monitor.diverged and monitor.diverging_since == 310


@pytest.mark.parametrize("losses", [[7.0] * 9 + [4.5], [4.6] * 30, FALLING, [2.0, 3.9] * 20])
def test_a_passing_spike_a_small_rise_and_noise_are_not_divergence(losses: list[float]) -> None:
    monitor = monitored(LossMonitor(None, divergence_steps=100), [*FALLING, *losses])
    assert not monitor.diverged and (monitor.diverging_since is None or losses[-1] == 3.9)


def test_divergence_is_counted_in_steps_not_in_rows() -> None:
    assert monitored(LossMonitor(None, divergence_steps=10), [3.0] + [5.0] * 11, every=1).diverged
    assert not monitored(LossMonitor(None, divergence_steps=11), [3.0] + [5.0] * 11, every=1).diverged
    assert not monitored(LossMonitor(None, divergence_steps=0), [3.0] + [50.0] * 1000).diverged


def test_early_stop_counts_validation_losses_in_a_row_that_are_not_below_the_lowest() -> None:
    monitor = LossMonitor(early_stop=2, divergence_steps=0)
    stops = []
    for step, loss in enumerate([5.0, 4.0, 4.1, 3.9, 3.9, 4.0]):
        monitor.add(row(2 * step, 1.0, validation_loss=loss))
        monitor.add(row(2 * step + 1, 1.0))
        stops.append(monitor.should_stop_early)
    assert stops == [False] * 5 + [True]
    assert (monitor.best_validation_loss, monitor.best_validation_step) == (3.9, 6)


def test_a_run_does_not_stop_early_by_default() -> None:
    monitor = LossMonitor(early_stop=None, divergence_steps=0)
    for step in range(1000):
        monitor.add(row(step, 1.0, validation_loss=1.0 + step))
    assert not monitor.should_stop_early
