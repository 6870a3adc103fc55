"""The device that a training process selects."""

import pytest
import torch

from jgpt_dagster.lm.launch import gpus
from jgpt_dagster.lm.training.distributed import select_device
from jgpt_dagster.lm.training.errors import TrainingError


def test_gpus_that_pytorch_cannot_use_are_no_reason_to_train_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this PyTorch can use its GPUs")
    for name in ("CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "_installed_nvidia_gpus", lambda: 8)
    with pytest.raises(TrainingError, match=r"cannot use them: .+ CUDA_VISIBLE_DEVICES= trains on the CPU"):
        select_device()


def test_a_run_laid_out_for_the_cpu_stays_there_even_if_pytorch_finds_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert select_device() == torch.device("cpu")
    monkeypatch.delenv("DS_ACCELERATOR")
    assert select_device() == torch.device("cuda", 1)
