import json
from pathlib import Path

import pytest

from jgpt_dagster.lm.planning.plan_vs_actual import actual_throughput, plan_vs_actual_rows
from jgpt_dagster_tests.lm.planning.test_training_plan import plan_of
from jgpt_dagster_tests.lm.planning.workloads import train_config


def test_a_finished_run_stands_beside_its_plan(tmp_path: Path) -> None:
    plan = plan_of(train_config("xl"), "8xa100-80", mfu=0.4)
    # Two starts, and an early stop.
    timings = [(1, 10.0, 52_428.8), (200, 1000.0, 104_857.6), (200, 200.0, 131_072.0), (300, 800.0, 146_800.6)]
    lines = (
        json.dumps({"step": step, "seconds": seconds, "tokens_per_second": speed}) for step, seconds, speed in timings
    )
    (tmp_path / "timing.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "result.json").write_text(json.dumps({"steps": 300, "tokens": 300 * 512 * 1024}))
    rows = {quantity: (planned, actual) for quantity, planned, actual in plan_vs_actual_rows(plan, tmp_path)}
    # (1000 x 104,857.6 + 800 x 146,800.6) / 1800
    assert rows["tokens/s"] == ("98,713", "123,499") and rows["MFU"] == ("40.0%", "50.0%")
    assert rows["hours"] == ("28.14", "0.50")
    assert rows["steps"] == ("19,073", "300") and rows["tokens"] == ("9,999,745,024", "157,286,400")
    assert actual_throughput(plan, tmp_path) == pytest.approx({"tokens_per_second": 123_499, "mfu": 0.5004}, rel=1e-5)
    without_peak = plan_of(train_config("tiny"), "cpu")
    assert actual_throughput(without_peak, tmp_path) == {"tokens_per_second": pytest.approx(123_499, rel=1e-5)}
    assert ("hours", "–", "0.50") in plan_vs_actual_rows(without_peak, tmp_path)


def test_a_run_without_timings_has_no_rows(tmp_path: Path) -> None:
    plan = plan_of(train_config("xl"), "8xa100-80")
    assert plan_vs_actual_rows(plan, tmp_path) == [] and actual_throughput(plan, tmp_path) == {}
