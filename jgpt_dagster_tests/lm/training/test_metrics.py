import json
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.training.metrics import (
    METRICS,
    RESULT,
    TIMING,
    MetricsLogger,
    read_metrics,
    read_throughput,
    total_throughput,
)


def row(step: int, **more: float) -> dict[str, Any]:
    return {"step": step, "tokens": step * 100, "loss": 9.0 - step, "learning_rate": 0.1, "gradient_norm": 1.0, **more}


def reported(run: Path, done: int, steps: range, **more: float) -> None:
    reporter = MetricsLogger(run, done=done, steps=5)
    for step in steps:
        reporter.log_step(row(step, **more))
    reporter.close()


def test_metrics_after_a_resumed_run_are_those_of_one_that_was_not_interrupted(tmp_path: Path) -> None:
    reported(tmp_path / "whole", 0, range(1, 6))
    reported(tmp_path / "cut", 0, range(1, 5))
    with open(tmp_path / "cut" / METRICS, "a") as stream:
        stream.write('{"step":5,"lo')
    reported(tmp_path / "cut", 3, range(4, 6))
    assert (tmp_path / "cut" / METRICS).read_bytes() == (tmp_path / "whole" / METRICS).read_bytes()


def test_a_new_run_forgets_the_metrics_of_another(tmp_path: Path) -> None:
    reported(tmp_path, 0, range(1, 6))
    reported(tmp_path, 0, range(1, 2))
    assert [entry["step"] for entry in read_metrics(tmp_path)] == [1]


def test_the_result_names_first_last_and_best(tmp_path: Path) -> None:
    reporter = MetricsLogger(tmp_path, done=0, steps=4)
    for step, validation in enumerate([5.0, 3.0, 4.0], start=1):
        reporter.log_step(row(step, validation_loss=validation))
    reporter.log_step(row(4))
    result = reporter.finish()
    reporter.close()
    assert result == json.loads((tmp_path / RESULT).read_text())
    assert result == {
        "steps": 4,
        "tokens": 400,
        "first_loss": 8.0,
        "last_loss": 5.0,
        "last_validation_loss": 4.0,
        "best_validation_loss": 3.0,
        "best_validation_step": 2,
    }


def test_a_line_of_progress_says_step_loss_speed_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reported(tmp_path, 0, range(1, 2), validation_loss=2.5)
    line = capsys.readouterr().out
    assert "step 1/5  loss 8.0000  validation loss 2.5000" in line
    assert "learning rate 1.00e-01  gradient norm 1.00" in line
    assert "tokens/s" in line and "left" in line


def test_speeds_are_those_between_two_reports_of_one_start(tmp_path: Path) -> None:
    rows = [(1, 9.0), (2, 10.0), (4, 11.0), (3, 5.0), (4, 5.5)]
    (tmp_path / TIMING).write_text(
        "".join(json.dumps({"step": step, "seconds": seconds}) + "\n" for step, seconds in rows)
    )
    (tmp_path / METRICS).write_text(json.dumps(row(4)) + "\n")
    assert read_throughput(tmp_path) == [(2, 100.0), (4, 200.0), (4, 200.0)]


def test_the_time_of_a_run_is_that_of_all_its_starts(tmp_path: Path) -> None:
    assert total_throughput(tmp_path) is None
    # 100 tokens a step. The second start goes on after step 2, and a kill has torn the line before its first.
    first = [_timing(1, 2.0, 50.0), _timing(2, 3.0, 66.7), _timing(4, 5.0, 80.0)]
    second = ['{"step": 5, "sec' + _timing(4, 4.0, 50.0), _timing(6, 5.0, 80.0)]
    (tmp_path / TIMING).write_text("\n".join([*first, *second]) + "\n")
    # Four steps in 5 s, and four more in 5 s.
    assert total_throughput(tmp_path) == (10.0, 80.0)


def _timing(step: int, seconds: float, speed: float) -> str:
    return json.dumps({"step": step, "seconds": seconds, "tokens_per_second": speed})


def test_speed_stands_beside_the_share_of_the_peak_that_was_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 2.0])
    monkeypatch.setattr("jgpt_dagster.lm.training.metrics.time.monotonic", lambda: next(seconds))
    reporter = MetricsLogger(tmp_path, done=0, steps=5, peak_speed=125.0, planned_mfu=0.5)
    reporter.log_step(row(1))
    reporter.close()
    assert "50 tokens/s  MFU 40.0% (planned 50%)" in capsys.readouterr().out
    timing = json.loads((tmp_path / TIMING).read_text())
    assert timing == {"step": 1, "seconds": 2.0, "tokens_per_second": 50.0, "mfu": 0.4}


def test_a_run_launched_through_dagster_pipes_reports_its_progress_and_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dagster_pipes

    messages = tmp_path / "messages"
    context = tmp_path / "context"
    context.write_text(json.dumps(_pipes_context()))
    monkeypatch.setenv("DAGSTER_PIPES_CONTEXT", dagster_pipes.encode_param({"path": str(context)}))
    monkeypatch.setenv("DAGSTER_PIPES_MESSAGES", dagster_pipes.encode_param({"path": str(messages)}))
    monkeypatch.setattr(dagster_pipes.PipesContext, "_instance", None)
    reporter = MetricsLogger(tmp_path, done=0, steps=2)
    reporter.log_step(row(1))
    reporter.log_step(row(2, validation_loss=3.0))
    reporter.finish()
    reporter.close()
    received = [json.loads(line) for line in messages.read_text().splitlines()]
    logged = [m["params"]["message"] for m in received if m["method"] == "log"]
    custom = [m["params"]["payload"] for m in received if m["method"] == "report_custom_message"]
    assert len(logged) == 1 and logged[0].startswith("step 1/2  loss 8.0000"), "lines come at a calm pace"
    assert custom == [{"result": json.loads((tmp_path / RESULT).read_text())}]


def _pipes_context() -> dict[str, Any]:
    names = (
        "asset_keys",
        "code_version_by_asset_key",
        "provenance_by_asset_key",
        "partition_key",
        "partition_key_range",
        "partition_time_window",
        "job_name",
    )
    return {**dict.fromkeys(names), "run_id": "run", "retry_number": 0, "extras": {}}
