"""The GPUs of this host that a run may use, found without the seconds that importing torch takes."""

import itertools
import os
import subprocess
from pathlib import Path


def has_gpu() -> bool:
    """Return whether this host has a GPU that may be used."""
    return visible_gpus() != [] and (bool(_installed_nvidia_gpus()) or Path("/dev/kfd").exists())


def gpu_count() -> int:
    """Return how many NVIDIA GPUs of this host may be used: those that CUDA_VISIBLE_DEVICES names, or all."""
    visible, installed = visible_gpus(), _installed_nvidia_gpus()
    return installed if visible is None else min(len(visible), installed)


def visible_gpus() -> list[str] | None:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, by number or UUID up to a -1; None if it is not set."""
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if text is None else list(itertools.takewhile(lambda gpu: gpu not in ("", "-1"), text.split(",")))


def query_nvidia_smi(*arguments: str) -> list[str]:
    """Return the lines that nvidia-smi prints; none if it is missing or fails."""
    try:
        answer = subprocess.run(  # noqa: S603  # no shell; arguments are constants of this package
            ["nvidia-smi", *arguments],  # noqa: S607  # drivers install it in different places
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.strip().splitlines()


def _installed_nvidia_gpus(devices: Path = Path("/dev")) -> int:
    if (devices / "dxg").exists():  # Windows Subsystem for Linux has one device for all GPUs of any vendor
        return len(query_nvidia_smi("--list-gpus"))
    return sum(1 for _ in devices.glob("nvidia[0-9]*"))
