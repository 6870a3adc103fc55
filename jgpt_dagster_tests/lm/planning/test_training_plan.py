from typing import Any

import pytest

from jgpt_dagster.lm.planning.hardware import parse_hardware
from jgpt_dagster.lm.planning.layout_search import fastest_layout
from jgpt_dagster.lm.planning.training_layout import LayoutConstraints
from jgpt_dagster.lm.planning.training_plan import TrainingPlan, duration_words
from jgpt_dagster.lm.planning.workload import Workload
from jgpt_dagster.lm.training.train_config import TrainConfig
from jgpt_dagster_tests.lm.planning.workloads import train_config


def plan_of(config: TrainConfig, hardware: str, *, peak_flops: float | None = None, **options: Any) -> TrainingPlan:
    machine = parse_hardware(hardware)
    if peak_flops is not None:
        machine = machine.with_peak(peak_flops)
    constraints = LayoutConstraints(offload=options.pop("offload", None))
    layout = fastest_layout(Workload.of(config, 32_000), machine, constraints)
    return TrainingPlan(config, machine, layout, **{"vocab_size": 32_000, "train_tokens": 10_000_000_001, **options})


def test_ten_billion_tokens_on_eight_a100_take_28_hours_at_40_percent() -> None:
    plan = plan_of(train_config("xl"), "8xa100-80", mfu=0.4, price=2.0)
    assert plan.workload.parameters == 1_528_400_000
    assert plan.workload.flops_per_token == pytest.approx(1.0114e10, rel=1e-4)
    assert plan.tokens_per_second == pytest.approx(98_700, rel=0.001)
    assert plan.hours == pytest.approx(1.17 * 24, rel=0.01)
    assert (plan.steps, plan.tokens) == (19_073, 19_073 * 512 * 1024)
    rows = dict(plan.rows())
    assert rows["GPU-hours"] == "225.1" and rows["cost"] == "450.23 at 2 a GPU-hour"
    assert rows["checkpoints on disk"] == "64.2 GB" and rows["time"] == "28.1 hours"


def test_without_a_peak_hours_are_not_guessed() -> None:
    plan = plan_of(train_config("tiny"), "cpu", train_tokens=100_000)
    assert plan.hours is None and "no peak" in dict(plan.rows())["time"]
    assert plan.steps == 4_000


def test_a_small_model_on_large_gpus_gets_no_figure_that_nothing_could_reach() -> None:
    rows = dict(plan_of(train_config("tiny"), "8xa100-80").rows())
    assert rows["time"].startswith("unknown: arithmetic would take") and "tokens/s" not in rows
    assert "0.00" not in [rows[f"GiB a process: {part}"] for part in ("weights", "activations")]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1, "1 s"),
        (40, "40 s"),
        (720, "12 min"),
        (27_000, "7.5 hours"),
        (172_000, "47.8 hours"),
        (786_000, "9.1 days"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_hours_in_fp32_do_not_use_the_peak_of_bf16() -> None:
    fp32 = train_config("xl", dtype="fp32")
    plan = plan_of(fp32, "8xa100-80")
    rows = dict(plan.rows())
    assert plan.hours is None and rows["time"] == "unknown: no peak FLOP/s of a100-80 in fp32 is in the table"
    assert rows["GiB a process: weights"] == "5.69"
    # Weights, their master copy and two moments in 4 bytes each, of three checkpoints.
    assert plan.checkpoint_bytes == 3 * 16 * plan.workload.parameters
    with_peak = plan_of(fp32, "8xa100-80", peak_flops=19.5e12)
    assert with_peak.tokens_per_second == pytest.approx(98_713 * 19.5 / 312, rel=1e-3)


def test_an_offloaded_optimizer_is_planned_for_on_disk() -> None:
    config = train_config("xl", context=128, global_batch=1)
    rows = dict(plan_of(config, "1xa100-40", train_tokens=100_000, offload=True).rows())
    assert "optimizer on disk" in rows["layout"] and rows["optimizer on disk"] == "24.4 GB"
    assert "optimizer on disk" not in dict(plan_of(train_config("xl"), "8xa100-80").rows())


def test_a_share_and_a_speed_below_one_are_not_rounded_to_nothing() -> None:
    rows = dict(plan_of(train_config("xl"), "8xa100-80", mfu=1e-6).rows())
    assert rows["tokens/s"] == "0.25 at an MFU of 0.0001%"
