from pathlib import Path

import pytest

from jgpt_dagster.lm.launch import gpus


def test_in_windows_subsystem_for_linux_nvidia_smi_counts_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dxg").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus._installed_nvidia_gpus(tmp_path) == 0
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert gpus._installed_nvidia_gpus(tmp_path) == 1
