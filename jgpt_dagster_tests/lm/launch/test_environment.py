import os

import pytest

from jgpt_dagster.lm.launch import environment, gpus
from jgpt_dagster.lm.launch.environment import training_environment


def test_processes_share_the_cores_and_keep_the_rest_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "available_cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    variables = training_environment(2)
    assert variables["OMP_NUM_THREADS"] == "4"
    assert variables["DS_ACCELERATOR"] == "cpu"
    assert variables["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("visible", ["", "-1"])
def test_without_visible_gpus_training_uses_the_cpu(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setattr(gpus, "_installed_nvidia_gpus", lambda: 8)
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert training_environment(2)["DS_ACCELERATOR"] == "cpu"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert "DS_ACCELERATOR" not in training_environment(2)
