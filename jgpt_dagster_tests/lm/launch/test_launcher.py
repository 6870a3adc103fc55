import base64
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from jgpt_dagster.lm.launch import launcher
from jgpt_dagster.lm.launch.launcher import LaunchError, launch_command, run_process_group, training_environment
from jgpt_dagster.orchestration.resources import TrainingLauncher
from jgpt_dagster_tests.support.waiting import wait_until

ENVIRONMENT = dict(os.environ)


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", textwrap.dedent(code)]


# A launcher as they are: it starts a worker in a session of its own that ignores SIGTERM, and tells both ids.
LAUNCHER = """
    import os, signal, subprocess, sys, time
    worker = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", worker], start_new_session=True)
    print("pids", os.getpid(), process.pid, flush=True)
    time.sleep(600)
"""

FOLLOWER = """
    import subprocess, sys
    worker = "import time; from jgpt_dagster.lm.launch.launcher import die_with_launcher as end; end(); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", worker], start_new_session=True)
    print("pids", process.pid, flush=True)
    process.wait()
"""


def test_lines_of_both_outputs_arrive_while_the_command_runs() -> None:
    lines: list[str] = []
    code = "import sys; print('あ'); print('error', file=sys.stderr); sys.stdout.write('no line end')"
    assert run_process_group(python(code), ENVIRONMENT, on_line=lines.append) == 0
    assert lines == ["あ", "error", "no line end"]


def test_a_failed_command_is_reported_with_its_code_and_last_lines() -> None:
    with pytest.raises(LaunchError) as error:
        run_process_group(python("for i in range(99): print('line', i)\nexit(3)"), ENVIRONMENT, on_line=str)
    assert "exit code 3" in str(error.value)
    assert "line 98" in str(error.value) and "line 5\n" not in str(error.value)


def test_a_killed_command_and_an_interrupted_one_are_told_apart() -> None:
    for how, message in (("SIGKILL", "killed by SIGKILL"), ("SIGTERM", "Run it again to go on")):
        code = f"import os, signal; os.kill(os.getpid(), signal.{how})"
        with pytest.raises(LaunchError, match=message):
            run_process_group(python(code), ENVIRONMENT, on_line=str)
    with pytest.raises(LaunchError, match="killed by SIGKILL"):
        # As DeepSpeed's launcher ends when one of its processes is killed.
        run_process_group(python("exit(-9)"), ENVIRONMENT, on_line=str)
    with pytest.raises(LaunchError, match="cannot start"):
        run_process_group(["/no/such/program"], ENVIRONMENT, on_line=str)


@pytest.mark.parametrize(
    "worker", ["time.sleep(600)", "[print(i, flush=True) for i in iter(int, 1)]"], ids=["silent", "talking"]
)
def test_a_launcher_that_ends_well_before_its_workers_is_a_failure_and_leaves_none(worker: str) -> None:
    pids: list[int] = []
    launcher = LAUNCHER.replace("time.sleep(600)\n", "sys.exit(0)\n").replace("time.sleep(600)", worker)
    with pytest.raises(LaunchError, match="before the processes that it had started"):
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


def test_processes_get_the_time_to_end_in_peace(tmp_path: Path) -> None:
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


def test_a_training_program_saves_in_peace_before_its_launcher_is_asked_to_end(tmp_path: Path) -> None:
    worker = f"""
import pathlib, signal, sys, time
from jgpt_dagster.lm.launch.launcher import die_with_launcher
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
        from jgpt_dagster.lm.launch.launcher import run_process_group
        stream = open({str(output)!r}, "w", buffering=1)
        run_process_group({python(FOLLOWER)!r}, dict(os.environ), on_line=lambda line: stream.write(line + "\\n"))
    """
    process = subprocess.Popen(python(caller))
    wait_until(lambda: output.exists() and bool(_pids(output.read_text())))
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert len(children) == 2
    process.kill()
    process.wait()
    _assert_gone(children)


def test_launchers_are_modules_of_the_running_interpreter() -> None:
    config = Path("config.json")
    assert launch_command("python", 1, config) == [sys.executable, "-m", "jgpt_dagster.lm.train", "config.json"]
    torchrun = launch_command("torchrun", 2, config)
    assert torchrun[:2] == [sys.executable, "-m"] and "--nproc-per-node=2" in torchrun
    deepspeed = launch_command("deepspeed", 2, config)
    assert deepspeed[:4] == [sys.executable, "-u", "-m", "deepspeed.launcher.launch"]
    assert _world(deepspeed) == {"localhost": [0, 1]}
    for command in (torchrun, deepspeed):
        assert command[-2:] == ["jgpt_dagster.lm.train", "config.json"]
    module = "jgpt_dagster.lm.launch.multi_node"
    assert launch_command("deepspeed", 8, config, Path("hosts"))[1:5] == ["-m", module, "hosts", "8"]


@pytest.mark.parametrize(
    ("visible", "usable"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("4,6", ["4", "6"]),
        ("GPU-8932f937,GPU-72fa4d1a", ["GPU-8932f937", "GPU-72fa4d1a"]),
        ("2,-1,3", ["2"]),
    ],
)
def test_training_uses_the_gpus_that_it_is_shown_and_no_others(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, usable: list[int | str]
) -> None:
    _show_gpus(monkeypatch, visible)
    count = TrainingLauncher().process_count()
    assert count == len(usable)
    assert _world(launch_command("deepspeed", count, Path("config.json"))) == {"localhost": usable}


def test_more_processes_than_visible_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _show_gpus(monkeypatch, "4,6")
    with pytest.raises(LaunchError, match="CUDA_VISIBLE_DEVICES=4,6 names 2 GPUs for 3 processes"):
        launch_command("deepspeed", 3, Path("config.json"))


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_gpus_leave_the_cpu(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    _show_gpus(monkeypatch, visible)
    assert TrainingLauncher().process_count() == 1
    assert _world(launch_command("deepspeed", 2, Path("config.json"))) == {"localhost": [0, 1]}
    assert training_environment(2)["DS_ACCELERATOR"] == "cpu"


def test_a_launcher_is_not_asked_for_what_it_cannot_do() -> None:
    with pytest.raises(LaunchError, match="one process, not 2"):
        launch_command("python", 2, Path("config.json"))
    with pytest.raises(LaunchError, match="hostfile"):
        launch_command("torchrun", 2, Path("config.json"), Path("hosts"))


def test_the_cores_are_shared_between_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environment = training_environment(2)
    assert environment["OMP_NUM_THREADS"] == "4"
    assert environment["DS_ACCELERATOR"] == "cpu"
    assert environment["PATH"] == os.environ["PATH"]


def test_in_windows_subsystem_the_gpus_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dxg").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert launcher._nvidia_gpus(tmp_path) == 0
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert launcher._nvidia_gpus(tmp_path) == 1


def _show_gpus(monkeypatch: pytest.MonkeyPatch, visible: str | None) -> None:
    """Pretend that this host has eight GPUs, of which some are visible."""
    monkeypatch.setattr(launcher, "_nvidia_gpus", lambda: 8)
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


def _world(command: list[str]) -> dict[str, list[int | str]]:
    (info,) = (argument.partition("=")[2] for argument in command if argument.startswith("--world_info="))
    world: dict[str, list[int | str]] = json.loads(base64.urlsafe_b64decode(info))
    return world


def _pids(text: str) -> list[int]:
    return [int(word) for line in text.splitlines() if line.startswith("pids ") for word in line.split()[1:]]


def _assert_gone(pids: list[int]) -> None:
    wait_until(lambda: not any(psutil.pid_exists(p) and psutil.Process(p).status() != "zombie" for p in pids))
