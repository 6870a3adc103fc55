"""Bytes by part, held against DeepSpeed's estimators and what PyTorch keeps; layouts, against DeepSpeed's checks."""

from itertools import product
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.launch import gpus
from jgpt_dagster.lm.model.gpt2 import gpt2_config
from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster.lm.planning.hardware import DEVICES, GIB, Hardware, HardwareError, parse, presets
from jgpt_dagster.lm.planning.memory import Layout, Memory, fit_layout, memory, parameter_count
from jgpt_dagster.lm.training.deepspeed_config import deepspeed_config
from jgpt_dagster.lm.training.train_config import TrainConfig, TrainConfigError, batch_sizes
from jgpt_dagster_tests.support.parameters import allocated_parameters

XL = PRESETS["xl"]
VOCABULARY = 32_000


def needed(name: str, stage: int) -> Memory:
    return memory(XL, VOCABULARY, 1024, parse(name), Layout(stage, 1, False, False))


@pytest.mark.parametrize("name", PRESETS)
def test_the_parameters_are_those_of_the_model(name: str) -> None:
    shape = PRESETS[name]
    expected = allocated_parameters(gpt2_config(name, VOCABULARY, bos_id=1, eos_id=2))
    assert parameter_count(shape, VOCABULARY, shape.context) == expected
    assert name != "xl" or expected == 1_528_400_000


@pytest.mark.parametrize("name", ["1xa100-80", "8xa100-80", "2x8xh100-80"])
def test_model_states_are_what_deepspeed_estimates(name: str) -> None:
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    machine = parse(name)
    count, largest = 1_528_400_000, VOCABULARY * XL.width
    where = {"num_gpus_per_node": machine.processes, "num_nodes": machine.nodes, "cpu_offload": False}
    _, two = estimate_zero2_model_states_mem_needs(count, **where)
    _, three, _ = estimate_zero3_model_states_mem_needs(count, largest, cpu_offload_params=False, **where)
    # For ZeRO-3 the estimator leaves out the bf16 gradients, which it counts for ZeRO-2.
    for stage, expected in ((2, two), (3, three + 2 * count / machine.world)):
        states = needed(name, stage)
        assert states.weights + states.gradients + states.optimizer == pytest.approx(expected, rel=1e-6)
    assert needed(name, 1).optimizer == needed(name, 2).optimizer
    assert needed(name, 1).gradients == 6 * count


def kept_for_backward(layers: int, width: int, tokens: int) -> int:
    """Return the bytes that the backward pass of a model keeps, weights apart, each storage once."""
    config = gpt2_config("tiny", 50, bos_id=1, eos_id=2, context=tokens)
    config.n_layer, config.n_embd, config.n_head = layers, width, 4
    model = GPT2LMHeadModel(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False).logits.sum()
    loss.backward()
    return sum(storage.nbytes() for storage in kept.values())


def test_a_block_keeps_the_activations_that_the_plan_counts() -> None:
    width, tokens = 128, 64
    seen = (kept_for_backward(6, width, tokens) - kept_for_backward(2, width, tokens)) / 4
    shape = PRESETS["tiny"]
    assert seen / (4 * tokens * width) == pytest.approx(16, rel=0.01)
    machine = parse("cpu")
    planned = memory(shape, 50, tokens, machine, Layout(1, 1, False, False)).activations
    assert planned == shape.layers * 16 * 4 * tokens * shape.width


TOO_SMALL = {("1xrtx3090-24", "xl"), ("1xrtx4090-24", "xl")}


@pytest.mark.parametrize(("name", "model"), sorted(TOO_SMALL))
def test_a_preset_of_one_small_gpu_is_refused_for_the_largest_model(name: str, model: str) -> None:
    with pytest.raises(HardwareError, match=r"does not fit .* = 29\.\d+ GiB, and may use 20\.70 GiB"):
        fit_layout(PRESETS[model], VOCABULARY, 1024, 512, parse(name))


@pytest.mark.parametrize(("name", "model"), sorted(set(product(presets(), ["small", "xl"])) - TOO_SMALL))
def test_the_layout_of_every_other_preset_fits_and_is_a_configuration_that_deepspeed_accepts(
    name: str, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepspeed.runtime import config as runtime

    machine, shape = parse(name), PRESETS[model]
    if machine.device.name == "cpu":
        machine = Hardware(DEVICES["a100-80"].__class__("cpu", 200 * GIB, None, ""))
    layout = fit_layout(shape, VOCABULARY, 1024, shape.global_batch, machine)
    assert memory(shape, VOCABULARY, 1024, machine, layout).total < 0.9 * machine.device.memory
    train = TrainConfig.model_validate(
        {"training_set": "s", "data_root": ".", "output": "o", "model": model, **vars(layout)}
    )
    monkeypatch.setattr(runtime.dist, "get_rank", lambda *_: 0)
    monkeypatch.setattr(runtime.dist, "get_world_size", lambda *_: machine.world)
    written = deepspeed_config(train, batch_sizes(train, machine.world), gpu=machine.device.gpu)
    accepted = runtime.DeepSpeedConfig(written)
    assert accepted.world_size == machine.world
    assert accepted.zero_config.stage == layout.zero_stage
    assert accepted.bfloat16_config.enabled == machine.device.gpu
    assert accepted.train_batch_size == 512


def test_on_large_gpus_xl_needs_neither_zero_2_nor_recomputing() -> None:
    layout = fit_layout(XL, VOCABULARY, 1024, 512, parse("8xa100-80"))
    assert (layout.zero_stage, layout.activation_checkpointing, layout.compile) == (1, False, True)
    cramped = fit_layout(XL, VOCABULARY, 1024, 512, parse("1xa100-40"))
    assert cramped.micro_batch < XL.micro_batch and not cramped.activation_checkpointing


def test_fp32_on_a_gpu_and_bf16_on_a_cpu_are_counted_with_their_own_bytes() -> None:
    gpu, layout = parse("8xa100-80"), Layout(1, 8, False, False)
    cpu = Hardware(DEVICES["a100-80"].__class__("cpu", 200 * GIB, None, ""), processes=8)
    in_fp32 = memory(XL, VOCABULARY, 1024, gpu, layout, "fp32")
    in_bf16 = memory(XL, VOCABULARY, 1024, gpu, layout)
    count = parameter_count(XL, VOCABULARY, 1024)
    assert in_fp32.weights == 4 * count == 2 * in_bf16.weights
    assert in_fp32.activations == 2 * in_bf16.activations
    # As on the other machine, but for the gradients that are reduced at a time: two buckets where that overlaps.
    assert vars(in_fp32) == {**vars(memory(XL, VOCABULARY, 1024, cpu, layout)), "buffers": 2 * 4 * 500_000_000}
    assert in_bf16 == memory(XL, VOCABULARY, 1024, cpu, layout, "bf16")
    small = parse("8xa100-40")
    cramped, roomy = (fit_layout(XL, VOCABULARY, 1024, 512, small, dtype=dtype) for dtype in ("fp32", "bf16"))
    assert cramped.micro_batch < roomy.micro_batch


def test_in_bf16_no_layout_is_without_zero() -> None:
    cpu = Hardware(DEVICES["a100-80"].__class__("cpu", 200 * GIB, None, ""))
    assert fit_layout(XL, VOCABULARY, 1024, 512, cpu).zero_stage == 0
    assert fit_layout(XL, VOCABULARY, 1024, 512, cpu, dtype="bf16").zero_stage == 1
    with pytest.raises(TrainConfigError, match="in bf16"):
        fit_layout(XL, VOCABULARY, 1024, 512, parse("1xa100-80"), zero_stage=0)


def test_what_is_given_is_kept() -> None:
    assert fit_layout(XL, VOCABULARY, 1024, 512, parse("8xa100-80"), zero_stage=3, micro_batch=2) == Layout(
        3, 2, False, False
    )


def test_a_model_that_cannot_fit_is_refused_with_the_arithmetic() -> None:
    small = Hardware(DEVICES["a100-40"].__class__("a100-40", 16 * GIB, 312e12, ""))
    with pytest.raises(HardwareError, match=r"weights 3\.\d+ \+ gradients .* GiB, and may use 14\.40 GiB"):
        fit_layout(XL, VOCABULARY, 1024, 512, small)


def test_a_machine_that_holds_no_optimizer_states_is_told_of_the_disk_and_then_holds_the_model() -> None:
    small = Hardware(DEVICES["a100-40"].__class__("cpu", 20 * GIB, None, ""))
    with pytest.raises(HardwareError, match="offload: true"):
        fit_layout(XL, 8_000, 128, 1, small)
    layout = fit_layout(XL, 8_000, 128, 1, small, offload=True)
    assert layout == Layout(3, 1, False, False, offload=True)
    needed = memory(XL, 8_000, 128, small, layout)
    # Weights and gradients stay in memory; of the optimizer, one portion with its four buffers.
    assert needed.weights == needed.gradients == 4 * parameter_count(XL, 8_000, 128)
    assert needed.optimizer == 4 * 4 * 50_000_000
    with pytest.raises(HardwareError, match="offload needs zero_stage 3"):
        fit_layout(XL, 8_000, 128, 1, small, offload=True, zero_stage=1)


def test_a_batch_that_the_processes_cannot_share_is_refused() -> None:
    with pytest.raises(HardwareError, match="multiple of 24"):
        fit_layout(XL, VOCABULARY, 1024, 512, parse("3x8xa100-80"))


def test_gpus_that_pytorch_cannot_use_are_no_reason_to_train_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from jgpt_dagster.lm.training.distributed import select_device
    from jgpt_dagster.lm.training.errors import TrainingError

    if torch.cuda.is_available():
        pytest.skip("this PyTorch can use its GPUs")
    for name in ("CUDA_VISIBLE_DEVICES", "DS_ACCELERATOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "_installed_nvidia_gpus", lambda: 8)
    with pytest.raises(TrainingError, match=r"cannot use them: .+ CUDA_VISIBLE_DEVICES= trains on the CPU"):
        select_device()


def test_a_run_that_was_laid_out_for_the_cpu_stays_there_whatever_pytorch_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from jgpt_dagster.lm.training.distributed import select_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert select_device() == torch.device("cpu")
    monkeypatch.delenv("DS_ACCELERATOR")
    assert select_device() == torch.device("cuda", 1)
