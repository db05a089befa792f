"""How many parameters a decoder has, and what training it costs. Nothing here needs torch."""

from dataclasses import dataclass

from trainer.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many there are: in all, in embeddings (twice where the output layer is not tied), and in the rest."""

    total: int
    embedding: int
    body: int


def count_parameters(settings: ModelSettings) -> Parameters:
    """Parameters of the decoder that these settings make."""
    width, head = settings.width, settings.width // settings.heads
    attention = width * head * (settings.heads + 2 * settings.kv_heads) + width * width
    norms = 2 * width + (2 * head if settings.query_key_norm else 0)
    body = settings.layers * (attention + 3 * width * settings.hidden + norms) + width
    embedding = settings.vocabulary * width * (1 if settings.tied else 2)
    return Parameters(embedding + body, embedding, body)


def flops_per_token(settings: ModelSettings) -> int:
    """Floating-point operations of training on one token, 6 N (forward 2 N, backward 4 N).

    N is every parameter that multiplies: the body and the output layer, tied or not, but no input embedding, which is only
    looked up. The products of attention are left out, as in 6 N D (arXiv:2001.08361).
    """
    return 6 * (count_parameters(settings).body + settings.vocabulary * settings.width)
