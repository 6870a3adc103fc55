import base64
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jgpt_dagster.lm.launch import multi_node
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.launch_command import TRAINING_MODULE, launch_command
from jgpt_dagster.lm.launch.multi_node import HostfileError, host_commands, read_hostfile, run_on_hosts
from jgpt_dagster.lm.launch.process_group import LaunchError, run_process_group
from jgpt_dagster_tests.support.deployments import PROJECT
from jgpt_dagster_tests.support.local_servers import LOOPBACK_HOSTS, ssh_server
from jgpt_dagster_tests.support.training_runs import small_training_set, write_config
from jgpt_dagster_tests.support.waiting import wait_until

WAITING = "jgpt_dagster_tests.support.await_signal"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ssh_server(tmp_path) as programs:
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        # A session of ssh begins in the home directory, where the tests' own programs are not found.
        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        yield


@pytest.fixture
def waiting(tmp_path: Path) -> list[str]:
    """The command that starts a program which waits, once on each of two hosts."""
    hostfile = tmp_path / "hostfile"
    hostfile.write_text(LOOPBACK_HOSTS)
    (tmp_path / "pids").mkdir()
    command = launch_command("deepspeed", 1, tmp_path / "pids", hostfile)
    return [WAITING if word == TRAINING_MODULE else word for word in command]


def test_a_hostfile_names_hosts_with_their_slots(tmp_path: Path) -> None:
    path = tmp_path / "hostfile"
    path.write_text("# the GPU machines\ngpu-1 slots=8\n\n  user@10.0.0.2   slots=4 # the old one\n")
    assert read_hostfile(path) == {"gpu-1": 8, "user@10.0.0.2": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu-1\n", "line 1: 'gpu-1' is not `NAME slots=COUNT`"),
        ("gpu-1 slots=8\n-oProxyCommand=x slots=8\n", "line 2"),
        ("gpu-1 slots=8\ngpu-1 slots=8\n", "line 2"),
        ("# none\n", "names no host"),
        (None, "No such file"),
    ],
)
def test_a_malformed_hostfile_is_refused_with_its_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "hostfile"
    if text is not None:
        path.write_text(text)
    with pytest.raises(HostfileError, match=message):
        read_hostfile(path)


def test_each_host_gets_its_rank_the_address_of_the_first_and_the_variables_of_the_run_without_secrets() -> None:
    environment = {
        "MASTER_PORT": "29500",
        "JGPT_LAUNCH": "id",
        "DAGSTER_PIPES_CONTEXT": "a b'c",
        "NCCL_SOCKET_IFNAME": "eth1",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "WANDB_MODE": "offline",
        "WANDB_API_KEY": "secret",
        "JGPT_FAILURE_WEBHOOK": "https://hooks.example/secret",
        "POSTGRES_PASSWORD": "secret",
        "RANK": "0",
    }
    commands = host_commands({"me@gpu-1": 8, "gpu-2": 8}, 4, [TRAINING_MODULE, "/data/a run.json"], environment)
    assert list(commands) == ["me@gpu-1", "gpu-2"]
    for rank, command in enumerate(commands.values()):
        words = shlex.split(command)
        assert words[:7] == [
            "exec",
            "env",
            "JGPT_LAUNCH=id",
            "DAGSTER_PIPES_CONTEXT=a b'c",
            "NCCL_SOCKET_IFNAME=eth1",
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
            "WANDB_MODE=offline",
        ]
        assert words[7] == sys.executable and words[-2:] == [TRAINING_MODULE, "/data/a run.json"]
        options = dict(word.split("=", 1) for word in words[7:] if word.startswith("--") and "=" in word)
        assert (options["--node_rank"], options["--master_addr"]) == (str(rank), "gpu-1")
        assert options["--master_port"] == "29500"
        assert json.loads(base64.urlsafe_b64decode(options["--world_info"])) == {
            "me@gpu-1": [0, 1, 2, 3],
            "gpu-2": [0, 1, 2, 3],
        }
        assert "secret" not in command and "RANK" not in command


@pytest.mark.parametrize("visible", ["4,5", "1,0", "0", "GPU-8932f937,GPU-72fa4d1a"])
def test_gpus_selected_on_this_host_only_are_refused_for_a_run_on_several(
    monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(LaunchError, match=rf"CUDA_VISIBLE_DEVICES={visible} selects GPUs of this host only.* first 2"):
        launch_command("deepspeed", 2, Path("config.json"), Path("hosts"))


@pytest.mark.parametrize("visible", [None, "", "-1", "0,1", "0,1,2,3"])
def test_without_a_selection_without_gpus_and_with_the_first_gpus_a_run_on_several_hosts_starts(
    monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert "jgpt_dagster.lm.launch.multi_node" in launch_command("deepspeed", 2, Path("config.json"), Path("hosts"))


def test_a_host_with_too_few_slots_is_named() -> None:
    with pytest.raises(HostfileError, match="8 processes on each host: gpu-2 has 4"):
        host_commands({"gpu-1": 8, "gpu-2": 4}, 8, [TRAINING_MODULE], {})


def test_when_a_host_fails_the_others_get_time_to_report_errors_and_are_stopped(
    ssh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(multi_node, "_ERROR_REPORT_SECONDS", 1.0)
    other = f"exec {shlex.join([sys.executable, '-c', OTHER, str(tmp_path / 'ended')])}"
    assert run_on_hosts({"127.0.0.1": "sleep 1; exit 3", "localhost": other}) == 3
    assert "host 127.0.0.1 ended with exit code 3" in capfd.readouterr().err
    wait_until((tmp_path / "ended").exists)


OTHER = """
import os, pathlib, sys
os.read(0, 1)
pathlib.Path(sys.argv[1]).touch()
"""


def test_an_unreachable_host_fails_the_launch(ssh: None, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_on_hosts({"127.0.0.1": "true", "no-such-host.invalid": "true"}) == 255
    assert "host no-such-host.invalid ended with exit code 255" in capfd.readouterr().err


@pytest.mark.slow
def test_a_cancelled_training_saves_the_states_of_all_hosts_and_leaves_no_process(ssh: None, tmp_path: Path) -> None:
    (tmp_path / "hostfile").write_text(LOOPBACK_HOSTS)
    small_training_set(tmp_path)
    endless = 1_000_000
    config = write_config(tmp_path, "run", steps=endless, checkpoint_every=endless, evaluate_every=endless)

    def cancel_in_training(line: str) -> None:
        if line.startswith("step "):
            raise KeyboardInterrupt

    def processes() -> list[psutil.Process]:
        commands = ((process, process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
        return [process for process, command in commands if str(config) in " ".join(command)]

    with pytest.raises(KeyboardInterrupt):
        command = launch_command("deepspeed", 1, config, tmp_path / "hostfile")
        run_process_group(command, training_environment(1), on_line=cancel_in_training, stop_grace_seconds=240)
    wait_until(lambda: not processes())
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    files = {path.name for path in saved.rglob("*")}
    assert {"manifest.json", "random_state.rank=00000.safetensors", "random_state.rank=00001.safetensors"} <= files


@pytest.mark.slow
def test_no_process_is_left_on_any_host_when_the_launching_one_is_killed(
    ssh: None, waiting: list[str], tmp_path: Path
) -> None:
    caller = subprocess.Popen([sys.executable, "-c", CALLER, *waiting])
    files = [tmp_path / "pids" / rank for rank in ("0", "1")]
    wait_until(lambda: caller.poll() is not None or all(file.exists() and file.read_text() for file in files))
    assert caller.poll() is None, "it ended by itself"
    processes = [psutil.Process(int(file.read_text())) for file in files]
    caller.send_signal(signal.SIGKILL)
    caller.wait(timeout=240)
    wait_until(lambda: not any(process.is_running() for process in processes))


CALLER = """
import sys
from jgpt_dagster.lm.launch.environment import training_environment
from jgpt_dagster.lm.launch.process_group import run_process_group
run_process_group(sys.argv[1:], training_environment(1), on_line=print)
"""
