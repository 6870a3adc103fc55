"""The machines that a training run can be planned for: devices with their memory and speed, and how many of them.

`parse` reads a name such as `8xa100-80`, `detect` looks at this host. Whether a model fits a machine, and how it is
laid out on it, is in `layout.py`.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.launcher import gpu_count, query_nvidia_smi
from jgpt_dagster.runtime import resource_limits

GB = 10**9
GIB = 2**30

_GIVEN = "given"


class HardwareError(JgptError):
    """A machine that is unknown, or that a model does not fit."""


@dataclass(frozen=True)
class Device:
    """What one training process computes on.

    `memory` is in bytes; `peak_flops` the dense FLOP/s of bf16 matrix products with fp32 sums, None where no figure is
    in the table. Vendors also print figures for sparse matrices, twice as high: `source` says where this is from.
    """

    name: str
    memory: int
    peak_flops: float | None
    source: str

    @property
    def gpu(self) -> bool:
        """Whether this is a GPU: bf16, fused kernels and NCCL."""
        return self.name != "cpu"

    def peak(self, *, bf16: bool) -> float | None:
        """Return the peak FLOP/s of what a run computes in; None for fp32 (without TF32) unless a figure was given."""
        return self.peak_flops if bf16 or self.source == _GIVEN else None


# Memory as nvidia-smi reports it, rounded down: a driver keeps some of what the name promises. The peaks are those of
# the datasheets and white papers named, for the larger ones also those of torchtitan (`tools/utils.py`).
_A100 = "nvidia.com/en-us/data-center/a100: bfloat16 tensor core 312 TFLOPS, SXM and PCIe"
_H200 = "nvidia.com/en-us/data-center/h200, SXM: 1,979 TFLOPS with sparsity, halved"
_GA102 = "NVIDIA Ampere GA102 GPU Architecture, white paper: peak BF16 tensor TFLOPS with FP32 accumulate"
_ADA = "NVIDIA Ada GPU Architecture, white paper: peak BF16 tensor TFLOPS with FP32 accumulate"
DEVICES = {
    device.name: device
    for device in (
        Device("a100-40", 39 * GIB, 312e12, _A100),
        Device("a100-80", 79 * GIB, 312e12, _A100),
        Device(
            "h100-80", 79 * GIB, 989.4e12, "nvidia.com/en-us/data-center/h100, SXM: 1,979 TFLOPS with sparsity, halved"
        ),
        Device("h200-141", 141 * GB, 989.4e12, _H200),
        Device("b200-180", 178 * GIB, 2250e12, "nvidia.com/en-us/data-center/hgx: 4.5 PFLOPS with sparsity, halved"),
        Device("l40s-48", 44 * GIB, 362.05e12, "nvidia.com/en-us/data-center/l40s: 362.05 TFLOPS, 733 with sparsity"),
        Device("a6000-48", 47 * GIB, 154.8e12, f"{_GA102}, RTX A6000"),
        Device("rtx3090-24", 23 * GIB, 71e12, f"{_GA102}, GeForce RTX 3090"),
        Device("rtx4090-24", 23 * GIB, 165.2e12, f"{_ADA}, GeForce RTX 4090"),
    )
}
# The words of a name that nvidia-smi prints, and the devices that it may be.
_SPOKEN = {
    ("a100",): ("a100-40", "a100-80"),
    ("h100",): ("h100-80",),
    ("h200",): ("h200-141",),
    ("b200",): ("b200-180",),
    ("l40s",): ("l40s-48",),
    ("rtx", "a6000"): ("a6000-48",),
    ("rtx", "3090"): ("rtx3090-24",),
    ("rtx", "4090"): ("rtx4090-24",),
}
# Words of slower relatives (an H100 has 756 TFLOPS on PCIe, 835 as an NVL pair); an A100 is as fast on PCIe.
_RELATIVES = frozenset({"pcie", "nvl", "ti", "d", "laptop"})


@dataclass(frozen=True)
class Hardware:
    """`processes` devices on each of `nodes` hosts."""

    device: Device
    processes: int = 1
    nodes: int = 1

    @property
    def world(self) -> int:
        """Processes over all hosts."""
        return self.processes * self.nodes

    def with_peak(self, flops: float) -> "Hardware":
        """Return the same machine with another peak FLOP/s of each device."""
        return replace(self, device=replace(self.device, peak_flops=flops, source=_GIVEN))

    @property
    def name(self) -> str:
        """The name that `parse` reads."""
        nodes = f"{self.nodes}x" if self.nodes > 1 else ""
        processes = f"{self.processes}x" if self.nodes > 1 or self.processes > 1 or self.device.gpu else ""
        return f"{nodes}{processes}{self.device.name}"


def presets() -> list[str]:
    """Return the names of the usual machines; `parse` reads any number of devices and hosts."""
    gpus = [f"{count}x{name}" for name in DEVICES for count in (1, 4, 8)]
    return ["cpu", *gpus, "2x8xa100-80", "4x8xh100-80"]


def parse(name: str) -> Hardware:
    """Read `[[NODES x] COUNT x] DEVICE`, as in `cpu`, `8xa100-80`, `2x8xh100-80`.

    Raises HardwareError with the devices that are known. `cpu` is this host's.
    """
    match = re.fullmatch(r"(?:(?:([1-9]\d*)x)?([1-9]\d*)x)?([a-z0-9]+(?:-\d+)?)", name)
    device = match and (cpu() if match[3] == "cpu" else DEVICES.get(match[3]))
    if match is None or device is None:
        raise HardwareError(
            f"there is no hardware {name!r}: give auto, cpu or COUNTxDEVICE (NODESxCOUNTxDEVICE for several "
            f"hosts) with a DEVICE of {', '.join(DEVICES)}, such as 8xa100-80"
        )
    return Hardware(device, int(match[2] or 1), int(match[1] or 1))


def detect(processes: int, nodes: int, query: Callable[[], list[str]] | None = None) -> Hardware:
    """Return this host's devices, `processes` of them on each of `nodes` such hosts.

    `query` returns lines `name, MiB` of nvidia-smi. A GPU that is not in the table has its memory, and no peak; one
    without memory of its own (nvidia-smi says `[N/A]`) shares this host's. Raises HardwareError where there are GPUs of
    which nvidia-smi does not tell.
    """
    lines = (query or _nvidia_smi)()
    if not lines:
        if gpu_count():
            raise HardwareError(
                "this host has NVIDIA GPUs, but nvidia-smi does not answer: run it, and mend what it says. In a "
                "container it comes with `--gpus all`. CUDA_VISIBLE_DEVICES= trains on the CPU."
            )
        return Hardware(cpu(), processes, nodes)
    devices = [_gpu(name.strip(), _bytes(mebibytes)) for name, mebibytes in (line.rsplit(",", 1) for line in lines)]
    # The smallest decides: all processes carry the same load.
    return Hardware(min(devices, key=lambda device: device.memory), processes, nodes)


def cpu() -> Device:
    """Return this host's processor as a device. Its memory is all that this process may use."""
    return Device("cpu", resource_limits.available_memory(), None, "no figure: it depends on clock and vector units")


def _gpu(name: str, memory: int) -> Device:
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    for spoken, candidates in _SPOKEN.items():
        if words.issuperset(spoken) and ("a100" in spoken or not words & _RELATIVES):
            nearest = min((DEVICES[each] for each in candidates), key=lambda device: abs(device.memory - memory))
            return Device(nearest.name, min(nearest.memory, memory), nearest.peak_flops, nearest.source)
    return Device(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), memory, None, "not in the table")


def _bytes(mebibytes: str) -> int:
    """Return the memory that nvidia-smi prints, or where it does not this host's: that is what the GPU has, then."""
    return int(mebibytes) * 2**20 if mebibytes.strip().isdecimal() else resource_limits.available_memory()


def _nvidia_smi() -> list[str]:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    return query_nvidia_smi("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
