"""The parts of a decoder between its matrix products, each as plain torch and as one pass over memory on CPUs.

The single pass is for 32 bits on CPUs (`trainer/kernels.py`); everything else (GPUs, bf16, 64 bits, compiled graphs) is the plain
code, which says what the kernels mean. N rows, W width, V vocabulary, H query heads, G key and value heads, D a head's width.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that everybody knows
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer import kernels

#: Logits that are computed at once on CPUs: 4 MB, which stay in the cache between the product and the softmax.
_LOGITS = 1 << 20


def single_pass(x: Tensor) -> bool:
    """Whether the kernels can compute with this."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()


def rms_norm(x: Tensor, weight_W: Tensor, epsilon: float) -> Tensor:
    """Divide by sqrt(mean of squares + epsilon) and multiply by the weight, over the last dimension, in the weight's precision."""
    x = x.to(weight_W.dtype)
    if single_pass(x):
        return cast("Tensor", _apply(_Norm, x, weight_W, epsilon))
    return F.rms_norm(x, weight_W.shape, weight_W, epsilon)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up of the two halves of the last dimension."""
    if single_pass(gate_up):
        return cast("Tensor", _apply(_SwiGLU, gate_up))
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


@dataclass(frozen=True, slots=True)
class Turn:
    """Angles of RoPE: tables_2TE holds cosines and sines by position, E = D / 2; places are the tokens' positions."""

    tables_2TE: Tensor
    places_BT: Tensor


def rotate(x_BTHD: Tensor, turn: Turn) -> Tensor:
    """Turn the pairs (i, i + D / 2) of each head by the angles of its token's position (arXiv:2104.09864, Llama's order)."""
    cosines, sines = turn.tables_2TE[:, turn.places_BT].unsqueeze(3)
    first, second = x_BTHD.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """RMSNorms of queries and keys, over each head."""

    queries_D: Tensor
    keys_D: Tensor
    epsilon: float


def split_heads(
    qkv_BTC: Tensor, heads: tuple[int, int], turn: Turn | None, norms: HeadNorms | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B, T, H, D], keys and values [B, T, G, D] of H queries, G keys and G values side by side.

    heads: H and G. Queries and keys are normalized, then turned, where that is asked for.
    """
    count, shared = heads
    x_BTCD = qkv_BTC.view(*qkv_BTC.shape[:-1], count + 2 * shared, -1)
    if single_pass(x_BTCD) and (turn is not None or norms is not None):
        return cast("tuple[Tensor, Tensor, Tensor]", _single_pass_heads(x_BTCD, heads, turn, norms))
    q_BTHD, k_BTGD, v_BTGD = torch.split(x_BTCD, [count, shared, shared], dim=2)
    if norms is not None:
        q_BTHD = rms_norm(q_BTHD, norms.queries_D, norms.epsilon)
        k_BTGD = rms_norm(k_BTGD, norms.keys_D, norms.epsilon)
    if turn is not None:
        q_BTHD, k_BTGD = rotate(q_BTHD, turn), rotate(k_BTGD, turn)
    return q_BTHD.to(v_BTGD.dtype), k_BTGD.to(v_BTGD.dtype), v_BTGD


def linear_cross_entropy(x_NW: Tensor, weight_VW: Tensor, targets_N: Tensor) -> Tensor:
    """Losses of the targets under logits x W^T in nats, [N], in 32 bits or more."""
    if single_pass(x_NW) and single_pass(weight_VW) and not torch.is_autocast_enabled("cpu"):
        return cast("Tensor", _apply(_LinearCrossEntropy, x_NW, weight_VW, targets_N))
    return cross_entropy(F.linear(x_NW, weight_VW), targets_N)


def cross_entropy(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Losses of the targets in nats, [N], in 32 bits or more."""
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    return F.cross_entropy(logits_NV, targets_N, reduction="none")


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    return cast("Any", function).apply(*arguments)


def _rows(x: Tensor) -> Any:
    """The memory of a tensor as a matrix of its last dimension, C-contiguous."""
    return _shared(x.detach().contiguous().view(-1, x.shape[-1]))


def _flat(x: Tensor) -> Any:
    return _shared(x.detach().contiguous().view(-1))


def _tokens(x_BTHD: Tensor) -> Any:
    return _shared(x_BTHD.detach().contiguous().flatten(0, 1))


def _shared(x: Tensor) -> Any:
    """The tensor's own memory. Not `x.numpy()`: that fixes the size of its storage for good, and FSDP frees storages."""
    return np.from_dlpack(x)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_W: Tensor, epsilon: float) -> Tensor:
        x = x.contiguous()
        y, r_N = torch.empty_like(x), x.new_empty(x.shape[:-1])
        kernels.norm_forward(_rows(x), _flat(weight_W), kernels.number(epsilon), _rows(y), _flat(r_N))
        ctx.save_for_backward(x, weight_W, r_N)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight_W, r_N = ctx.saved_tensors
        dx, dw_W = torch.empty_like(x), torch.zeros_like(weight_W)
        kernels.norm_backward(_rows(x), _flat(weight_W), _flat(r_N), _rows(dy), _rows(dx), _flat(dw_W))
        return dx, dw_W, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate_up = gate_up.contiguous()
        y = gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)
        kernels.swiglu_forward(_rows(gate_up), _rows(y))
        ctx.save_for_backward(gate_up)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        d = torch.empty_like(gate_up)
        kernels.swiglu_backward(_rows(gate_up), _rows(dy), _rows(d))
        return d


def _single_pass_heads(x_BTCD: Tensor, heads: tuple[int, int], turn: Turn | None, norms: HeadNorms | None) -> Any:
    width = x_BTCD.shape[-1]
    if norms is None:
        queries_D = keys_D = x_BTCD.new_ones(width)
    else:
        queries_D, keys_D = norms.queries_D, norms.keys_D
    if turn is None:
        tables, places = x_BTCD.new_empty(2, 1, width // 2), torch.zeros(x_BTCD.shape[:2], dtype=torch.int64)
    else:
        tables, places = turn.tables_2TE, turn.places_BT
    how = (heads, -1.0 if norms is None else norms.epsilon, turn is not None)
    return _apply(_Heads, x_BTCD, queries_D, keys_D, tables, places, how)


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_BTCD: Tensor,
        queries_D: Tensor,
        keys_D: Tensor,
        tables_2TE: Tensor,
        places_BT: Tensor,
        how: tuple[tuple[int, int], float, bool],
    ) -> tuple[Tensor, Tensor, Tensor]:
        (count, shared), epsilon, turn = how
        x_BTCD = x_BTCD.contiguous()
        batch, length, _, width = x_BTCD.shape
        q_BTHD = x_BTCD.new_empty(batch, length, count, width)
        k_BTGD, v_BTGD = x_BTCD.new_empty(2, batch, length, shared, width)
        r_BTJ = x_BTCD.new_empty(batch, length, count + shared)
        weights_2D = torch.stack((queries_D, keys_D)).detach()
        ctx.save_for_backward(x_BTCD, weights_2D, tables_2TE, places_BT, r_BTJ)
        ctx.how = how
        angles = (turn, _flat(places_BT), tables_2TE.numpy())
        norm = (weights_2D.numpy(), kernels.number(epsilon))
        results = (_tokens(q_BTHD), _tokens(k_BTGD), _tokens(v_BTGD), _rows(r_BTJ))
        kernels.heads_forward(_tokens(x_BTCD), angles, norm, results)
        return q_BTHD, k_BTGD, v_BTGD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dq: Tensor, dk: Tensor, dv: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        x_BTCD, weights_2D, tables_2TE, places_BT, r_BTJ = ctx.saved_tensors
        _, epsilon, turn = ctx.how
        dx, dw_2D = torch.empty_like(x_BTCD), torch.zeros_like(weights_2D)
        angles = (turn, _flat(places_BT), tables_2TE.numpy())
        norm = (weights_2D.numpy(), kernels.number(epsilon))
        given = (_rows(r_BTJ), _tokens(dq), _tokens(dk), _tokens(dv))
        kernels.heads_backward(_tokens(x_BTCD), angles, norm, given, (_tokens(dx), dw_2D.numpy()))
        return dx, dw_2D[0], dw_2D[1], None, None, None


class _LinearCrossEntropy(torch.autograd.Function):
    """Exponentials are computed once, in the forward pass, and kept; logits are not."""

    @staticmethod
    def forward(ctx: Any, x_NW: Tensor, weight_VW: Tensor, targets_N: Tensor) -> Tensor:
        x_NW, vocabulary = x_NW.contiguous(), weight_VW.shape[0]
        step = max(1, _LOGITS // vocabulary)
        nats_N, sums_N = x_NW.new_empty(2, len(x_NW))
        kept = any(ctx.needs_input_grad)
        shifted_NV = x_NW.new_empty(len(x_NW) if kept else min(step, len(x_NW)), vocabulary)
        for first in range(0, len(x_NW), step):
            rows = slice(first, first + step)
            part = shifted_NV[rows] if kept else shifted_NV[: len(x_NW[rows])]
            torch.mm(x_NW[rows], weight_VW.t(), out=part)
            kernels.entropy_forward(part.numpy(), targets_N[rows].numpy(), nats_N[rows].numpy(), sums_N[rows].numpy())
        if kept:
            ctx.save_for_backward(x_NW, weight_VW, targets_N, sums_N)
            ctx.shifted_NV = shifted_NV
        return cast("Tensor", nats_N)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_N: Tensor) -> tuple[Tensor, Tensor, None]:
        x_NW, weight_VW, targets_N, sums_N = ctx.saved_tensors
        shifted_NV = ctx.shifted_NV
        if shifted_NV is None:
            raise RuntimeError(
                "the losses of a head can be differentiated once, because that overwrites what they kept"
            )
        ctx.shifted_NV = None
        d_N = d_N.contiguous()
        dx, dw = torch.empty_like(x_NW), torch.zeros_like(weight_VW)
        step = max(1, _LOGITS // len(weight_VW))
        for first in range(0, len(x_NW), step):
            rows = slice(first, first + step)
            part = shifted_NV[rows]
            kernels.entropy_backward(part.numpy(), targets_N[rows].numpy(), sums_N[rows].numpy(), d_N[rows].numpy())
            torch.mm(part, weight_VW, out=dx[rows])
            dw.addmm_(part.t(), x_NW[rows])
        return dx, dw, None
