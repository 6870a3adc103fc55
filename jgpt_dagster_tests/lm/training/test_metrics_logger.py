import json
from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.lm.training.metrics_files import METRICS, RESULT, TIMING, read_metrics
from jgpt_dagster.lm.training.metrics_logger import MetricsLogger


def row(step: int, **more: float) -> dict[str, Any]:
    return {"step": step, "tokens": step * 100, "loss": 9.0 - step, "learning_rate": 0.1, "gradient_norm": 1.0, **more}


def log_steps(run: Path, done: int, steps: range, **more: float) -> None:
    logger = MetricsLogger(run, done=done, steps=5)
    for step in steps:
        logger.log_step(row(step, **more))
    logger.close()


def test_a_resumed_run_writes_the_metrics_of_one_that_was_not_interrupted(tmp_path: Path) -> None:
    log_steps(tmp_path / "whole", 0, range(1, 6))
    log_steps(tmp_path / "cut", 0, range(1, 5))
    with open(tmp_path / "cut" / METRICS, "a") as stream:
        stream.write('{"step":5,"lo')
    log_steps(tmp_path / "cut", 3, range(4, 6))
    assert (tmp_path / "cut" / METRICS).read_bytes() == (tmp_path / "whole" / METRICS).read_bytes()


def test_a_new_run_discards_the_metrics_of_another(tmp_path: Path) -> None:
    log_steps(tmp_path, 0, range(1, 6))
    log_steps(tmp_path, 0, range(1, 2))
    assert [entry["step"] for entry in read_metrics(tmp_path)] == [1]


def test_the_result_has_the_first_the_last_and_the_best_loss(tmp_path: Path) -> None:
    logger = MetricsLogger(tmp_path, done=0, steps=4)
    for step, validation in enumerate([5.0, 3.0, 4.0], start=1):
        logger.log_step(row(step, validation_loss=validation))
    logger.log_step(row(4))
    result = logger.finish()
    logger.close()
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times, in seconds, that the logger will read from its clock, one after the other."""
    times: list[float] = []
    monkeypatch.setattr("jgpt_dagster.lm.training.metrics_logger.time.monotonic", lambda: times.pop(0))
    return times


def test_a_progress_line_has_step_loss_speed_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    # 100 tokens a step: steps 3 and 4 of 10 take 2 s, so six more take 6 s; then an hour passes in step 5.
    clock += [100.0, 102.0, 3702.0]
    logger = MetricsLogger(tmp_path, done=2, steps=10)
    logger.log_step(row(4, validation_loss=2.5))
    logger.log_step(row(5))
    logger.close()
    assert capsys.readouterr().out.splitlines() == [
        "step 4/10  loss 5.0000  held-out 2.5000  lr 1.00e-01  100 tokens/s  0:00:06 left",
        "step 5/10  loss 4.0000  lr 1.00e-01  norm 1.00  0 tokens/s  1:40:03 left",
    ]
    timings = [json.loads(line) for line in (tmp_path / TIMING).read_text().splitlines()]
    assert timings == [
        {"step": 4, "seconds": 2.0, "tokens_per_second": 100.0},
        {"step": 5, "seconds": 3602.0, "tokens_per_second": 0.1},
    ]


def test_with_a_known_peak_the_speed_has_its_mfu_beside_the_planned_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    clock += [0.0, 2.0]
    logger = MetricsLogger(tmp_path, done=0, steps=5, peak_speed=125.0, planned_mfu=0.5)
    logger.log_step(row(1))
    logger.close()
    assert "50 tokens/s  MFU 40.0% (planned 50%)" in capsys.readouterr().out
    timing = json.loads((tmp_path / TIMING).read_text())
    assert timing == {"step": 1, "seconds": 2.0, "tokens_per_second": 50.0, "mfu": 0.4}


def test_a_run_launched_through_dagster_pipes_logs_its_progress_and_reports_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dagster_pipes

    messages = tmp_path / "messages"
    context = tmp_path / "context"
    context.write_text(json.dumps(_pipes_context()))
    monkeypatch.setenv("DAGSTER_PIPES_CONTEXT", dagster_pipes.encode_param({"path": str(context)}))
    monkeypatch.setenv("DAGSTER_PIPES_MESSAGES", dagster_pipes.encode_param({"path": str(messages)}))
    monkeypatch.setattr(dagster_pipes.PipesContext, "_instance", None)
    logger = MetricsLogger(tmp_path, done=0, steps=2)
    logger.log_step(row(1))
    logger.log_step(row(2, validation_loss=3.0))
    logger.finish()
    logger.close()
    received = [json.loads(line) for line in messages.read_text().splitlines()]
    logged = [m["params"]["message"] for m in received if m["method"] == "log"]
    custom = [m["params"]["payload"] for m in received if m["method"] == "report_custom_message"]
    assert len(logged) == 1 and logged[0].startswith("step 1/2  loss 8.0000"), "at most one line in ten seconds"
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
