"""A command with all of its processes: their output, their end, and the messages when it fails."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from jgpt_dagster.causes.report import Report
from jgpt_dagster.lm.launch.process_group import LaunchError, LaunchInterruptedError, run_process_group
from jgpt_dagster_tests.support.waiting import wait_until

ENVIRONMENT = dict(os.environ)


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", textwrap.dedent(code)]


# Like a real launcher: it starts a worker, which ignores SIGTERM, in a session of its own, and prints both ids.
LAUNCHER = """
    import os, signal, subprocess, sys, time
    worker = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", worker], start_new_session=True)
    print("pids", os.getpid(), process.pid, flush=True)
    time.sleep(600)
"""

TRAINING_LAUNCHER = """
    import subprocess, sys
    worker = (
        "from jgpt_dagster.lm.launch.process_group import die_with_launcher; die_with_launcher(); "
        "import time; time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", worker], start_new_session=True)
    print("pids", process.pid, flush=True)
    process.wait()
"""


def test_lines_of_stdout_and_stderr_arrive_while_the_command_runs(tmp_path: Path) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        (tmp_path / str(len(lines))).touch()

    code = f"""
        import pathlib, sys, time
        def wait_for(name):
            while not pathlib.Path({str(tmp_path)!r}, name).exists():
                time.sleep(0.01)
        print("あ")
        wait_for("1")
        print("error", file=sys.stderr)
        wait_for("2")
        sys.stdout.write("no line end")
    """
    assert run_process_group(python(code), ENVIRONMENT, on_line=on_line) == 0
    assert lines == ["あ", "error", "no line end"]


def test_a_failed_command_is_reported_with_its_code_and_last_lines() -> None:
    with pytest.raises(LaunchError) as error:
        run_process_group(python("for i in range(99): print('line', i)\nexit(3)"), ENVIRONMENT, on_line=print)
    assert "exit code 3" in str(error.value)
    assert "line 98" in str(error.value) and "line 5\n" not in str(error.value)


def test_a_killed_command_an_interrupted_one_and_a_missing_one_have_messages_of_their_own() -> None:
    for how, message in (("SIGKILL", "killed by SIGKILL"), ("SIGTERM", "Run it again to resume")):
        code = f"import os, signal; os.kill(os.getpid(), signal.{how})"
        with pytest.raises(LaunchError, match=message):
            run_process_group(python(code), ENVIRONMENT, on_line=print)
    with pytest.raises(LaunchError, match="killed by SIGKILL"):
        # As DeepSpeed's launcher ends when one of its processes is killed.
        run_process_group(python("exit(-9)"), ENVIRONMENT, on_line=print)
    with pytest.raises(LaunchError, match="cannot start"):
        run_process_group(["/no/such/program"], ENVIRONMENT, on_line=print)


@pytest.mark.parametrize(
    "worker", ["time.sleep(600)", "[print(i, flush=True) for i in iter(int, 1)]"], ids=["quiet", "printing"]
)
def test_a_launcher_that_ends_before_its_workers_is_a_failure_and_leaves_no_process(worker: str) -> None:
    pids: list[int] = []
    launcher = LAUNCHER.replace("time.sleep(600)\n", "sys.exit(0)\n").replace("time.sleep(600)", worker)
    with pytest.raises(LaunchError, match="before the processes that it started"):
        run_process_group(
            python(launcher),
            ENVIRONMENT,
            on_line=lambda line: pids.extend(_pids(line)),
            stop_grace_seconds=0.2,
        )
    assert len(pids) == 2
    _assert_gone(pids)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_no_process_is_left_when_the_caller_is_interrupted(error: type[BaseException]) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if "ready" in lines and _pids("\n".join(lines)):
            raise error

    with pytest.raises(error):
        run_process_group(python(LAUNCHER), ENVIRONMENT, on_line=on_line, stop_grace_seconds=0.5)
    pids = _pids("\n".join(lines))
    assert len(pids) == 2
    _assert_gone(pids)


def test_processes_get_a_grace_period_to_save_their_state(tmp_path: Path) -> None:
    code = f"""
        import pathlib, signal, sys, time
        def end(*_):
            time.sleep(0.5)
            pathlib.Path({str(tmp_path)!r}, "saved").touch()
            sys.exit(143)
        signal.signal(signal.SIGTERM, end)
        print("ready")
        time.sleep(600)
    """

    def on_line(line: str) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_process_group(python(code), ENVIRONMENT, on_line=on_line)
    assert (tmp_path / "saved").exists()


def test_a_training_process_is_terminated_before_its_launcher_which_would_kill_it(tmp_path: Path) -> None:
    worker = f"""
import pathlib, signal, sys, time
from jgpt_dagster.lm.launch.process_group import die_with_launcher
def end(*_):
    time.sleep(1)
    pathlib.Path({str(tmp_path)!r}, "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
die_with_launcher()
print("ready", flush=True)
time.sleep(600)
"""
    impatient = f"""
        import signal, subprocess, sys
        process = subprocess.Popen([sys.executable, "-c", {worker!r}])
        def end(*_):
            process.kill()
            sys.exit(1)
        signal.signal(signal.SIGTERM, end)
        process.wait()
        sys.stdin.read()
    """

    def on_line(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_process_group(python(impatient), ENVIRONMENT, on_line=on_line, stop_grace_seconds=120)
    assert (tmp_path / "saved").exists()


def test_a_killed_caller_leaves_no_process_behind(tmp_path: Path) -> None:
    output = tmp_path / "output"
    caller = f"""
        import os
        from jgpt_dagster.lm.launch.process_group import run_process_group
        stream = open({str(output)!r}, "w", buffering=1)
        run_process_group(
            {python(TRAINING_LAUNCHER)!r}, dict(os.environ), on_line=lambda line: stream.write(line + "\\n")
        )
    """
    process = subprocess.Popen(python(caller))
    wait_until(lambda: output.exists() and bool(_pids(output.read_text())))
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert len(children) == 2
    process.kill()
    process.wait()
    _assert_gone(children)


def _pids(text: str) -> list[int]:
    return [int(word) for line in text.splitlines() if line.startswith("pids ") for word in line.split()[1:]]


def _assert_gone(pids: list[int]) -> None:
    wait_until(lambda: not any(psutil.pid_exists(p) and psutil.Process(p).status() != "zombie" for p in pids))


# Saves a checkpoint when it is stopped, which takes as long as the test wants.
SAVING = """
    import pathlib, signal, sys, time
    from jgpt_dagster.lm.launch.process_group import EXIT_INTERRUPTED, die_with_launcher
    def save(*_):
        pathlib.Path(sys.argv[1], "saving").touch()
        while not pathlib.Path(sys.argv[1], "go on").exists():
            time.sleep(0.01)
        pathlib.Path(sys.argv[1], "saved").touch()
        sys.exit(EXIT_INTERRUPTED)
    signal.signal(signal.SIGTERM, save)
    die_with_launcher()
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_second_interrupt_does_not_cost_the_checkpoint(tmp_path: Path) -> None:
    def interrupt_again_and_again(line: str) -> None:
        assert line == "ready"
        os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt_while_it_saves).start()

    def interrupt_while_it_saves() -> None:
        wait_until((tmp_path / "saving").exists)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        (tmp_path / "go on").touch()

    with pytest.raises(KeyboardInterrupt):
        run_process_group([*python(SAVING), str(tmp_path)], ENVIRONMENT, on_line=interrupt_again_and_again)
    assert (tmp_path / "saved").exists()


def failure_of(*reports: Report, end: str, noise: str = "") -> LaunchError:
    """Return the error of a launch whose processes send reports, and which ends by a statement."""
    code = f"""
import os, signal
from jgpt_dagster.causes.report import Report
print({noise!r})
for report in {reports!r}:
    report.send()
{end}
"""
    lines: list[str] = []
    with pytest.raises(LaunchError) as error:
        run_process_group(python(code), ENVIRONMENT, on_line=lines.append)
    assert lines == [noise], "reports are not output"
    return error.value


LOST, STOPPED = Report("lost peer", "the connection broke", 0), Report("interrupted", "interrupted at step 3", 1)


def test_the_cause_that_a_process_reports_is_the_error_without_the_launchers_command() -> None:
    error = failure_of(LOST, Report("failed", "the disk is full\nFree some", 2), STOPPED, end="exit(1)")
    assert str(error) == "the disk is full\nFree some"


def test_a_killed_process_explains_a_launch_before_those_that_it_took_along() -> None:
    for end, noise in (
        ("exit(-9)", ""),  # DeepSpeed's launcher
        ("exit(137)", ""),  # a shell, a container
        ("exit(1)", "traceback : Signal 9 (SIGKILL) received by PID 123"),  # torchrun
        ("os.kill(os.getpid(), signal.SIGKILL)", ""),
    ):
        error = failure_of(LOST, STOPPED, end=end, noise=noise)
        assert str(error).startswith("a training process was killed by SIGKILL: out of memory?")


def test_an_interrupted_launch_says_so_and_one_that_crashed_names_the_error_first() -> None:
    error = failure_of(STOPPED, end="exit(143)")
    assert isinstance(error, LaunchInterruptedError) and str(error).startswith("interrupted at step 3\n")
    crash = str(failure_of(Report("crashed", "ValueError: x"), LOST, end="exit(1)", noise="last words"))
    assert crash.startswith("the training program failed: ValueError: x\n") and "last words" in crash
