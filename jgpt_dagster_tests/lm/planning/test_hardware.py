from pathlib import Path

import pytest

from jgpt_dagster.lm.launch import gpus
from jgpt_dagster.lm.planning.hardware import DEVICES, HardwareError, detect, parse, presets


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_read_as_it_is_written(name: str) -> None:
    assert parse(name).name == name


def test_a_name_gives_hosts_devices_and_memory() -> None:
    machine = parse("2x8xa100-80")
    assert (machine.nodes, machine.processes, machine.world) == (2, 8, 16)
    assert machine.device.memory == 79 * 2**30


@pytest.mark.parametrize("name", ["", "8x", "a100", "0xa100-80", "8xv100-32", "xa100-80"])
def test_hardware_that_is_unknown_is_refused_with_what_is_known(name: str) -> None:
    with pytest.raises(HardwareError, match="a100-40, a100-80, h100-80"):
        parse(name)


@pytest.mark.parametrize(
    ("device", "teraflops"),
    # bf16 with fp32 sums, from the datasheets, where all but the A100's are those with sparsity, which doubles them.
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
def test_what_the_driver_reports_is_recognised(line: str, name: str) -> None:
    found = detect(8, 1, lambda: [line] * 8)
    assert found.name == f"8x{name}"
    assert found.device.memory <= int(line.split(", ")[1]) * 2**20


@pytest.mark.parametrize("name", ["NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA GeForce RTX 4090 D"])
def test_a_device_that_is_not_in_the_table_has_its_memory_and_no_peak(name: str) -> None:
    found = detect(1, 1, lambda: [f"{name}, 81559"]).device
    assert found.peak_flops is None and found.memory == 81559 * 2**20 and found.gpu


def test_a_device_without_memory_of_its_own_shares_that_of_the_host() -> None:
    assert detect(1, 1, lambda: ["NVIDIA GB10, [N/A]"]).device.memory == parse("cpu").device.memory


def test_a_peak_can_be_given_for_a_device_without_one() -> None:
    assert parse("cpu").with_peak(2e12).device.peak_flops == 2e12


def test_without_a_gpu_it_is_this_hosts_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = detect(2, 1, list)
    assert found.device == parse("cpu").device and found.world == 2


def test_gpus_of_which_nvidia_smi_does_not_tell_are_not_planned_for_as_a_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpus, "_installed_nvidia_gpus", lambda: 8)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HardwareError, match="nvidia-smi does not answer"):
        detect(8, 1)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'Failed to initialize NVML' >&2\nexit 18\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    with pytest.raises(HardwareError, match="nvidia-smi does not answer"):
        detect(8, 1)
