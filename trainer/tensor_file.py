"""Tensors as one safetensors file, written as a stream and hashed on the way.

The library's own writer does not say which error a disk gave, and its file would have to be read again for the hash.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
import xxhash
from torch import Tensor
from typing_extensions import Buffer

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_BLOCK = 1 << 22


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, int | str]:
    """Write a file; its size in bytes and XXH3-128.

    The same tensors give the same bytes. Names are sorted by element size first, so that every tensor is aligned.

    Raises:
        OSError: the file cannot be written.

    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {}
    offset = 0
    for name in names:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    digest = xxhash.xxh3_128()
    size = 0
    with path.open("xb") as file:
        for block in (len(head).to_bytes(8, "little"), head, *(_bytes(tensors[name]) for name in names)):
            digest.update(block)
            size += file.write(block)
    return {"bytes": size, "xxh3": digest.hexdigest()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU."""
    return safetensors.torch.load_file(path)


def fingerprint(path: Path) -> dict[str, int | str]:
    """Size in bytes and XXH3-128 of a file.

    Raises:
        OSError: the file cannot be read.

    """
    digest = xxhash.xxh3_128()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "xxh3": digest.hexdigest()}


def _bytes(tensor: Tensor) -> Buffer:
    flat: Buffer = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data
    return flat
