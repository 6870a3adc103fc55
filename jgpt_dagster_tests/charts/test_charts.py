"""What every chart promises: valid XML, axes that cover the data, intervals, text that is text, the same bytes."""

import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jgpt_dagster.charts.axis import Axis, in_words, tick_text
from jgpt_dagster.charts.bar_chart import Bar, amounts, bar_chart, by_doubling, histogram
from jgpt_dagster.charts.drawing import LARGE, SMALL
from jgpt_dagster.charts.line_chart import Level, Line, line_chart
from jgpt_dagster_tests.support.hostile_text import ANY_TEXT

SVG = "{http://www.w3.org/2000/svg}"
LOSS = Line("training 3.10", [(step, 3 + 7 * math.exp(-step / 200)) for step in range(1, 1_001)])
HELD_OUT = Line("held-out 3.40", [(step, 3.4 + 6 * math.exp(-step / 200)) for step in range(100, 1_001, 100)])


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def labels(svg: str) -> list[str | None]:
    return [element.text for name in ("text", "tspan") for element in ElementTree.fromstring(svg).iter(f"{SVG}{name}")]


def strokes(svg: str, colour: str) -> list[list[tuple[int, int]]]:
    """Return the points of the lines in a colour, in pixels from the top left."""
    lines = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        if element.get("stroke") == colour and "l" in element.attrib["d"]:
            start, _, moves = element.attrib["d"][1:].partition("l")
            numbers = [int(number) for number in re.findall(r"-?\d+", moves)]
            x, y = map(int, start.split(","))
            points = [(x, y)]
            for across, down in zip(numbers[::2], numbers[1::2], strict=True):
                x, y = x + across, y + down
                points.append((x, y))
            lines.append(points)
    return lines


def test_two_losses_lie_on_one_scale_inside_the_picture_with_their_level_and_units() -> None:
    svg = line_chart([LOSS, HELD_OUT], "step", "loss, nats per token", levels=[Level("bigrams 5.00", 5.0)])
    (training,), (held_out,) = strokes(svg, "steelblue"), strokes(svg, "chocolate")
    assert len(training) == SMALL.width // 2 and len(held_out) == 10
    for x, y in (*training, *held_out):
        assert 0 <= x <= SMALL.width and 0 <= y <= SMALL.height
    assert [y for _, y in training] == sorted(y for _, y in training), "a falling loss falls"
    assert held_out[-1][1] < training[-1][1], "a higher loss is drawn higher"
    assert texts(svg)[:2] == ["loss, nats per token", "training 3.10\u2003held-out 3.40\u2003bigrams 5.00"]
    assert {"0", "5", "10", "500", "step 1,000"} <= {*labels(svg)}
    (level,) = (path for path in ElementTree.fromstring(svg).iter(f"{SVG}path") if path.get("stroke-dasharray"))
    height = int(re.findall(r"\d+", level.attrib["d"])[1])
    assert min(y for _, y in training) < height < max(y for _, y in training)


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.floats(-1e12, 1e12)), min_size=1, max_size=20),
    st.integers(1, 30),
    ANY_TEXT,
)
def test_any_finite_points_are_drawn_inside_the_picture(
    points: list[tuple[float, float]], most: int, name: str
) -> None:
    svg = line_chart([Line(name, sorted(points))], "step", "value", points=most)
    assert svg == line_chart([Line(name, sorted(points))], "step", "value", points=most)
    for line in strokes(svg, "steelblue"):
        assert len(line) <= most
        assert all(0 <= x <= SMALL.width and 0 <= y <= SMALL.height for x, y in line)


def test_what_is_not_finite_is_left_out_and_nothing_is_refused() -> None:
    svg = line_chart([Line("loss", [(1, 3.0), (2, math.nan), (3, math.inf), (4, 1.0)])], "step", "loss")
    assert [len(line) for line in strokes(svg, "steelblue")] == [2]
    assert "<circle" in line_chart([Line("one", [(7, 2.0)])], "step", "loss")
    for draw in (lambda: line_chart([Line("none", [(1, math.nan)])], "step", "loss"), lambda: histogram([], "x", "y")):
        with pytest.raises(ValueError, match="nothing to draw"):
            draw()


@example(0.0, 5e-324)
@example(-0.0, 0.0)
@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_an_axis_covers_its_data_with_a_few_round_values(low: float, span: float) -> None:
    axis = Axis(low, low + span, 100, 0)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    slack = 1e-8 * (abs(low) + span)
    assert ticks[0] <= low + slack and ticks[-1] >= low + span - slack
    assert [axis.place(tick) for tick in (ticks[0], ticks[-1])] == [100, 0]


def test_large_numbers_have_separators_and_very_large_ones_a_word() -> None:
    assert tick_text(60_000) == "60,000" and tick_text(0.3) == "0.3" and tick_text(-0.0) == "0"
    assert in_words(999_999) == (1, "") and in_words(4e10) == (1e9, ", billions")
    svg = line_chart([Line("loss", [(0, 1.0), (4_000_000, 0.5)])], "tokens", "loss")
    assert "tokens, millions 4" in labels(svg)


def test_bars_begin_at_nothing_and_show_their_intervals() -> None:
    svg = bar_chart([Bar("ours 2.0", 2.0, 1.0, 3.0), Bar("theirs 1.0", 1.0)], "bits per character", width=282)
    bars, interval = (path.attrib["d"] for path in ElementTree.fromstring(svg).iter(f"{SVG}path"))
    # 280 pixels for the axis, which ends at 3 with the interval.
    assert re.findall(r"M0,\d+H(\d+)", bars) == ["187", "93"]
    assert re.findall(r"M(\d+),\d+H(\d+)", interval) == [("93", "280")]
    assert texts(svg) == ["bits per character", "ours 2.0", "theirs 1.0"]


def test_amounts_state_their_share_and_what_does_not_fit_is_counted() -> None:
    bars = amounts({"kept": 3_000, "near_duplicate": 1_000, "rejected": 0}, "documents")
    assert [bar.label for bar in bars] == ["kept 3,000 documents (75.0%)", "near duplicate 1,000 documents (25.0%)"]
    assert texts(bar_chart(bars, "outcomes", most=1))[-1] == "and 1 more"
    assert bar_chart([], "nothing").endswith("</svg>") and amounts({}) == []


def test_a_histogram_counts_every_value_once() -> None:
    assert by_doubling(np.array([0, 1, 2, 3, 4, 9])) == [(1, 2), (2, 2), (4, 1), (8, 1)]
    wide = by_doubling(np.array([1, 2, 3, 100, 1 << 19, (1 << 20) - 1]), most=12)
    assert len(wide) == 12 and wide[0] == (256, 4) and wide[-1] == (1 << 19, 2)
    assert by_doubling(np.array([], int)) == []
    assert {"documents", "4,096"} <= {*texts(histogram(by_doubling(np.full(9, 4100)), "tokens", "documents"))}


HOSTILE = "</text><script>&'\"\x00\x1b\ufffe\ud800]]>"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: line_chart([Line(HOSTILE, [(1, 1.0)])], HOSTILE, HOSTILE, levels=[Level(HOSTILE, 1.0)], size=LARGE),
        lambda: bar_chart([Bar(HOSTILE, 1.0)], HOSTILE),
        lambda: histogram([(1, 1)], HOSTILE, HOSTILE),
    ],
)
def test_text_is_text_in_every_chart(draw: Callable[[], str]) -> None:
    svg = draw()
    svg.encode()
    assert {element.tag for element in ElementTree.fromstring(svg).iter()} <= {
        f"{SVG}{name}" for name in ("svg", "g", "text", "tspan", "path", "circle")
    }
    assert any("</text><script>&'\"" in text for text in texts(svg))
