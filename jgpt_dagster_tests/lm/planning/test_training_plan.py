import json
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.planning.hardware import parse
from jgpt_dagster.lm.planning.training_plan import Plan, actual_rows, actual_speed, choose_layout, make_training_plan
from jgpt_dagster.lm.training.train_config import TrainConfig


def planned(
    hardware: str, train_tokens: int = 10_000_000_001, dtype: str = "auto", peak: float | None = None, **options: Any
) -> Plan:
    config = TrainConfig.model_validate(
        {"training_set": "s", "data_root": ".", "output": "o", "model": "xl", "dtype": dtype}
    )
    machine = parse(hardware) if peak is None else parse(hardware).with_peak(peak)
    layout = choose_layout(config, machine, 32_000, {})
    return make_training_plan(config, machine, layout, vocab_size=32_000, train_tokens=train_tokens, **options)


def test_ten_billion_tokens_on_eight_a100_take_28_hours_at_40_percent() -> None:
    plan = planned("8xa100-80", mfu=0.4, price=2.0)
    assert plan.parameters == 1_528_400_000
    assert plan.flops_per_token == pytest.approx(1.0114e10, rel=1e-4)
    assert plan.tokens_per_second == pytest.approx(98_700, rel=0.001)
    assert plan.hours == pytest.approx(1.17 * 24, rel=0.01)
    assert (plan.steps, plan.tokens) == (19_073, 19_073 * 512 * 1024)
    rows = dict(plan.rows())
    assert rows["GPU-hours"] == "225.11" and rows["cost"] == "450.23 at 2 a GPU-hour"
    assert rows["checkpoints on disk"] == "64.2 GB"


def test_without_a_peak_hours_are_not_guessed() -> None:
    config = TrainConfig.model_validate({"training_set": "s", "data_root": ".", "output": "o", "model": "tiny"})
    machine = parse("cpu")
    layout = choose_layout(config, machine, 2_000, {})
    plan = make_training_plan(config, machine, layout, vocab_size=2_000, train_tokens=100_000)
    assert plan.hours is None and "no peak" in dict(plan.rows())["hours"]
    assert plan.steps == 4_000


def test_hours_in_fp32_are_not_those_of_the_peak_in_bf16() -> None:
    plan = planned("8xa100-80", dtype="fp32")
    rows = dict(plan.rows())
    assert plan.hours is None and rows["hours"] == "unknown: no peak FLOP/s of a100-80 in fp32 is in the table"
    assert rows["GiB a process: weights"] == "5.69"
    # Weights, their master copy and two moments in 4 bytes each, of three checkpoints.
    assert plan.checkpoint_bytes == 3 * 16 * plan.parameters
    given = planned("8xa100-80", dtype="fp32", peak=19.5e12)
    assert given.tokens_per_second == pytest.approx(98_713 * 19.5 / 312, rel=1e-3)


def test_states_on_disk_are_planned_for() -> None:
    config = TrainConfig.model_validate(
        {"training_set": "s", "data_root": ".", "output": "o", "model": "xl", "context": 128, "global_batch": 1}
    )
    machine = parse("1xa100-40")
    layout = choose_layout(config, machine, 32_000, {"offload": True})
    rows = dict(make_training_plan(config, machine, layout, vocab_size=32_000, train_tokens=100_000).rows())
    assert "optimizer on disk" in rows["layout"] and rows["optimizer on disk"] == "24.4 GB"
    assert "optimizer on disk" not in dict(planned("8xa100-80").rows())


def test_a_run_that_has_ended_stands_beside_its_plan(tmp_path: Path) -> None:
    plan = planned("8xa100-80", mfu=0.4)
    assert actual_rows(plan, tmp_path) == []
    # Two starts, and an early stop.
    timings = [(1, 10.0, 52_428.8), (200, 1000.0, 104_857.6), (200, 200.0, 131_072.0), (300, 800.0, 146_800.6)]
    lines = (
        json.dumps({"step": step, "seconds": seconds, "tokens_per_second": speed}) for step, seconds, speed in timings
    )
    (tmp_path / "timing.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "result.json").write_text(json.dumps({"steps": 300, "tokens": 300 * 512 * 1024}))
    rows = {what: (plan, actual) for what, plan, actual in actual_rows(plan, tmp_path)}
    # (1000 x 104,857.6 + 800 x 146,800.6) / 1800
    assert rows["tokens/s"] == ("98,713", "123,499") and rows["MFU"] == ("40.0%", "50.0%")
    assert rows["hours"] == ("28.14", "0.50")
    assert rows["steps"] == ("19,073", "300") and rows["tokens"] == ("9,999,745,024", "157,286,400")
    assert actual_speed(plan, tmp_path) == pytest.approx({"tokens_per_second": 123_499, "mfu": 0.5004}, rel=1e-5)
