"""One decoder: pre-norm blocks of grouped-query attention and SwiGLU, RMSNorm, RoPE, ALiBi or no positions.

Tokens never see another document: attention is within documents, and a token's position is its place in its document.
Nothing else mixes tokens. Shapes: B sequences, T tokens, V vocabulary, W width, H heads, G key and value heads, D = W / H.
"""

import hashlib
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from trainer.attention import Backend, Documents, alibi_slopes, attend
from trainer.fused import HeadNorms, Turn, cross_entropy, linear_cross_entropy, rms_norm, split_heads, swiglu
from trainer.parameters import Parameters, count_parameters, flops_per_token
from trainer.settings import ModelSettings

__all__ = ["Decoder", "Parameters", "check", "count_parameters", "flops_per_token", "initialize"]


class RMSNorm(nn.Module):
    """x / root mean square of x, times a weight; in the weight's precision, whatever the input's."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last dimension."""
        return rms_norm(x, self.weight, self.epsilon)


class Attention(nn.Module):
    """Grouped-query attention within documents, with normalized queries and keys where the settings say so."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.heads, self.groups = settings.heads, settings.kv_heads
        self.width = settings.width // settings.heads
        self.backend: Backend = "auto"
        self.qkv = nn.Linear(settings.width, (self.heads + 2 * self.groups) * self.width, bias=False)
        self.out = nn.Linear(settings.width, settings.width, bias=False)
        self.q_norm = RMSNorm(self.width, settings.norm_epsilon) if settings.query_key_norm else None
        self.k_norm = RMSNorm(self.width, settings.norm_epsilon) if settings.query_key_norm else None

    def forward(self, x_BTW: Tensor, documents: Documents, turn: Turn | None, alibi: Tensor | None) -> Tensor:
        """Mix each token with those before it in its document; [B, T, W]."""
        norms = None
        if self.q_norm is not None and self.k_norm is not None:
            norms = HeadNorms(self.q_norm.weight, self.k_norm.weight, self.q_norm.epsilon)
        parts = split_heads(self.qkv(x_BTW), (self.heads, self.groups), turn, norms)
        q, k, v = (x.transpose(1, 2) for x in parts)
        mixed_BHTD = attend(q, k, v, documents, backend=self.backend, alibi=alibi)
        return self.out(mixed_BHTD.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]  # torch's modules return Any


class FeedForward(nn.Module):
    """SwiGLU: silu(x A) * (x B), then back to the width (arXiv:2002.05202)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.gate_up = nn.Linear(settings.width, 2 * settings.hidden, bias=False)
        self.down = nn.Linear(settings.hidden, settings.width, bias=False)

    def forward(self, x_BTW: Tensor) -> Tensor:
        """Transform each token alone; [B, T, W]."""
        return self.down(swiglu(self.gate_up(x_BTW)))  # type: ignore[no-any-return]  # torch's modules return Any


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.attention = Attention(settings)
        self.feed_forward_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.feed_forward = FeedForward(settings)

    def forward(self, x_BTW: Tensor, documents: Documents, turn: Turn | None, alibi: Tensor | None) -> Tensor:
        """[B, T, W] to [B, T, W]."""
        x_BTW = x_BTW + self.attention(self.attention_norm(x_BTW), documents, turn, alibi)
        return x_BTW + self.feed_forward(self.feed_forward_norm(x_BTW))  # type: ignore[no-any-return]  # as above


class Decoder(nn.Module):
    """A language model over packed documents. `initialize` gives it its weights; before that they mean nothing.

    `forward` gives logits; `loss` the same as cross-entropies of them.
    """

    def __init__(self, settings: ModelSettings) -> None:
        """Make the modules.

        Raises:
            ValueError: the width is no multiple of the heads, these none of the key and value heads, or a head has no pairs.
        """
        super().__init__()
        check(settings)
        self.settings = settings
        self.embedding = nn.Embedding(settings.vocabulary, settings.width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.head = nn.Linear(settings.width, settings.vocabulary, bias=False)
        if settings.tied:
            self.head.weight = self.embedding.weight
        self._place_tables()

    def _place_tables(self) -> None:
        settings = self.settings
        tables = None
        if settings.positions == "rope":
            tables = rotations(settings.context, settings.width // settings.heads, settings.rope_theta)
        self.register_buffer("tables_2TE", tables, persistent=False)
        slopes = alibi_slopes(settings.heads) if settings.positions == "alibi" else None
        self.register_buffer("slopes_H", slopes, persistent=False)

    def forward(self, tokens_BT: Tensor, starts_BT: Tensor, *, checkpoint: bool = False) -> Tensor:
        """Logits of the next token, [B, T, V].

        checkpoint: compute the activations of each block again in the backward pass instead of keeping them.
        """
        return self.head(self.hidden(tokens_BT, starts_BT, checkpoint=checkpoint))  # type: ignore[no-any-return]  # as above

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor, starts_BT: Tensor, *, checkpoint: bool = False) -> Tensor:
        """The negative log-likelihood of each target in nats, [B, T], in 32 bits or more."""
        hidden_NW = self.hidden(tokens_BT, starts_BT, checkpoint=checkpoint).flatten(0, 1)
        if type(self.head) is nn.Linear:
            nats_N = linear_cross_entropy(hidden_NW, self.head.weight, targets_BT.flatten())
        else:  # an adapter's layer, whose weight alone is not what it computes
            nats_N = cross_entropy(self.head(hidden_NW), targets_BT.flatten())
        return nats_N.view(targets_BT.shape)

    def hidden(self, tokens_BT: Tensor, starts_BT: Tensor, *, checkpoint: bool = False) -> Tensor:
        """The normalized residual stream that the head reads, [B, T, W].

        Raises:
            ValueError: the sequences are longer than the context, or the starts are not those of documents.
        """
        if tokens_BT.shape[1] > self.settings.context:
            raise ValueError(
                f"sequences of {tokens_BT.shape[1]} tokens are longer than the model's context of {self.settings.context}"
            )
        documents = Documents.of(starts_BT)
        turn = None if self.tables_2TE is None else Turn(cast("Tensor", self.tables_2TE), documents.positions_BT)
        x_BTW = self.embedding(tokens_BT)
        for block in self.blocks:
            if checkpoint:
                x_BTW = recomputed(block, x_BTW, documents, turn, self.slopes_H, use_reentrant=False)
            else:
                x_BTW = block(x_BTW, documents, turn, self.slopes_H)
        return self.norm(x_BTW)  # type: ignore[no-any-return]  # as above


def check(settings: ModelSettings) -> None:
    """Check that heads fit the width and each other.

    Raises:
        ValueError: they do not.
    """
    width, heads, groups = settings.width, settings.heads, settings.kv_heads
    if width % heads or heads % groups:
        raise ValueError(
            f"a width of {width}, {heads} heads and {groups} key and value heads do not divide; each must be a multiple of the next"
        )
    if settings.positions == "rope" and width // heads % 2:
        raise ValueError(
            f"RoPE turns pairs, and heads of width {width // heads} have an odd one; use an even width / heads"
        )


def rotations(context: int, width: int, theta: float) -> Tensor:
    """Cosines and sines of RoPE's angles by position, [2, context, width / 2]: pair i turns by position x theta^(-2 i / width)."""
    rates = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(context, dtype=torch.float64), rates)
    return torch.stack((angles.cos(), angles.sin())).float()


def initialize(model: Decoder, seed: int) -> None:
    """Draw the weights: each tensor from its own generator, named by seed and parameter, never from torch's global one.

    Matrices are normal with deviation 1 / (2 sqrt(columns)); those that write to the residual stream are smaller by
    sqrt(2 layers), so that its variance does not grow with depth (GPT-2). Embeddings have deviation 0.02, norms weight 1.
    """
    depth = (2 * model.settings.layers) ** 0.5
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.ones_(parameter)
            continue
        digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        deviation = 0.02 if name == "embedding.weight" else 0.5 * parameter.shape[1] ** -0.5
        if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
            deviation /= depth
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
