import base64
import json
import sys
from pathlib import Path

import pytest

from jgpt_dagster.lm.launch import gpus
from jgpt_dagster.lm.launch.launch_command import launch_command
from jgpt_dagster.lm.launch.process_group import LaunchError
from jgpt_dagster.orchestration.resources import TrainingLauncher


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
def test_training_uses_the_visible_gpus_and_no_others(
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
def test_without_visible_gpus_training_uses_the_cpu(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    _show_gpus(monkeypatch, visible)
    assert TrainingLauncher().process_count() == 1
    assert _world(launch_command("deepspeed", 2, Path("config.json"))) == {"localhost": [0, 1]}


def test_what_a_launcher_cannot_do_is_refused() -> None:
    with pytest.raises(LaunchError, match="one process, not 2"):
        launch_command("python", 2, Path("config.json"))
    with pytest.raises(LaunchError, match="hostfile"):
        launch_command("torchrun", 2, Path("config.json"), Path("hosts"))


def _show_gpus(monkeypatch: pytest.MonkeyPatch, visible: str | None) -> None:
    """Pretend that this host has eight GPUs, of which some are visible."""
    monkeypatch.setattr(gpus, "_installed_nvidia_gpus", lambda: 8)
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


def _world(command: list[str]) -> dict[str, list[int | str]]:
    (info,) = (argument.partition("=")[2] for argument in command if argument.startswith("--world_info="))
    world: dict[str, list[int | str]] = json.loads(base64.urlsafe_b64decode(info))
    return world
