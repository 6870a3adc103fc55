import os

import pytest

from jgpt_dagster.lm.launch import environment, gpus
from jgpt_dagster.lm.launch.environment import training_environment

SECRETS = (
    "POSTGRES_PASSWORD",
    "REDIS_URL",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "DAGSTER_CLOUD_API_TOKEN",
    "GITHUB_TOKEN",
    "HF_TOKEN",
    "HF_HUB_TOKEN",
    "JGPT_FAILURE_WEBHOOK",
    "MY_SETTING",
)
NEEDED = (
    "PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    "LC_ALL",
    "CUDA_HOME",
    "NCCL_DEBUG",
    "TORCHINDUCTOR_CACHE_DIR",
    "PYTORCH_CUDA_ALLOC_CONF",
    "HF_HOME",
    "WANDB_API_KEY",
    "MLFLOW_TRACKING_TOKEN",
    "https_proxy",
    "NO_PROXY",
    "DAGSTER_PIPES_CONTEXT",
    "JGPT_SHARED_SCRATCH",
    "PYTHONPATH",
    "SSH_AUTH_SOCK",
)


def test_training_gets_what_it_needs_and_no_secret_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, *NEEDED):
        monkeypatch.setenv(name, "x")
    variables = training_environment(1)
    assert [name for name in SECRETS if name in variables] == []
    assert [name for name in NEEDED if name not in variables] == []
    monkeypatch.setenv("JGPT_TRAINING_VARIABLES", "MY_SETTING, REDIS_URL")
    variables = training_environment(1)
    assert [name for name in SECRETS if name in variables] == ["REDIS_URL", "MY_SETTING"]


def test_processes_share_the_cores_and_keep_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
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
