"""Bytes by part, compared with DeepSpeed's estimators and with what PyTorch saves for the backward pass."""

from dataclasses import replace

import pytest
import torch
from transformers import GPT2LMHeadModel

from jgpt_dagster.lm.model.gpt2 import gpt2_config
from jgpt_dagster.lm.planning.hardware import GIB, Device, Hardware, parse_hardware
from jgpt_dagster.lm.planning.memory import ProcessMemory, estimate_memory
from jgpt_dagster.lm.planning.training_layout import TrainingLayout
from jgpt_dagster_tests.lm.planning.workloads import XL, workload_of

LARGE_CPU = Device("cpu", 200 * GIB, None, "")


def memory_of_xl(hardware: str, zero_stage: int) -> ProcessMemory:
    return estimate_memory(XL, parse_hardware(hardware), TrainingLayout(zero_stage, 1, False, False))


@pytest.mark.parametrize("name", ["1xa100-80", "8xa100-80", "2x8xh100-80"])
def test_model_states_are_what_deepspeed_estimates(name: str) -> None:
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    machine = parse_hardware(name)
    count, largest = 1_528_400_000, XL.vocab_size * XL.width
    where = {"num_gpus_per_node": machine.processes, "num_nodes": machine.nodes, "cpu_offload": False}
    _, two = estimate_zero2_model_states_mem_needs(count, **where)
    _, three, _ = estimate_zero3_model_states_mem_needs(count, largest, cpu_offload_params=False, **where)
    # For ZeRO-3 the estimator leaves out the bf16 gradients, which it counts for ZeRO-2.
    for stage, expected in ((2, two), (3, three + 2 * count / machine.world)):
        states = memory_of_xl(name, stage)
        assert states.weights + states.gradients + states.optimizer == pytest.approx(expected, rel=1e-6)
    assert memory_of_xl(name, 1).optimizer == memory_of_xl(name, 2).optimizer
    assert memory_of_xl(name, 1).gradients == 6 * count


def bytes_saved_for_backward(layers: int, width: int, tokens: int) -> int:
    """Return the bytes that the forward pass of a model saves for the backward pass, without weights."""
    config = gpt2_config("tiny", 50, bos_id=1, eos_id=2, context=tokens)
    config.n_layer, config.n_embd, config.n_head = layers, width, 4
    model = GPT2LMHeadModel(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        loss = model(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False).logits.sum()
    loss.backward()
    return sum(storage.nbytes() for storage in saved.values())


def test_a_block_saves_the_activations_that_the_estimate_counts() -> None:
    width, tokens = 128, 64
    of_a_block = (bytes_saved_for_backward(6, width, tokens) - bytes_saved_for_backward(2, width, tokens)) / 4
    assert of_a_block / (4 * tokens * width) == pytest.approx(16, rel=0.01)
    tiny = replace(workload_of("tiny"), vocab_size=50, context=tokens)
    estimated = estimate_memory(tiny, parse_hardware("cpu"), TrainingLayout(1, 1, False, False)).activations
    assert estimated == tiny.layers * 16 * 4 * tokens * tiny.width


def test_checkpointing_saves_the_input_of_each_block_and_recomputes_one() -> None:
    layout = TrainingLayout(1, 1, activation_checkpointing=True, compile=False)
    activations = estimate_memory(XL, parse_hardware("8xa100-80"), layout).activations
    assert activations == (XL.layers + 16) * 2 * XL.context * XL.width


def test_fp32_on_a_gpu_and_bf16_on_a_cpu_are_counted_with_their_own_bytes() -> None:
    gpu, cpu = parse_hardware("8xa100-80"), Hardware(LARGE_CPU, processes=8)
    layout = TrainingLayout(1, 8, False, False)
    fp32, bf16 = (replace(XL, dtype=dtype) for dtype in ("fp32", "bf16"))
    in_fp32 = estimate_memory(fp32, gpu, layout)
    in_bf16 = estimate_memory(XL, gpu, layout)
    assert in_fp32.weights == 4 * XL.parameters == 2 * in_bf16.weights
    assert in_fp32.activations == 2 * in_bf16.activations
    # The same as on the CPU, except for a second bucket of gradients where communication overlaps.
    assert vars(in_fp32) == {**vars(estimate_memory(XL, cpu, layout)), "buffers": 2 * 4 * 500_000_000}
    assert in_bf16 == estimate_memory(bf16, cpu, layout)


def test_offload_leaves_weights_gradients_and_four_buffers_in_memory() -> None:
    workload = replace(XL, vocab_size=8_000, context=128)
    layout = TrainingLayout(3, 1, False, False, offload=True)
    memory = estimate_memory(workload, Hardware(LARGE_CPU), layout)
    assert memory.weights == memory.gradients == 4 * workload.parameters
    assert memory.optimizer == 4 * 4 * 50_000_000
