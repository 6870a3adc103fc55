import json
from pathlib import Path

from jgpt_dagster.lm.training.metrics_files import METRICS, TIMING, read_throughput, total_throughput


def test_throughput_is_measured_between_two_rows_of_one_start(tmp_path: Path) -> None:
    rows = [(1, 9.0), (2, 10.0), (4, 11.0), (3, 5.0), (4, 5.5)]
    (tmp_path / TIMING).write_text(
        "".join(json.dumps({"step": step, "seconds": seconds}) + "\n" for step, seconds in rows)
    )
    (tmp_path / METRICS).write_text(json.dumps({"step": 4, "tokens": 400}) + "\n")
    assert read_throughput(tmp_path) == [(2, 100.0), (4, 200.0), (4, 200.0)]


def test_total_throughput_is_over_all_starts_of_a_run(tmp_path: Path) -> None:
    assert total_throughput(tmp_path) is None
    # 100 tokens a step. The second start goes on after step 2, and a kill has torn the line before its first.
    first = [_timing(1, 2.0, 50.0), _timing(2, 3.0, 66.7), _timing(4, 5.0, 80.0)]
    second = ['{"step": 5, "sec' + _timing(4, 4.0, 50.0), _timing(6, 5.0, 80.0)]
    (tmp_path / TIMING).write_text("\n".join([*first, *second]) + "\n")
    # Four steps in 5 s, and four more in 5 s.
    assert total_throughput(tmp_path) == (10.0, 80.0)


def _timing(step: int, seconds: float, speed: float) -> str:
    return json.dumps({"step": step, "seconds": seconds, "tokens_per_second": speed})
