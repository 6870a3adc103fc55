"""Killed at any change that it makes on disk, or within any write, a stage leaves nothing that passes for data.

The command kills at all of them; these tests draw some, spread over the stages.
"""

import subprocess
import sys

import pytest

from jgpt_dagster_tests.support.deployments import PROJECT


def kills(*options: str) -> str:
    command = [sys.executable, str(PROJECT / "benchmarks/kills.py"), "--processes", "1", *options]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=PROJECT)
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirty_kills_over_all_stages_change_nothing_of_what_the_next_run_makes() -> None:
    assert "30 kills, 0 with faults" in kills("--where", "disk", "--kills", "30", "--seed", "1")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_uploads_a_bucket_holds_nothing_that_passes_for_data() -> None:
    output = kills("--where", "bucket", "--stages", "wikipedia_dump", "cc100_documents", "--kills", "16")
    assert "16 kills, 0 with faults" in output
