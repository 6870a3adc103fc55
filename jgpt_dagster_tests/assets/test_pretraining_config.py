"""What a run is laid out for is what it is started on."""

from pathlib import Path
from typing import Any

import pytest

from jgpt_dagster.assets import pretrained_model
from jgpt_dagster.assets.pretraining_config import require_hardware
from jgpt_dagster.lm.launch import launcher
from jgpt_dagster.lm.launch.launcher import LaunchError
from jgpt_dagster.lm.planning.hardware import HardwareError, parse_hardware
from jgpt_dagster.orchestration.resources import TrainingLauncher
from jgpt_dagster_tests.support.deployments import DUMP, SMALL_RUN, Deployment


@pytest.fixture
def eight_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host seems to have eight GPUs of 24 GB."""
    monkeypatch.setattr(launcher, "_nvidia_gpus", lambda: 8)
    for name in ("CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nyes 'NVIDIA GeForce RTX 3090, 24576' | head -8\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_a_machine_with_smaller_gpus_than_were_named_is_refused(eight_gpus: None) -> None:
    expected = r"8xa100-80 has 79\.0 GiB a GPU, but the rtx3090-24 of this host has 23\.0 GiB"
    with pytest.raises(HardwareError, match=expected):
        require_hardware(parse_hardware("8xa100-80"), TrainingLauncher())
    require_hardware(parse_hardware("8xrtx3090-24"), TrainingLauncher())
    require_hardware(parse_hardware("8xrtx4090-24"), TrainingLauncher())


def test_gpus_that_are_not_here_are_refused_whatever_number_of_processes_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(HardwareError, match="8xa100-80 names GPUs, but this host has none"):
        require_hardware(parse_hardware("8xa100-80"), TrainingLauncher(processes=8))


def test_a_run_for_the_cpu_leaves_the_gpus_of_its_host_alone(eight_gpus: None) -> None:
    launcher = TrainingLauncher()
    require_hardware(parse_hardware("cpu"), launcher)
    assert (launcher.process_count(gpu=False), launcher.process_count()) == (1, 8)
    assert launcher.training_environment(1, on_cpu=True)["DS_ACCELERATOR"] == "cpu"
    assert "DS_ACCELERATOR" not in launcher.training_environment(8)


@pytest.mark.slow
def test_hardware_cpu_starts_one_process_on_the_cpu_of_a_host_with_gpus(
    eight_gpus: None, finished: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []

    def start(command: list[str], environment: dict[str, str], **options: Any) -> None:
        started.append(environment)
        raise LaunchError("started")

    monkeypatch.setattr(pretrained_model, "run_process_group", start)
    deployment = finished.copy(tmp_path / "data")
    run = {**SMALL_RUN["pretrained_model"], "seed": 1, "hardware": "cpu"}
    assert deployment.materialize("pretrained_model", DUMP, **run).error == "started"
    assert started[0]["DS_ACCELERATOR"] == "cpu"
