from pathlib import Path

import pytest

from jgpt_dagster.lm.launch import gpus
from jgpt_dagster.lm.planning.hardware import DEVICES, HardwareError, detect_hardware, parse_hardware
from jgpt_dagster_tests.lm.planning.workloads import MACHINES


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_has_the_name_that_it_is_read_from(name: str) -> None:
    assert parse_hardware(name).name == name


def test_a_name_gives_hosts_devices_and_memory() -> None:
    machine = parse_hardware("2x8xa100-80")
    assert (machine.nodes, machine.processes, machine.world) == (2, 8, 16)
    assert machine.device.memory == 79 * 2**30


@pytest.mark.parametrize("name", ["", "8x", "a100", "0xa100-80", "8xv100-32", "xa100-80"])
def test_unknown_hardware_is_refused_and_the_known_devices_are_listed(name: str) -> None:
    with pytest.raises(HardwareError, match="a100-40, a100-80, h100-80"):
        parse_hardware(name)


@pytest.mark.parametrize(
    ("device", "teraflops"),
    # bf16 with fp32 sums, from the datasheets; all but the A100's are figures with sparsity, which doubles them.
    [
        ("a100-40", 312),
        ("a100-80", 312),
        ("h100-80", 1979 / 2),
        ("h200-141", 1979 / 2),
        ("b200-180", 4500 / 2),
        ("l40s-48", 733 / 2),
        ("a6000-48", 309.7 / 2),
        ("rtx3090-24", 142 / 2),
        ("rtx4090-24", 330.4 / 2),
    ],
)
def test_peaks_are_those_of_dense_matrices(device: str, teraflops: float) -> None:
    assert DEVICES[device].peak_flops == pytest.approx(teraflops * 1e12, rel=0.015)
    assert len(DEVICES) == 9


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("NVIDIA A100-SXM4-80GB, 81920", "a100-80"),
        ("NVIDIA A100-PCIE-40GB, 40960", "a100-40"),
        ("NVIDIA H100 80GB HBM3, 81559", "h100-80"),
        ("NVIDIA H200, 143771", "h200-141"),
        ("NVIDIA B200, 183359", "b200-180"),
        ("NVIDIA RTX A6000, 49140", "a6000-48"),
        ("NVIDIA GeForce RTX 4090, 24564", "rtx4090-24"),
    ],
)
def test_the_product_names_of_nvidia_smi_are_recognised(line: str, name: str) -> None:
    found = detect_hardware(8, 1, lambda: [line] * 8)
    assert found.name == f"8x{name}"
    assert found.device.memory <= int(line.split(", ")[1]) * 2**20


@pytest.mark.parametrize("name", ["NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA GeForce RTX 4090 D"])
def test_a_gpu_that_is_not_in_the_table_has_its_memory_and_no_peak(name: str) -> None:
    found = detect_hardware(1, 1, lambda: [f"{name}, 81559"]).device
    assert found.peak_flops is None and found.memory == 81559 * 2**20 and found.gpu


def test_a_gpu_without_memory_of_its_own_has_that_of_the_host() -> None:
    assert detect_hardware(1, 1, lambda: ["NVIDIA GB10, [N/A]"]).device.memory == parse_hardware("cpu").device.memory


def test_a_peak_can_be_supplied_for_a_device_without_one() -> None:
    assert parse_hardware("cpu").with_peak(2e12).device.peak_flops == 2e12


def test_without_a_gpu_the_device_is_the_cpu_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = detect_hardware(2, 1, list)
    assert found.device == parse_hardware("cpu").device and found.world == 2


def test_gpus_that_nvidia_smi_does_not_list_are_an_error_and_not_a_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpus, "_installed_nvidia_gpus", lambda: 8)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HardwareError, match="nvidia-smi does not answer"):
        detect_hardware(8, 1)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'Failed to initialize NVML' >&2\nexit 18\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    with pytest.raises(HardwareError, match="nvidia-smi does not answer"):
        detect_hardware(8, 1)
