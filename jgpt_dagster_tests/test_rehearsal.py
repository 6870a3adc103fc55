"""The figures of a rehearsal include what was lost, and what a run makes on the way once."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = Path(__file__).parents[1] / "benchmarks/rehearsal/measure.py"

# A grandchild uses two seconds of CPU and kills all processes at once: nobody waits for it.
KILLED = """
while time.process_time() < 2: pass
time.sleep(1.5)
os.killpg(0, signal.SIGKILL)
"""


@pytest.mark.slow
def test_cpu_of_processes_that_are_killed_together_is_counted(tmp_path: Path) -> None:
    grandchild = [sys.executable, "-c", f"import os, signal, time\n{KILLED}"]
    child = [sys.executable, "-c", f"import os, subprocess\nos.setpgrp()\nsubprocess.run({grandchild!r})"]
    report = tmp_path / "report.json"
    env = {**os.environ, "JGPT_DATA": str(tmp_path / "data")}
    subprocess.run([sys.executable, MEASURE, report, *child], env=env, check=False, capture_output=True)
    (part,) = json.loads(report.read_text())
    assert part["status"] == -9
    assert part["cpu_seconds"] > 1.9  # user and system time are each rounded to ticks of the kernel


def test_what_a_run_makes_on_the_way_counts_once(tmp_path: Path) -> None:
    records = {
        "tokenizer": [("run.json", "a", 10.0, 8.0)],
        "cc100_word_counts": [("shard=000/run.json", "a", 2.0, 1.5), ("shard=001/run.json", "a", 1.0, 0.5)],
        # One pass has the same time in the record of each of its outputs.
        "cc100_documents": [("shard=000.run.json", "b", 4.0, 3.0), ("shard=001.run.json", "b", 4.0, 3.0)],
    }
    for asset, outputs in records.items():
        for name, run, seconds, cpu_seconds in outputs:
            path = tmp_path / asset / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"run_id": run, "seconds": seconds, "cpu_seconds": cpu_seconds}))
    found = runpy.run_path(str(MEASURE))["stage_records"](tmp_path, 0)
    assert found == {
        "tokenizer": {"outputs": 1, "seconds": 7, "cpu_seconds": 6},
        "cc100_word_counts": {"outputs": 2, "seconds": 3, "cpu_seconds": 2},
        "cc100_documents": {"outputs": 2, "seconds": 4, "cpu_seconds": 3},
    }
