"""A training step of our decoder against a plain loop of the same model on one thread, in CPU seconds.

The plain loop is what people write after nanoGPT: fused query, key and value matrices, SDPA over whole sequences
(documents see each other), cross-entropy over all logits, fused AdamW, clipping. Ours keeps documents apart. Steps of the two
alternate and medians are compared, so that other work on the machine slows both alike.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that everybody knows
from torch import Tensor, nn

from trainer.dial import dial
from trainer.model import Decoder, initialize
from trainer.parameters import count_parameters, flops_per_token
from trainer.settings import ModelSettings

SEQUENCES, STEPS, WARM = 16, 7, 2
LENGTHS = {"one document a sequence": None, "documents of 400 tokens": 400, "documents of 60 tokens": 60}


class PlainBlock(nn.Module):
    """Attention and SwiGLU, written plainly."""

    def __init__(self, s: ModelSettings) -> None:
        super().__init__()
        self.heads, self.width = s.heads, s.width // s.heads
        self.norm1, self.norm2 = nn.RMSNorm(s.width, 1e-5), nn.RMSNorm(s.width, 1e-5)
        self.q_norm, self.k_norm = nn.RMSNorm(self.width, 1e-5), nn.RMSNorm(self.width, 1e-5)
        self.c_attn = nn.Linear(s.width, 3 * s.width, bias=False)
        self.c_proj = nn.Linear(s.width, s.width, bias=False)
        self.gate = nn.Linear(s.width, s.hidden, bias=False)
        self.up = nn.Linear(s.width, s.hidden, bias=False)
        self.down = nn.Linear(s.hidden, s.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = self.c_attn(self.norm1(x)).split(c, dim=2)
        q, k, v = (y.view(b, t, self.heads, self.width).transpose(1, 2) for y in (q, k, v))
        q, k = self.q_norm(q), self.k_norm(k)
        q, k = q * cos + half_turned(q) * sin, k * cos + half_turned(k) * sin
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def half_turned(x: Tensor) -> Tensor:
    """Halves swapped, one negated, as in Hugging Face's code."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


class Plain(nn.Module):
    """The decoder of the same shape without documents."""

    def __init__(self, s: ModelSettings) -> None:
        super().__init__()
        self.wte = nn.Embedding(s.vocabulary, s.width)
        self.h = nn.ModuleList(PlainBlock(s) for _ in range(s.layers))
        self.norm = nn.RMSNorm(s.width, 1e-5)
        width = s.width // s.heads
        angles = torch.outer(torch.arange(s.context), s.rope_theta ** (-torch.arange(0, width, 2) / width))
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.wte(tokens)
        for block in self.h:
            x = block(x, self.cos, self.sin)
        logits = self.norm(x) @ self.wte.weight.T
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


def step_of(loss: Callable[[], Tensor], model: nn.Module) -> Callable[[], float]:
    """One optimizer step; gives its CPU seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        began = time.process_time()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.process_time() - began

    return step


def batch(shape: ModelSettings, mean: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Random tokens, packed from documents with geometric lengths."""
    random = np.random.default_rng(0)
    tokens = torch.from_numpy(random.integers(0, shape.vocabulary, (SEQUENCES, shape.context + 1)))
    place = np.arange(shape.context)
    begins = random.random((SEQUENCES, shape.context)) < (1 / mean if mean else 0)
    starts = np.maximum.accumulate(np.where(begins, place, 0), axis=1).astype(np.int32)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), torch.from_numpy(starts)


def main(parameters: int = 1_800_000) -> None:
    """Print tokens a second of both, by length of documents."""
    torch.set_num_threads(1)
    shape = dial(parameters, vocabulary=4096, context=256)
    print(shape, count_parameters(shape))
    for what, mean in LENGTHS.items():
        tokens, targets, starts = batch(shape, mean)
        ours, plain = Decoder(shape), Plain(shape)
        initialize(ours, 0)
        steps = {
            "ours": step_of(lambda m=ours, b=(tokens, targets, starts): m.loss(*b).mean(), ours),
            "plain": step_of(lambda m=plain, b=(tokens, targets): m(*b), plain),
        }
        seconds = {name: [] for name in steps}
        for number in range(WARM + STEPS):
            for name, step in steps.items():
                found = step()
                if number >= WARM:
                    seconds[name].append(found)
        speed = {name: tokens.numel() / statistics.median(found) for name, found in seconds.items()}
        figure = {
            "what": f"training, {what}",
            "ours": round(speed["ours"]),
            "theirs": round(speed["plain"]),
            "peer": "plain loop, fp32",
            "unit": "tokens per CPU second",
            "gigaflops": round(speed["ours"] * flops_per_token(shape) / 1e9, 1),
            "bar": "at least the plain loop",
            "holds": speed["ours"] >= speed["plain"],
        }
        print(json.dumps(figure))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
