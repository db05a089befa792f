"""A training step of our decoder against a plain loop of the same model on one thread, in CPU seconds.

The plain loop is what people write after nanoGPT: fused query, key and value matrices, SDPA over whole sequences
(documents see each other), cross-entropy over all logits, fused AdamW, clipping. Ours keeps documents apart. Steps of the two
alternate and medians are compared, so that other work on the machine slows both alike. The last figure is of whole runs of
`trainer.train.train`: stream, ledger, guards, deterministic kernels, log and the last checkpoint included.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that everybody knows
from torch import Tensor, nn

from trainer.dial import dial
from trainer.job import Job
from trainer.model import Decoder, initialize
from trainer.parameters import count_parameters, flops_per_token
from trainer.settings import ModelSettings, OptimizerSettings, Schedule, TrainSettings
from trainer.token_pack import PackWriter
from trainer.train import train
from trainer.view import View

SEQUENCES, STEPS, WARM = 16, 7, 2
RUN_STEPS, RUN_DOCUMENTS, DOCUMENT_TOKENS = 24, 4_000, 60
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


def whole_run(shape: ModelSettings, folder: Path) -> float:
    """Tokens a CPU second of a run of `train` on documents of about 60 tokens."""
    random = np.random.default_rng(0)
    lengths = random.geometric(1 / DOCUMENT_TOKENS, RUN_DOCUMENTS)
    with PackWriter(folder / "all.pack", vocabulary=shape.vocabulary, end_of_text=0, tokenizer="bench") as writer:
        names = random.integers(0, 256, (RUN_DOCUMENTS, 16), dtype=np.uint8)
        writer.append(names, lengths, random.integers(1, shape.vocabulary, lengths.sum()), 4 * lengths)
        writer.close()
    View(np.arange(RUN_DOCUMENTS), False, "all").save(folder / "all.view")
    settings = TrainSettings(
        schedule=Schedule(steps=RUN_STEPS, warmup_steps=2, decay_steps=4),
        optimizer=OptimizerSettings(learning_rate=1e-3),
        batch_sequences=SEQUENCES,
        seed=0,
        precision="fp32",
        checkpoint_seconds=None,
    )
    packs, view = (str(folder / "all.pack"),), str(folder / "all.view")
    outcome = train(Job(model=shape, settings=settings, packs=packs, view=view, folder=str(folder / "run")))
    return outcome.tokens / outcome.cpu_seconds


def told(what: str, ours: float, plain: float, shape: ModelSettings) -> None:
    """Print a figure."""
    figure = {
        "what": f"training, {what}",
        "ours": round(ours),
        "theirs": round(plain),
        "peer": "plain loop, fp32",
        "unit": "tokens per CPU second",
        "gigaflops": round(ours * flops_per_token(shape) / 1e9, 1),
        "bar": "at least the plain loop",
        "holds": ours >= plain,
    }
    print(json.dumps(figure))


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
        told(what, speed["ours"], speed["plain"], shape)
    with tempfile.TemporaryDirectory() as folder:
        told("whole runs of `train`, documents of 60 tokens", whole_run(shape, Path(folder)), speed["plain"], shape)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
