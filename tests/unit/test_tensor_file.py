"""Tensors in files."""

import hypothesis.extra.numpy as hnp
import safetensors.torch
import torch
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.tensor_file import fingerprint, read_tensors, write_tensors

TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool]


@st.composite
def tensors(draw):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    made = torch.arange(torch.Size(shape).numel()).reshape(shape).to(draw(st.sampled_from(TYPES)))
    return made.T if made.ndim == 2 and draw(st.booleans()) else made


@settings(deadline=None)
@given(st.dictionaries(st.text("ab./é", min_size=1), tensors(), max_size=5))
def test_the_library_reads_what_was_written(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("tensors") / "x.safetensors"
    facts = write_tensors(path, found)
    read = safetensors.torch.load_file(path)
    assert {name: (t.dtype, t.tolist()) for name, t in read.items()} == {
        name: (t.dtype, t.tolist()) for name, t in found.items()
    }
    assert read_tensors(path).keys() == found.keys()
    data = path.read_bytes()
    assert facts == fingerprint(path) == {"bytes": len(data), "xxh3": xxhash.xxh3_128_hexdigest(data)}


def test_the_same_tensors_in_another_order_give_the_same_bytes(tmp_path):
    one = {"b": torch.ones(3), "a": torch.zeros(2, dtype=torch.bfloat16)}
    write_tensors(tmp_path / "1", one)
    write_tensors(tmp_path / "2", dict(reversed(one.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
