"""The machines that a training run can be planned for: devices with their memory and peak FLOP/s, and their number.

`parse_hardware` reads a name such as `8xa100-80`, `detect_hardware` asks this host.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch.gpus import gpu_count, query_nvidia_smi
from jgpt_dagster.runtime import resource_limits

GB = 10**9
GIB = 2**30

_USER_SUPPLIED = "given"


class HardwareError(JgptError):
    """A machine that is unknown or too small for the model."""


@dataclass(frozen=True)
class Device:
    """The device of one training process.

    `memory` is in bytes. `peak_flops` are dense FLOP/s of bf16 matrix products with fp32 sums, None if unknown;
    `source` says where the figure comes from, since vendors also publish figures for sparse matrices, twice as high.
    """

    name: str
    memory: int
    peak_flops: float | None
    source: str

    @property
    def gpu(self) -> bool:
        """Whether this is a GPU, with bf16, fused kernels and NCCL."""
        return self.name != "cpu"

    def peak(self, *, bf16: bool) -> float | None:
        """Return the peak FLOP/s in bf16 or fp32 (without TF32); for fp32 only a figure from the user is known."""
        return self.peak_flops if bf16 or self.source == _USER_SUPPLIED else None


# Memory as nvidia-smi reports it, rounded down: the driver reserves some of the nominal size. Peaks are from the
# datasheets and white papers named; torchtitan (`tools/utils.py`) uses the same for the larger GPUs.
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
# Words of a product name as nvidia-smi prints it, and the devices that it may stand for.
_PRODUCT_WORDS = {
    ("a100",): ("a100-40", "a100-80"),
    ("h100",): ("h100-80",),
    ("h200",): ("h200-141",),
    ("b200",): ("b200-180",),
    ("l40s",): ("l40s-48",),
    ("rtx", "a6000"): ("a6000-48",),
    ("rtx", "3090"): ("rtx3090-24",),
    ("rtx", "4090"): ("rtx4090-24",),
}
# Words of slower variants (an H100 has 756 TFLOPS on PCIe, 835 as an NVL pair). An A100 is as fast on PCIe.
_SLOWER_VARIANTS = frozenset({"pcie", "nvl", "ti", "d", "laptop"})


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
        """Return the same machine with a peak FLOP/s per device that the user supplies."""
        return replace(self, device=replace(self.device, peak_flops=flops, source=_USER_SUPPLIED))

    @property
    def name(self) -> str:
        """The name that `parse_hardware` reads."""
        nodes = f"{self.nodes}x" if self.nodes > 1 else ""
        processes = f"{self.processes}x" if self.nodes > 1 or self.processes > 1 or self.device.gpu else ""
        return f"{nodes}{processes}{self.device.name}"


def parse_hardware(name: str) -> Hardware:
    """Return the machine of a name `[[NODES x] COUNT x] DEVICE`: `cpu` (of this host), `8xa100-80`, `2x8xh100-80`.

    Raises HardwareError, which lists the known devices, for any other name.
    """
    match = re.fullmatch(r"(?:(?:([1-9]\d*)x)?([1-9]\d*)x)?([a-z0-9]+(?:-\d+)?)", name)
    device = match and (host_cpu() if match[3] == "cpu" else DEVICES.get(match[3]))
    if match is None or device is None:
        raise HardwareError(
            f"unknown hardware {name!r}: set auto, cpu or COUNTxDEVICE such as 8xa100-80 (NODESxCOUNTxDEVICE for "
            f"several hosts), where DEVICE is one of {', '.join(DEVICES)}"
        )
    return Hardware(device, int(match[2] or 1), int(match[1] or 1))


def detect_hardware(processes: int, nodes: int, query: Callable[[], list[str]] | None = None) -> Hardware:
    """Return a machine of this host's devices, `processes` of them on each of `nodes` equal hosts.

    `query` returns lines `name, MiB` of nvidia-smi. A GPU that is not in the table has no peak; one without memory
    of its own (nvidia-smi says `[N/A]`) has that of the host. Raises HardwareError if there are GPUs that nvidia-smi
    does not list.
    """
    lines = (query or _query_gpus)()
    if not lines:
        if gpu_count():
            raise HardwareError(
                "this host has NVIDIA GPUs, but nvidia-smi does not answer: run it and fix what it reports. A "
                "container needs `--gpus all` for it. Set CUDA_VISIBLE_DEVICES= to train on the CPU."
            )
        return Hardware(host_cpu(), processes, nodes)
    devices = [
        _gpu(name.strip(), _gpu_memory(mebibytes)) for name, mebibytes in (line.rsplit(",", 1) for line in lines)
    ]
    # All processes carry the same load, so the smallest device decides.
    return Hardware(min(devices, key=lambda device: device.memory), processes, nodes)


def host_cpu() -> Device:
    """Return this host's CPU as a device, with all the memory that this process may use."""
    return Device("cpu", resource_limits.available_memory(), None, "no figure: it depends on clock and vector units")


def _gpu(name: str, memory: int) -> Device:
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    for product, candidates in _PRODUCT_WORDS.items():
        if words.issuperset(product) and ("a100" in product or not words & _SLOWER_VARIANTS):
            nearest = min((DEVICES[each] for each in candidates), key=lambda device: abs(device.memory - memory))
            return Device(nearest.name, min(nearest.memory, memory), nearest.peak_flops, nearest.source)
    return Device(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), memory, None, "not in the table")


def _gpu_memory(mebibytes: str) -> int:
    """Return in bytes the memory that nvidia-smi prints; a GPU for which it prints none shares the host's."""
    return int(mebibytes) * 2**20 if mebibytes.strip().isdecimal() else resource_limits.available_memory()


def _query_gpus() -> list[str]:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    return query_nvidia_smi("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
