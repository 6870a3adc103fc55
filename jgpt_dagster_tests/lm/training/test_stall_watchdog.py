"""A stalled run is ended, whatever the disk does meanwhile."""

import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from jgpt_dagster.lm.training.stall_watchdog import HEARTBEATS, Watchdog
from jgpt_dagster_tests.support.waiting import wait_until

# The stand-in for the end of the process ends a thread.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the process would have ended; only the thread that ends it does."""
    event = threading.Event()

    def end(code: int) -> None:
        event.set()
        sys.exit(code)

    monkeypatch.setattr(os, "_exit", end)
    return event


def test_the_stuck_process_is_named_before_the_checkpoint_is_looked_for(
    tmp_path: Path, ended: threading.Event, capfd: pytest.CaptureFixture[str]
) -> None:
    printed_before: list[str] = []

    def newest_checkpoint() -> str:
        printed_before.append(capfd.readouterr().err)
        return "step=00000004"

    with Watchdog(tmp_path, 0, 1, seconds=0.2, newest_checkpoint=newest_checkpoint):
        assert ended.wait(60)
    assert "no progress for 0 s at step 0: every process is alive" in printed_before[0]
    assert "newest checkpoint: step=00000004" in capfd.readouterr().err


def test_a_disk_that_fails_for_a_moment_does_not_stop_the_watchdog(
    tmp_path: Path, ended: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Path] = []

    def fail(path: Path) -> None:
        failures.append(path)
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(os, "utime", fail)
    with Watchdog(tmp_path, 0, 1, seconds=0.5, newest_checkpoint=lambda: "none"):
        wait_until(lambda: len(failures) > 1)
        assert ended.wait(60)


def test_a_stalled_run_is_ended_even_if_its_disk_is_gone(
    tmp_path: Path, ended: threading.Event, capfd: pytest.CaptureFixture[str]
) -> None:
    def newest_checkpoint() -> str:
        raise OSError(5, "Input/output error")

    with Watchdog(tmp_path, 0, 1, seconds=0.2, newest_checkpoint=newest_checkpoint):
        shutil.rmtree(tmp_path / HEARTBEATS)
        assert ended.wait(60)
    assert "the process that holds it up is unknown" in capfd.readouterr().err
