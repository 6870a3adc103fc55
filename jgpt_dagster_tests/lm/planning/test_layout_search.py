"""Layouts that fit and that DeepSpeed accepts, and the errors if there is none."""

from dataclasses import replace
from itertools import product

import pytest

from jgpt_dagster.lm.planning.hardware import DEVICES, GIB, Device, Hardware, HardwareError, parse_hardware
from jgpt_dagster.lm.planning.layout_search import fastest_layout
from jgpt_dagster.lm.planning.memory import estimate_memory
from jgpt_dagster.lm.planning.training_layout import LayoutConstraints, TrainingLayout
from jgpt_dagster.lm.training.deepspeed_config import deepspeed_config
from jgpt_dagster.lm.training.train_config import TrainConfigError, batch_sizes
from jgpt_dagster_tests.lm.planning.workloads import MACHINES, XL, train_config, workload_of

LARGE_CPU = Device("cpu", 200 * GIB, None, "")
TOO_SMALL = {("1xrtx3090-24", "xl"), ("1xrtx4090-24", "xl")}


@pytest.mark.parametrize(("name", "model"), sorted(TOO_SMALL))
def test_one_small_gpu_is_refused_for_the_largest_model(name: str, model: str) -> None:
    with pytest.raises(HardwareError, match=r"does not fit .* = 29\.\d+ GiB, and may use 20\.70 GiB"):
        fastest_layout(workload_of(model), parse_hardware(name))


@pytest.mark.parametrize(("name", "model"), sorted(set(product(MACHINES, ["small", "xl"])) - TOO_SMALL))
def test_the_layout_for_every_other_machine_fits_and_is_a_configuration_that_deepspeed_accepts(
    name: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepspeed.runtime import config as runtime

    machine = Hardware(LARGE_CPU) if name == "cpu" else parse_hardware(name)
    layout = fastest_layout(workload_of(model), machine)
    assert estimate_memory(workload_of(model), machine, layout).total < 0.9 * machine.device.memory
    config = train_config(model, **vars(layout))
    monkeypatch.setattr(runtime.dist, "get_rank", lambda *_: 0)
    monkeypatch.setattr(runtime.dist, "get_world_size", lambda *_: machine.world)
    accepted = runtime.DeepSpeedConfig(
        deepspeed_config(config, batch_sizes(config, machine.world), gpu=machine.device.gpu)
    )
    assert accepted.world_size == machine.world
    assert accepted.zero_config.stage == layout.zero_stage
    assert accepted.bfloat16_config.enabled == machine.device.gpu
    assert accepted.train_batch_size == 512


def test_on_large_gpus_xl_needs_neither_zero_2_nor_recomputing() -> None:
    layout = fastest_layout(XL, parse_hardware("8xa100-80"))
    assert (layout.zero_stage, layout.activation_checkpointing, layout.compile) == (1, False, True)
    cramped = fastest_layout(XL, parse_hardware("1xa100-40"))
    assert cramped.micro_batch < XL.max_micro_batch and not cramped.activation_checkpointing


def test_fp32_leaves_room_for_a_smaller_micro_batch_than_bf16() -> None:
    machine = parse_hardware("8xa100-40")
    fp32, bf16 = (fastest_layout(replace(XL, dtype=dtype), machine).micro_batch for dtype in ("fp32", "bf16"))
    assert fp32 < bf16


def test_the_processes_of_a_host_share_the_memory_of_its_cpu() -> None:
    alone, shared = (fastest_layout(workload_of("small"), Hardware(LARGE_CPU, processes)) for processes in (1, 16))
    assert shared.micro_batch < alone.micro_batch


def test_in_bf16_no_layout_is_without_zero() -> None:
    cpu = Hardware(LARGE_CPU)
    assert fastest_layout(XL, cpu).zero_stage == 0
    assert fastest_layout(replace(XL, dtype="bf16"), cpu).zero_stage == 1
    with pytest.raises(TrainConfigError, match="in bf16"):
        fastest_layout(XL, parse_hardware("1xa100-80"), LayoutConstraints(zero_stage=0))


def test_constraints_are_kept() -> None:
    layout = fastest_layout(XL, parse_hardware("8xa100-80"), LayoutConstraints(zero_stage=3, micro_batch=2))
    assert layout == TrainingLayout(3, 2, activation_checkpointing=False, compile=False)
    constraints = LayoutConstraints(activation_checkpointing=True, compile=False)
    layout = fastest_layout(XL, parse_hardware("8xa100-80"), constraints)
    assert layout == TrainingLayout(1, 8, activation_checkpointing=True, compile=False)


def test_a_model_that_cannot_fit_is_refused_with_the_arithmetic() -> None:
    small = Hardware(replace(DEVICES["a100-40"], memory=16 * GIB))
    with pytest.raises(HardwareError, match=r"weights 3\.\d+ \+ gradients .* GiB, and may use 14\.40 GiB"):
        fastest_layout(XL, small)


def test_the_error_for_a_small_cpu_names_offload_and_with_it_the_model_fits() -> None:
    small = Hardware(replace(LARGE_CPU, memory=20 * GIB))
    workload = replace(XL, vocab_size=8_000, context=128, global_batch=1)
    with pytest.raises(HardwareError, match="offload: true"):
        fastest_layout(workload, small)
    layout = fastest_layout(workload, small, LayoutConstraints(offload=True))
    assert layout == TrainingLayout(3, 1, False, False, offload=True)
    with pytest.raises(HardwareError, match="offload needs zero_stage 3"):
        fastest_layout(workload, small, LayoutConstraints(offload=True, zero_stage=1))


def test_a_batch_that_the_processes_cannot_share_is_refused() -> None:
    with pytest.raises(HardwareError, match="multiple of 24"):
        fastest_layout(XL, parse_hardware("3x8xa100-80"))
