"""Weights as a safetensors file that is written a tensor at a time.

The library's own writer wants all tensors at once, which for the largest preset takes 6 GB beside those of training.
The bytes are the same as its.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

# https://huggingface.co/docs/safetensors/index#format
_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_ALIGNMENT = 8


def write_weights(
    path: Path, shapes: Mapping[str, torch.Size], dtype: torch.dtype, tensors: Iterator[torch.Tensor]
) -> None:
    """Write tensors of one dtype, each of which is let go before the next is asked for.

    `shapes` names them; `tensors` yields them in the order of their sorted names. Raises ValueError where one has
    another shape or dtype than was said.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        begin, end = end, end + math.prod(shapes[name]) * dtype.itemsize
        header[name] = {"dtype": _DTYPES[dtype], "shape": list(shapes[name]), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in zip(sorted(shapes), tensors, strict=True):
            if tensor.shape != shapes[name] or tensor.dtype != dtype:
                raise ValueError(f"{path}: {name} is {tensor.dtype} {tensor.shape}, not {dtype} {shapes[name]}")
            file.write(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
