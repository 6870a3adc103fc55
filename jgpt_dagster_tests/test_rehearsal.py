"""The figures of a rehearsal include what was lost."""

import json
import os
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
