"""Causal attention within documents of packed sequences: one function, a backend for each device.

`documents`: one fused SDPA call for each run of documents of equal length; exact, no mask is built; CPUs and any device.
`dense`: one SDPA call with a mask over whole sequences; slower, and the simplest to be sure of.
`flex`: FlexAttention with a block mask, compiled once; GPUs, with ALiBi too; heads of 16 to 256.
`varlen`: `torch.nn.attention.varlen` (flash attention over cumulative lengths); GPUs, bf16 and fp16, without ALiBi; heads of a
multiple of 8, up to 256.

Shapes: B sequences, T tokens, H query heads, G key and value heads (H is a multiple of G), D a head's width. No backend
computes a number of one document from another's, so a changed document leaves every other's result as it is, bit by bit.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that everybody knows
from torch import Tensor

Backend = Literal["auto", "documents", "dense", "flex", "varlen"]
#: The dtypes that flash attention computes in.
HALVES = (torch.bfloat16, torch.float16)
#: Widths of heads that the kernels of GPUs have: FlexAttention multiplies tiles of 16 or more; flash attention loads 8 numbers
#: at a time, and nothing pads for `varlen_attn` as SDPA does; wider ones do not fit the memory of a multiprocessor.
_FLEX_LEAST, _FLASH_MULTIPLE, _MOST = 16, 8, 256


@dataclass(frozen=True, slots=True)
class Documents:
    """Where the documents of a batch are.

    starts_BT: index in its sequence where the document of each token begins; positions_BT: a token's place in its document;
    runs: (documents, tokens of each) for consecutive documents of equal length, in order over the flattened batch;
    bounds: cumulative lengths of documents over the flattened batch, int32, filled up with the last to a power of two.
    """

    starts_BT: Tensor
    positions_BT: Tensor
    runs: tuple[tuple[int, int], ...]
    bounds: Tensor

    @classmethod
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch types it loosely
    def of(cls, starts_BT: Tensor) -> Self:
        """Read the documents off the starts; on a GPU this waits for them once.

        Raises:
            ValueError: the starts are not those of a partition into documents.
        """
        starts = starts_BT.cpu().numpy().astype(np.int64)
        place = np.arange(starts.shape[1])
        begins = starts == place
        begins[:, :1] = True
        if not np.array_equal(starts, np.maximum.accumulate(np.where(begins, place, 0), axis=1)):
            raise ValueError("starts_BT must hold, for each token, the index in its sequence where its document begins")
        bounds = np.append(np.flatnonzero(begins), starts.size)
        lengths = np.diff(bounds)
        changes = np.flatnonzero(np.diff(lengths, prepend=-1))
        counts = np.diff(np.append(changes, len(lengths)))
        runs = tuple(zip(counts.tolist(), lengths[changes].tolist(), strict=True))
        filled = np.full(1 << (len(bounds) - 1).bit_length(), starts.size, np.int32)
        filled[: len(bounds)] = bounds
        device = starts_BT.device
        positions = torch.from_numpy(place - starts).to(device)
        return cls(starts_BT, positions, runs, torch.from_numpy(filled).to(device))


def alibi_slopes(heads: int) -> Tensor:
    """The slope of each head, [H], as in the published code of ALiBi (arXiv:2108.12409, section 3).

    A geometric sequence from 2^(-8/H) for a power of two; else that of the next lower power, then every other slope of the
    next higher one.
    """

    def powers(n: int) -> list[float]:
        return [2.0 ** (-8.0 * (i + 1) / n) for i in range(n)]

    lower = 1 << (heads.bit_length() - 1)
    return torch.tensor((powers(lower) + powers(2 * lower)[::2])[:heads])


def attend(
    q_BHTD: Tensor,
    k_BGTD: Tensor,
    v_BGTD: Tensor,
    documents: Documents,
    *,
    backend: Backend = "auto",
    alibi: Tensor | None = None,
) -> Tensor:
    """Softmax attention of each token to its document's tokens up to itself, [B, H, T, D], scaled by 1 / sqrt(D).

    alibi: slopes by head, [H]; a score falls by slope x distance.

    Raises:
        ValueError: the backend cannot do this.
    """
    heads, groups = q_BHTD.shape[1], k_BGTD.shape[1]
    if heads % groups:
        raise ValueError(f"{heads} query heads cannot share {groups} key and value heads; the first must be a multiple")
    chosen = backend
    if chosen == "auto":
        chosen = choose(q_BHTD.device, q_BHTD.dtype, width=q_BHTD.shape[3], alibi=alibi is not None)
    return _BACKENDS[chosen](q_BHTD, k_BGTD, v_BGTD, documents, alibi)


def choose(device: torch.device, dtype: torch.dtype, *, width: int, alibi: bool) -> Backend:
    """The fastest backend that a device has for a dtype and heads of a width."""
    if device.type != "cuda" or width > _MOST:
        return "documents"
    if dtype in HALVES and not alibi and width % _FLASH_MULTIPLE == 0:
        return "varlen"
    return "flex" if width >= _FLEX_LEAST else "documents"


@torch.compiler.disable  # type: ignore[untyped-decorator]  # runs differ from batch to batch
def _by_document(q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, documents: Documents, alibi: Tensor | None) -> Tensor:
    """Splitting and joining along the flattened batch keeps the backward pass at one copy each."""
    batch, heads, length, width = q_BHTD.shape
    sizes = [count * tokens for count, tokens in documents.runs]
    flat = (_flat(x) for x in (q_BHTD, _repeated(k_BGTD, heads), _repeated(v_BGTD, heads)))
    results = []
    for (count, tokens), *parts in zip(documents.runs, *(torch.split(x, sizes) for x in flat), strict=True):
        q, k, v = (part.unflatten(0, (count, tokens)).transpose(1, 2) for part in parts)
        if alibi is None:
            found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            bias = _causal_bias(torch.arange(tokens, device=alibi.device), alibi)
            found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        results.append(_flat(found))
    return torch.cat(results).view(batch, length, heads, width).transpose(1, 2)


def _flat(x_BHTD: Tensor) -> Tensor:
    """Tokens of the whole batch in a row, [B * T, H, D]; no copy where heads lie side by side in memory."""
    return x_BHTD.transpose(1, 2).flatten(0, 1)


def _repeated(x_BGTD: Tensor, heads: int) -> Tensor:
    """Key or value heads, each as often as query heads share it."""
    share = heads // x_BGTD.shape[1]
    return x_BGTD if share == 1 else x_BGTD.repeat_interleave(share, dim=1)


def _causal_bias(places_T: Tensor, slopes_H: Tensor) -> Tensor:
    """-slope x distance towards the past and minus infinity towards the future, [H, T, T]."""
    distance = places_T[:, None] - places_T[None, :]
    bias = -slopes_H[:, None, None] * distance
    return bias.masked_fill(distance < 0, -math.inf)


def _dense(q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, documents: Documents, alibi: Tensor | None) -> Tensor:
    heads, length = q_BHTD.shape[1:3]
    places = torch.arange(length, device=q_BHTD.device)
    seen_B1TT = ((places[:, None] >= places) & (places >= documents.starts_BT[..., None])).unsqueeze(1)
    mask = seen_B1TT
    if alibi is not None:
        mask = _causal_bias(places, alibi).masked_fill(~seen_B1TT, -math.inf).to(q_BHTD.dtype)
    k_BHTD, v_BHTD = _repeated(k_BGTD, heads), _repeated(v_BGTD, heads)
    return F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, attn_mask=mask)


@functools.cache
def _flex_functions(device_type: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`flex_attention` and `create_block_mask`, compiled on GPUs, where they are slow without."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention  # noqa: PLC0415  # costs a second

    if device_type != "cuda":
        return flex_attention, create_block_mask
    return torch.compile(flex_attention), torch.compile(create_block_mask)


def _flex(q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, documents: Documents, alibi: Tensor | None) -> Tensor:
    batch, heads, length, _ = q_BHTD.shape
    device = q_BHTD.device
    attention, create = _flex_functions(device.type)
    starts_BT = documents.starts_BT

    def seen(b: Tensor, _h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q >= k) & (k >= starts_BT[b, q])

    def fallen(score: Tensor, _b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return score - cast("Tensor", alibi)[h] * (q - k)

    mask = create(seen, batch, None, length, length, device=device)
    score = None if alibi is None else fallen
    shared = heads != k_BGTD.shape[1]
    return cast("Tensor", attention(q_BHTD, k_BGTD, v_BGTD, score_mod=score, block_mask=mask, enable_gqa=shared))


def _varlen(q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, documents: Documents, alibi: Tensor | None) -> Tensor:
    if alibi is not None:
        raise ValueError("the attention backend 'varlen' knows no ALiBi; use 'flex', 'documents' or 'dense'")
    if q_BHTD.device.type != "cuda" or q_BHTD.dtype not in HALVES:
        raise ValueError(
            f"the attention backend 'varlen' computes bf16 and fp16 on GPUs, not {q_BHTD.dtype} on {q_BHTD.device.type};"
            " use 'documents', 'dense' or 'flex'"
        )
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  # only GPUs have its kernels

    batch, heads, length, width = q_BHTD.shape
    bounds = documents.bounds
    found = varlen_attn(
        _flat(q_BHTD),
        _flat(k_BGTD),
        _flat(v_BGTD),
        bounds,
        bounds,
        length,
        length,
        window_size=(-1, 0),
        enable_gqa=heads != k_BGTD.shape[1],
        num_splits=1,
    )
    return cast("Tensor", found).view(batch, length, heads, width).transpose(1, 2)


_BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, Documents, Tensor | None], Tensor]] = {
    "documents": _by_document,
    "dense": _dense,
    "flex": _flex,
    "varlen": _varlen,
}
