from xml.etree import ElementTree

from jgpt_dagster.charts.drawing import LARGE
from jgpt_dagster.charts.line_chart import Level
from jgpt_dagster.lm.training.training_charts import loss_chart, subsample, training_charts

ROWS = [
    {"step": step, "loss": 9.0 / step, "learning_rate": 1e-3, "gradient_norm": 1.0, "tokens": step} for step in (1, 2)
]
LAST = {"step": 3, "loss": 3.0, "learning_rate": 5e-4, "gradient_norm": 0.5, "tokens": 3, "validation_loss": 3.5}


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_run_has_both_losses_in_one_chart_and_one_of_each_other_figure() -> None:
    charts = training_charts([*ROWS, LAST], [(2, 1000.0), (3, 2000.0)], peak_speed=4000.0)
    assert {name: texts(draw())[:2] for name, draw in charts.items()} == {
        "loss_curve": ["loss, nats per token", "training 3.00\u2003held-out 3.50"],
        "learning_rate_curve": ["learning rate", "last 0.0005"],
        "gradient_norm_curve": ["gradient norm", "last 0.5"],
        "speed_curve": ["tokens per second", "last 2,000"],
        "mfu_curve": ["MFU, %", "last 50"],
    }
    assert training_charts(ROWS, []).keys() == charts.keys() - {"mfu_curve", "speed_curve"}


def test_a_run_without_a_finite_loss_has_no_chart_of_it_and_levels_are_named() -> None:
    assert loss_chart([]) is None and loss_chart([{"step": 1, "loss": float("nan")}]) is None
    draw = loss_chart([*ROWS, LAST], [Level("bigrams 4.00", 4.0)])
    assert draw is not None and texts(draw())[1].endswith("bigrams 4.00")


def test_the_loss_of_a_long_run_is_small_in_a_document_too() -> None:
    draw = loss_chart([{"step": step, "loss": 10 / (1 + step)} for step in range(1, 100_001)])
    assert draw is not None and len(draw(size=LARGE)) < 5_000


def test_fifty_evenly_spaced_points_stand_for_a_long_curve() -> None:
    curve = [(step, float(step % 7)) for step in range(0, 4_901)]
    assert subsample(curve) == curve[::100] and subsample(curve[:50]) == curve[:50]
