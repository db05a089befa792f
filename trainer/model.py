"""One decoder: pre-norm blocks of grouped-query attention and SwiGLU, RMSNorm, RoPE, ALiBi or no positions.

Tokens never see another document: attention is within documents, and a token's position is its place in its document.
Nothing else mixes tokens. Shapes: B sequences, T tokens, V vocabulary, W width, H heads, G key and value heads, D = W / H.
"""

import hashlib

import torch
import torch.nn.functional as F  # noqa: N812  # the name that everybody knows
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from trainer.attention import Backend, Documents, alibi_slopes, attend
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
        return F.rms_norm(x.to(self.weight.dtype), self.weight.shape, self.weight, self.epsilon)


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

    def forward(
        self, x_BTW: Tensor, documents: Documents, rotation: tuple[Tensor, Tensor] | None, alibi: Tensor | None
    ) -> Tensor:
        """Mix each token with those before it in its document; [B, T, W]."""
        parts = self.qkv(x_BTW).unflatten(-1, (-1, self.width)).split((self.heads, self.groups, self.groups), dim=2)
        q_BTHD, k_BTGD, v_BTGD = parts
        if self.q_norm is not None and self.k_norm is not None:
            q_BTHD, k_BTGD = self.q_norm(q_BTHD), self.k_norm(k_BTGD)
        if rotation is not None:
            q_BTHD, k_BTGD = rotate(q_BTHD, *rotation), rotate(k_BTGD, *rotation)
        q, k, v = (x.to(v_BTGD.dtype).transpose(1, 2) for x in (q_BTHD, k_BTGD, v_BTGD))
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
        gate, up = self.gate_up(x_BTW).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]  # torch's modules return Any


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.attention = Attention(settings)
        self.feed_forward_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.feed_forward = FeedForward(settings)

    def forward(
        self, x_BTW: Tensor, documents: Documents, rotation: tuple[Tensor, Tensor] | None, alibi: Tensor | None
    ) -> Tensor:
        """[B, T, W] to [B, T, W]."""
        x_BTW = x_BTW + self.attention(self.attention_norm(x_BTW), documents, rotation, alibi)
        return x_BTW + self.feed_forward(self.feed_forward_norm(x_BTW))  # type: ignore[no-any-return]  # as above


class Decoder(nn.Module):
    """A language model over packed documents. `initialize` gives it its weights; before that they mean nothing.

    `forward` gives logits; `loss` the same as `cross_entropy` of them, without keeping them all.
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
        if settings.positions == "rope":
            cosines, sines = rotations(settings.context, settings.width // settings.heads, settings.rope_theta)
            self.register_buffer("cosines_TD", cosines, persistent=False)
            self.register_buffer("sines_TD", sines, persistent=False)
        slopes = alibi_slopes(settings.heads) if settings.positions == "alibi" else None
        self.register_buffer("slopes_H", slopes, persistent=False)

    def forward(self, tokens_BT: Tensor, starts_BT: Tensor, *, checkpoint: bool = False) -> Tensor:
        """Logits of the next token, [B, T, V].

        checkpoint: compute the activations of each block again in the backward pass instead of keeping them.
        """
        return self.head(self.hidden(tokens_BT, starts_BT, checkpoint=checkpoint))  # type: ignore[no-any-return]  # as above

    def loss(self, tokens_BT: Tensor, targets_BT: Tensor, starts_BT: Tensor, *, checkpoint: bool = False) -> Tensor:
        """The negative log-likelihood of each target in nats, [B, T], in 32 bits."""
        logits_BTV = self.forward(tokens_BT, starts_BT, checkpoint=checkpoint)
        nats = F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), reduction="none")
        return nats.view(targets_BT.shape)

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
        rotation = None
        if self.settings.positions == "rope":
            at = documents.positions_BT
            rotation = self.cosines_TD[at].unsqueeze(2), self.sines_TD[at].unsqueeze(2)  # type: ignore[index]  # buffers are tensors
        x_BTW = self.embedding(tokens_BT)
        for block in self.blocks:
            if checkpoint:
                x_BTW = recomputed(block, x_BTW, documents, rotation, self.slopes_H, use_reentrant=False)
            else:
                x_BTW = block(x_BTW, documents, rotation, self.slopes_H)
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


def rotations(context: int, width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE's angles by position, each [context, width / 2] (arXiv:2104.09864).

    Pair i turns by position x theta^(-2 i / width); the pair is of dimensions i and i + width / 2, as in Llama's code.
    """
    rates = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(context, dtype=torch.float64), rates)
    return angles.cos().float(), angles.sin().float()


def rotate(x_BTHD: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn the pairs of each head by the angles of its token's position."""
    first, second = x_BTHD.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)


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
