"""The machines that a training run can be planned for: devices with their memory and speed, and how many of them.

`parse` reads a name such as `8xa100-80`, `detect` looks at this host. Whether a model fits a machine, and how it is
laid out on it, is in `layout.py`.
"""

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace

from jgpt_dagster import share
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.launch import gpu_count

GB = 10**9
GIB = 2**30


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


# Memory as nvidia-smi reports it, rounded down: a driver keeps some of what the name promises. The peaks are those of
# the datasheets named, and the same as in the tables of torchtitan (`tools/utils.py`) and of Lightning Fabric
# (`utilities/throughput.py`).
_A100 = "nvidia.com/en-us/data-center/a100: bfloat16 tensor core 312 TFLOPS, SXM and PCIe"
DEVICES = {
    device.name: device
    for device in (
        Device("a100-40", 39 * GIB, 312e12, _A100),
        Device("a100-80", 79 * GIB, 312e12, _A100),
        Device(
            "h100-80", 79 * GIB, 989.4e12, "nvidia.com/en-us/data-center/h100, SXM: 1,979 TFLOPS with sparsity, halved"
        ),
        Device(
            "h200-141",
            141 * GB,
            989.4e12,
            "nvidia.com/en-us/data-center/h200, SXM: 1,979 TFLOPS with sparsity, halved",
        ),
        Device("l40s-48", 44 * GIB, 362.05e12, "nvidia.com/en-us/data-center/l40s: 362.05 TFLOPS, 733 with sparsity"),
    )
}
_SPOKEN = {"a100": ("a100-40", "a100-80"), "h100": ("h100-80",), "h200": ("h200-141",), "l40s": ("l40s-48",)}


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
        return replace(self, device=replace(self.device, peak_flops=flops, source="given"))

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


def detect(processes: int, nodes: int, query: Callable[[], str] | None = None) -> Hardware:
    """Return this host's devices, `processes` of them on each of `nodes` such hosts.

    `query` returns lines `name, MiB` of nvidia-smi. A GPU that is not in the table has its memory, and no peak. Raises
    HardwareError where there are GPUs of which nvidia-smi does not tell.
    """
    lines = (query or _nvidia_smi)().strip().splitlines()
    if not lines:
        if gpu_count():
            raise HardwareError(
                "this host has NVIDIA GPUs, but nvidia-smi does not answer: run it, and mend what it says. In a "
                "container it comes with `--gpus all`. CUDA_VISIBLE_DEVICES= trains on the CPU."
            )
        return Hardware(cpu(), processes, nodes)
    # The smallest decides: all processes carry the same load.
    name, memory = min((line.rsplit(",", 1) for line in lines), key=lambda parts: float(parts[1]))
    return Hardware(_gpu(name.strip(), int(float(memory)) * 2**20), processes, nodes)


def cpu() -> Device:
    """Return this host's processor as a device. Its memory is all that this process may use."""
    return Device("cpu", share.memory(), None, "no figure: it depends on clock and vector units")


def _gpu(name: str, memory: int) -> Device:
    words = re.findall(r"[a-z0-9]+", name.lower())
    for word, candidates in _SPOKEN.items():
        # An A100 is as fast on PCIe; later ones are not (an H100 has 756 TFLOPS there, and 835 as an NVL pair).
        if word in words and (word == "a100" or not {"pcie", "nvl"} & set(words)):
            nearest = min((DEVICES[each] for each in candidates), key=lambda device: abs(device.memory - memory))
            return Device(nearest.name, min(nearest.memory, memory), nearest.peak_flops, nearest.source)
    return Device(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"), memory, None, "not in the table")


def _nvidia_smi() -> str:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
