import math
import re
from xml.etree import ElementTree

import pytest

from jgpt_dagster.lm.release.loss_picture import loss_picture


def curves(svg: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r"points='([^']*)'", svg)
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())] for line in lines]


def test_both_losses_are_drawn_on_one_scale_with_axes() -> None:
    metrics = [{"step": 1, "loss": 8.0}, {"step": 50, "loss": 5.0, "validation_loss": 6.5}, {"step": 100, "loss": 4.0}]
    svg = loss_picture(metrics)
    ElementTree.fromstring(svg)
    (training, held_out) = curves(svg)
    assert [x for x, _ in training] == sorted(x for x, _ in training) and held_out[0][0] == training[1][0]
    heights = [training[0][1], held_out[0][1], training[1][1], training[2][1]]
    assert heights == sorted(heights), "a lower loss is drawn lower"
    assert ">100</text>" in svg and "held-out loss, last 6.500" in svg and ">8</text>" in svg


def test_a_long_run_stays_small_and_a_strange_one_is_drawn() -> None:
    long = loss_picture([{"step": step, "loss": 10 / (1 + step)} for step in range(1, 100_001)])
    assert len(long) < 20_000 and len(curves(long)[0]) <= 320
    ElementTree.fromstring(loss_picture([{"step": 1, "loss": 3.0}, {"step": 2, "loss": math.nan}]))
    with pytest.raises(ValueError, match="no loss"):
        loss_picture([{"step": 1, "learning_rate": 0.1}])
