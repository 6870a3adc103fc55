"""A writer of safetensors files that holds one tensor in memory at a time, and writes the library's bytes.

The library's own writer takes all tensors at once: for the largest preset, 6 GB beside those of training.
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
    """Write tensors of one dtype, releasing each before taking the next.

    `tensors` yields them in the order of the sorted names in `shapes`. Raises ValueError if a tensor has another shape
    or dtype than announced.
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
