from typing import Any

import pytest

from jgpt_dagster.lm.training.loss_monitor import LossMonitor


def row(step: int, loss: float, **more: float) -> dict[str, Any]:
    return {"step": step, "loss": loss, **more}


def followed(course: LossMonitor, losses: list[float], first: int = 10, every: int = 10) -> LossMonitor:
    for number, loss in enumerate(losses):
        course.add(row(first + every * number, loss))
    return course


FALLING = [8.0, 6.0, 5.0, 4.5, 4.2, 4.0, 3.9, 3.9, 3.8, 3.8] + [3.7] * 20


def test_a_loss_far_above_its_level_for_long_has_diverged_since_it_left() -> None:
    course = followed(LossMonitor(None, divergence_steps=100), [*FALLING, *[5.5] * 10])
    assert not course.diverged and course.diverging_since == 310
    course.add(row(410, 7.0))
    assert course.diverged and course.diverging_since == 310


@pytest.mark.parametrize("losses", [[7.0] * 9 + [4.5], [4.6] * 30, FALLING, [2.0, 3.9] * 20])
def test_a_spike_that_passes_a_small_rise_and_noise_are_no_divergence(losses: list[float]) -> None:
    course = followed(LossMonitor(None, divergence_steps=100), [*FALLING, *losses])
    assert not course.diverged and (course.diverging_since is None or losses[-1] == 3.9)


def test_divergence_is_judged_in_steps_whatever_the_rows() -> None:
    assert followed(LossMonitor(None, divergence_steps=10), [3.0] + [5.0] * 11, every=1).diverged
    assert not followed(LossMonitor(None, divergence_steps=11), [3.0] + [5.0] * 11, every=1).diverged
    assert not followed(LossMonitor(None, divergence_steps=0), [3.0] + [50.0] * 1000).diverged


def test_early_stop_counts_validation_losses_in_a_row_that_are_not_below_the_lowest() -> None:
    course = LossMonitor(early_stop=2, divergence_steps=0)
    stops = []
    for step, loss in enumerate([5.0, 4.0, 4.1, 3.9, 3.9, 4.0]):
        course.add(row(2 * step, 1.0, validation_loss=loss))
        course.add(row(2 * step + 1, 1.0))
        stops.append(course.should_stop_early)
    assert stops == [False] * 5 + [True]
    assert (course.best_validation_loss, course.best_validation_step) == (3.9, 6)


def test_a_run_does_not_stop_early_unless_told_to() -> None:
    course = LossMonitor(early_stop=None, divergence_steps=0)
    for step in range(1000):
        course.add(row(step, 1.0, validation_loss=1.0 + step))
    assert not course.should_stop_early
