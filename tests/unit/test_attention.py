"""Attention within documents: every backend against a slow softmax, and documents that never feel each other."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.attention import Documents, alibi_slopes, attend, choose
from trainer.exactness import exact

CPU = ("documents", "dense")
CUTS = [[0, 5, 6, 17], [0], [0, 1, 2, 3, 23]]  # where documents begin in three sequences of 24 tokens


def starts_of(cuts, length):
    rows = [np.maximum.accumulate(np.where(np.isin(np.arange(length), row), np.arange(length), 0)) for row in cuts]
    return torch.tensor(np.array(rows), dtype=torch.int32)


def heads(*, kv_heads=4, batch=3, length=24, seed=0, dtype=torch.float64):
    made = torch.Generator().manual_seed(seed)
    shapes = [(batch, n, length, 8) for n in (4, kv_heads, kv_heads)]
    return [torch.randn(shape, generator=made, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def oracle(q, k, v, starts, slopes=None):
    """Token by token and head by head, from the definition."""
    batch, n_heads, length, width = q.shape
    share = n_heads // k.shape[1]
    rows = []
    for b, h, t in itertools.product(range(batch), range(n_heads), range(length)):
        first = int(starts[b, t])
        scores = k[b, h // share, first : t + 1] @ q[b, h, t] / math.sqrt(width)
        if slopes is not None:
            scores = scores - slopes[h] * torch.tensor([t - j for j in range(first, t + 1)])
        weights = scores.exp() / scores.exp().sum()
        rows.append(weights @ v[b, h // share, first : t + 1])
    return torch.stack(rows).view(batch, n_heads, length, width)


def gradients(result, inputs):
    made = torch.Generator().manual_seed(9)
    weights = torch.randn(result.shape, generator=made, dtype=result.dtype)
    return torch.autograd.grad((result * weights).sum(), inputs)


@pytest.mark.parametrize("alibi", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("backend", CPU)
def test_results_and_gradients_are_those_of_a_softmax_written_out(backend, kv_heads, alibi):
    starts = starts_of(CUTS, 24)
    inputs = heads(kv_heads=kv_heads)
    slopes = alibi_slopes(4).double() if alibi else None

    found = attend(*inputs, Documents.of(starts), backend=backend, alibi=slopes)
    expected = oracle(*inputs, starts, slopes)

    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients(found, inputs), gradients(expected, inputs), rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(1, 19)), min_size=1, max_size=3), st.sampled_from([1, 2]), st.booleans())
def test_backends_agree_on_any_partition(cuts, kv_heads, alibi):
    starts = starts_of([{0} | row for row in cuts], 20)
    inputs = heads(kv_heads=kv_heads, batch=len(cuts), length=20, dtype=torch.float32)
    slopes = alibi_slopes(4) if alibi else None

    one, other = (attend(*inputs, Documents.of(starts), backend=backend, alibi=slopes) for backend in CPU)

    torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(gradients(one, inputs), gradients(other, inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alibi", [False, True])
@pytest.mark.parametrize("kv_heads", [2, 4])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_masks_of_flex_attention_are_those_of_the_softmax_written_out(kv_heads, alibi):
    starts = starts_of(CUTS, 24)
    inputs = [x.detach() for x in heads(kv_heads=kv_heads)]
    slopes = alibi_slopes(4).double() if alibi else None

    found = attend(*inputs, Documents.of(starts), backend="flex", alibi=slopes)

    torch.testing.assert_close(found, oracle(*inputs, starts, slopes), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("alibi", [False, True])
@pytest.mark.parametrize("backend", CPU)
def test_a_changed_document_changes_no_bit_of_another_nor_of_its_gradient(backend, alibi, dtype):
    starts = starts_of(CUTS, 24)
    documents = Documents.of(starts)
    slopes = alibi_slopes(4) if alibi else None
    for row, first in [(0, 0), (0, 5), (0, 6), (0, 17), (1, 0), (2, 3)]:
        inside = torch.zeros(3, 24, dtype=torch.bool)
        inside[row] = starts[row] == first
        results = []
        for add in (0.0, 3.0):
            inputs = [(x.detach() + add * inside[:, None, :, None]).to(dtype).requires_grad_() for x in heads()]
            found = attend(*inputs, documents, backend=backend, alibi=slopes)
            results.append([x.transpose(1, 2) for x in (found, *gradients(found, inputs))])

        for before, after in zip(*results, strict=True):
            assert torch.equal(before[~inside], after[~inside])
        assert not torch.equal(results[0][0][inside], results[1][0][inside])


def test_documents_are_read_off_their_starts():
    documents = Documents.of(starts_of([[0, 2], [0, 2], [0], [0, 1, 2, 3]], 4))

    assert documents.runs == ((4, 2), (1, 4), (4, 1))
    assert documents.bounds.tolist() == [0, 2, 4, 6, 8, 12, 13, 14, 15, 16, 16, 16, 16, 16, 16, 16]
    assert documents.bounds.dtype == torch.int32
    assert documents.positions_BT.tolist() == [[0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 2, 3], [0, 0, 0, 0]]


@pytest.mark.parametrize("starts", [[[0, 0, 1]], [[1, 1, 2]], [[0, 1, 0]], [[0, 2, 2]], [[-1, 0, 0]]])
def test_starts_that_are_no_partition_are_refused(starts):
    with pytest.raises(ValueError, match="where its document begins"):
        Documents.of(torch.tensor(starts))


def test_slopes_are_those_of_the_alibi_paper():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    six = [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]
    assert alibi_slopes(6).tolist() == six


def test_the_backend_follows_device_and_dtype():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [choose(cpu, dtype, width=64, alibi=False) for dtype in (torch.float32, torch.bfloat16)] == ["documents"] * 2
    assert choose(gpu, torch.bfloat16, width=64, alibi=False) == "varlen"
    assert choose(gpu, torch.bfloat16, width=64, alibi=True) == "flex"
    assert choose(gpu, torch.float32, width=64, alibi=False) == "flex"


@pytest.mark.parametrize(
    ("width", "halves", "others"),
    [
        (8, "varlen", "documents"),
        (12, "documents", "documents"),
        (16, "varlen", "flex"),
        (20, "flex", "flex"),
        (256, "varlen", "flex"),
        (264, "documents", "documents"),
    ],
)
def test_heads_that_a_gpus_kernels_do_not_have_go_to_others(width, halves, others):
    gpu = torch.device("cuda")
    assert choose(gpu, torch.bfloat16, width=width, alibi=False) == halves
    assert choose(gpu, torch.bfloat16, width=width, alibi=True) == others
    assert choose(gpu, torch.float32, width=width, alibi=False) == others


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [4, 8, 12, 20, 264])
def test_on_a_gpu_heads_of_any_width_give_the_softmax_written_out(width, dtype):
    starts = starts_of(CUTS, 24)
    made = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, 4, 24, width, generator=made).to(dtype) for _ in range(3)]

    found = attend(*(x.cuda() for x in inputs), Documents.of(starts.cuda()))

    expected = oracle(*(x.double() for x in inputs), starts)
    torch.testing.assert_close(found.cpu().double(), expected, rtol=0.02, atol=0.02)


def test_what_a_backend_cannot_do_is_refused():
    inputs = [x.detach() for x in heads()]
    documents = Documents.of(starts_of(CUTS, 24))
    with pytest.raises(ValueError, match="knows no ALiBi"):
        attend(*inputs, documents, backend="varlen", alibi=alibi_slopes(4))
    with pytest.raises(ValueError, match="bf16 and fp16 on GPUs"):
        attend(*inputs, documents, backend="varlen")
    with pytest.raises(ValueError, match="must be a multiple"):
        attend(inputs[0], *(x[:, :3] for x in inputs[1:]), documents)


@pytest.mark.gpu
@pytest.mark.parametrize("kv_heads", [2, 4])
@pytest.mark.parametrize(("backend", "alibi"), [("flex", False), ("flex", True), ("varlen", False), ("auto", False)])
def test_gpu_backends_agree_with_the_softmax_written_out(backend, alibi, kv_heads):
    starts = starts_of([[0, 5, 6, 17], [0], [0, 1, 2, 3, 100]], 128)
    made = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, n, 128, 64, generator=made).bfloat16() for n in (4, kv_heads, kv_heads)]
    slopes = alibi_slopes(4) if alibi else None
    on_gpu = [x.cuda().requires_grad_() for x in inputs]

    found = attend(*on_gpu, Documents.of(starts.cuda()), backend=backend, alibi=slopes.cuda() if alibi else None)
    exact = [x.double().requires_grad_() for x in inputs]
    expected = oracle(*exact, starts, slopes)

    torch.testing.assert_close(found.cpu().double(), expected, rtol=0.02, atol=0.02)
    found.sum().backward()
    expected.sum().backward()
    for ours, theirs in zip(on_gpu, exact, strict=True):
        torch.testing.assert_close(ours.grad.cpu().double(), theirs.grad, rtol=0.05, atol=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["flex", "varlen"])
def test_on_a_gpu_a_changed_document_changes_no_bit_of_another(backend):
    starts = starts_of([[0, 5, 6, 17], [0], [0, 1, 2, 3, 100]], 128)
    made = torch.Generator().manual_seed(0)
    inputs = [torch.randn(3, 4, 128, 64, generator=made) for _ in range(3)]
    inside = torch.zeros(3, 128, dtype=torch.bool)
    inside[0] = starts[0] == 6
    documents = Documents.of(starts.cuda())
    results = [
        attend(*((x + add * inside[:, None, :, None]).bfloat16().cuda() for x in inputs), documents, backend=backend)
        for add in (0.0, 3.0)
    ]
    before, after = (x.cpu().transpose(1, 2)[~inside] for x in results)
    assert torch.equal(before, after)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["flex", "varlen"])
def test_on_a_gpu_training_repeats_every_bit_of_the_gradients_of_long_documents(backend):
    made = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 4, 2048, 64, generator=made).bfloat16().cuda().requires_grad_() for _ in range(3)]
    documents = Documents.of(torch.zeros(2, 2048, dtype=torch.int32, device="cuda"))

    with exact(torch.device("cuda", 0)):
        first, *others = (
            torch.autograd.grad(attend(*inputs, documents, backend=backend).square().sum(), inputs) for _ in range(5)
        )

    for again in others:
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
