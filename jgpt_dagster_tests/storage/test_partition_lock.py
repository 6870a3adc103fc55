"""One output has one writer; who waits is told for whom, and a dead writer holds nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jgpt_dagster.storage.partition_lock import partition_lock

LABEL = "wikipedia_articles 20260101|003"

HOLDER = """
import sys, time
from pathlib import Path
from jgpt_dagster.storage.partition_lock import partition_lock
with partition_lock(Path(sys.argv[1]), sys.argv[2], "run 42", print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(root: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root), LABEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process


def test_the_second_waits_and_is_told_who_has_it(tmp_path: Path) -> None:
    reported: list[str] = []
    with holder(tmp_path) as process:

        def report(line: str) -> None:
            assert process.stdin and process.poll() is None
            reported.append(line)
            process.stdin.close()

        with partition_lock(tmp_path, LABEL, "run 43", report):
            pass
    assert len(reported) == 1
    assert reported[0].startswith(f"{LABEL}: waiting for run 42 (process {process.pid} on ")


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    reported: list[str] = []
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with partition_lock(tmp_path, LABEL, "run 43", reported.append):
            pass
    assert reported == []


def test_a_failure_frees_the_lock(tmp_path: Path) -> None:
    reported: list[str] = []
    for _ in range(2):
        try:
            with partition_lock(tmp_path, LABEL, "run 43", reported.append):
                raise RuntimeError
        except RuntimeError:
            pass
    assert reported == []


def test_other_outputs_are_free(tmp_path: Path) -> None:
    reported: list[str] = []
    with (
        partition_lock(tmp_path, LABEL, "run 43", reported.append),
        partition_lock(tmp_path, "wikipedia_articles 20260101|004", "run 44", reported.append),
        partition_lock(tmp_path, "tokenizer", "run 45", reported.append),
    ):
        assert reported == []
    assert not [name for name in os.listdir(tmp_path / ".locks") if name.endswith(".json")]
