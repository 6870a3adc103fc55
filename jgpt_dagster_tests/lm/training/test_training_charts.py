import base64
import math
import xml.etree.ElementTree as ElementTree

import pytest

from jgpt_dagster.lm.training.training_charts import curve_svg, run_curves

CURVE = [(step, 3 + 7 * math.exp(-step / 20_000)) for step in range(0, 100_000, 10)]


def test_ten_thousand_points_fit_into_a_data_uri_that_dagster_shows_inline() -> None:
    picture = curve_svg(CURVE, width=400)
    assert len(picture) <= 750
    assert len("![](data:image/svg+xml;base64,)" + base64.b64encode(picture.encode()).decode()) < 1000


def test_the_curve_falls_from_the_top_left_to_the_bottom_right() -> None:
    line = ElementTree.fromstring(curve_svg(CURVE, width=400)).find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    points = [tuple(map(int, pair.split(","))) for pair in line.attrib["points"].split()]
    assert len(points) == 50
    assert points == sorted(points)
    assert points[0][0] == 0 and points[-1][0] == 400
    assert points[0][1] == min(y for _, y in points) and points[-1][1] == max(y for _, y in points)


@pytest.mark.parametrize("points", [[(1, 2.0)], [(1, 2.0), (2, 2.0)]])
def test_a_curve_of_one_point_or_without_change_is_still_a_picture(points: list[tuple[int, float]]) -> None:
    ElementTree.fromstring(curve_svg(points))


def test_what_there_is_to_see_of_a_run_ends_as_pictures() -> None:
    rows = [
        {"step": step, "loss": 9.0 / step, "learning_rate": 1e-3, "gradient_norm": 1.0, "tokens": step}
        for step in (1, 2, 3)
    ]
    rows[-1]["validation_loss"] = 3.5
    pictures = run_curves(rows, [(2, 1000.0), (3, 2000.0)], peak_speed=4000.0)
    assert "loss 9.00 → 3.00, step 3" in pictures["loss_curve"]
    assert "learning rate 1.0e-03" in pictures["learning_rate_curve"]
    assert "mfu 25.0% → 50.0%" in pictures["mfu_curve"]
    names = {"loss", "validation_loss", "learning_rate", "gradient_norm", "tokens_per_second", "mfu"}
    assert pictures.keys() == {f"{name}_curve" for name in names}
    assert run_curves(rows, []).keys() == {f"{name}_curve" for name in names - {"tokens_per_second", "mfu"}}
