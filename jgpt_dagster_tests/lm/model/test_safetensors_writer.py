"""A file of weights that is written a tensor at a time is the one that safetensors writes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jgpt_dagster.lm.model.safetensors_writer import write_weights

STATE = {"transformer.wte": (7, 3), "lm_head": (1,), "transformer.h.10.b": (2, 5), "transformer.h.9.b": (4,)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_bytes_are_those_of_the_library(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: torch.randn(shape).to(dtype) for name, shape in STATE.items()}
    save_file(state, tmp_path / "library", metadata={"format": "pt"})
    shapes = {name: tensor.shape for name, tensor in state.items()}
    write_weights(tmp_path / "ours", shapes, dtype, iter([state[name] for name in sorted(state)]))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "library").read_bytes()


def test_what_is_not_as_was_said_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"b is torch.float32"):
        tensors = iter([torch.zeros(2), torch.zeros(3)])
        write_weights(tmp_path / "w", {"a": torch.Size([2]), "b": torch.Size([2])}, torch.float32, tensors)
