import base64
import math
import xml.etree.ElementTree as ElementTree

import pytest

from jgpt_dagster.lm.training.training_charts import curve_svg, subsample, training_charts

CURVE = [(step, 3 + 7 * math.exp(-step / 20_000)) for step in range(0, 100_000, 10)]


def test_ten_thousand_points_fit_into_a_data_uri_that_dagster_shows_inline() -> None:
    picture = curve_svg(CURVE, width=400)
    assert len(picture) <= 750
    assert len("![](data:image/svg+xml;base64,)" + base64.b64encode(picture.encode()).decode()) < 1000


def drawn(svg: str) -> tuple[list[tuple[int, int]], str]:
    """Return the points of a chart's line, in pixels from the top left, and its text."""
    root = ElementTree.fromstring(svg)
    line, text = (root.find(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("polyline", "text"))
    assert line is not None and text is not None and text.text is not None
    return [(int(x), int(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())], text.text


def test_points_are_drawn_to_scale_below_the_label() -> None:
    points, label = drawn(curve_svg([(10, 4.0), (20, 2.0), (40, 3.0), (50, 0.0)], width=400))
    # 40 steps on 400 pixels; 4.0 at 13 pixels from the top, below the text, and 0.0 another 85 further down.
    assert points == [(0, 13), (100, 56), (300, 34), (400, 98)]
    assert label == "loss 4.00 → 0.00, step 50"


def test_a_long_curve_is_drawn_by_fifty_evenly_spaced_points_with_the_first_and_the_last() -> None:
    curve = [(step, float(step % 7)) for step in range(0, 4_901)]
    assert subsample(curve) == curve[::100]
    points, label = drawn(curve_svg(CURVE, width=400))
    assert len(points) == 50 and (points[0], points[-1]) == ((0, 13), (400, 98))
    assert label == f"loss 10.00 → {CURVE[-1][1]:.2f}, step 99990"


@pytest.mark.parametrize("points", [[(7, 2.0)], [(7, 2.0), (9, 2.0)]])
def test_a_curve_of_one_point_or_without_change_is_a_flat_line_at_the_top(points: list[tuple[int, float]]) -> None:
    pixels, label = drawn(curve_svg(points, width=300))
    assert pixels == [(0, 13), (300, 13)][: len(points)]
    assert label == f"loss 2.00 → 2.00, step {points[-1][0]}"


def test_a_run_has_a_chart_of_each_of_its_figures() -> None:
    rows = [
        {"step": step, "loss": 9.0 / step, "learning_rate": 1e-3, "gradient_norm": 1.0, "tokens": step}
        for step in (1, 2, 3)
    ]
    rows[-1]["validation_loss"] = 3.5
    speeds = [(2, 1000.0), (3, 2000.0)]
    charts = training_charts(rows, speeds, peak_speed=4000.0)
    labels = {
        "loss_curve": "loss 9.00 → 3.00, step 3",
        "validation_loss_curve": "validation loss 3.50 → 3.50, step 3",
        "learning_rate_curve": "learning rate 1.0e-03 → 1.0e-03, step 3",
        "gradient_norm_curve": "gradient norm 1.00 → 1.00, step 3",
        "tokens_per_second_curve": "tokens per second 1,000 → 2,000, step 3",
        "mfu_curve": "mfu 25.0% → 50.0%, step 3",
    }
    assert {name: drawn(chart)[1] for name, chart in charts.items()} == labels
    # 9.0, 4.5 and 3.0 on 85 pixels of height, and a third of the width for each step.
    assert drawn(charts["loss_curve"])[0] == [(0, 13), (150, 77), (300, 98)]
    assert training_charts(rows, speeds).keys() == labels.keys() - {"mfu_curve"}
    assert training_charts(rows, []).keys() == labels.keys() - {"mfu_curve", "tokens_per_second_curve"}


def test_a_label_is_text_and_no_markup_of_the_picture() -> None:
    _, label = drawn(curve_svg([(1, 1.0)], label="</text><script>&'\""))
    assert label.startswith("</text><script>&'\" 1.00")
