"""The losses of an ablation as one dense array: arm x seed x budget x held-out document."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Losses:
    """Fully decayed endpoints, each evaluated on every document of one fixed panel.

    nats_ASBD: summed loss of a document's own tokens (specials masked) in nats, NaN where a run is missing or diverged;
    tokens_ASB: tokens that each endpoint was trained on (near its budget); flops_ASB: 6 N D of its training;
    bytes_D: UTF-8 bytes of the documents; domain_D: index into `domains`; hit_AD: whether an arm's text contains 13-word
    sequences of the document. Seeds are paired: the same index means the same initialization, batch order and panel.
    curation_flops_A: what making each arm's data cost, in the FLOPs that training would have done in that time, once for
    all its runs; tokens_D: the documents' own tokens, which nats per token need; pool_tokens_A: tokens of all documents of
    each arm, once each, so what is left of one raw pool. All None where unknown.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    domains: tuple[str, ...]
    nats_ASBD: Floats
    tokens_ASB: Floats
    flops_ASB: Floats
    bytes_D: Floats
    domain_D: NDArray[np.int64]
    hit_AD: NDArray[np.bool_]
    curation_flops_A: Floats | None = None
    tokens_D: Floats | None = None
    pool_tokens_A: Floats | None = None

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ValueError: they do not fit together.
        """
        runs = (len(self.arms), len(self.seeds), len(self.budgets))
        documents = self.bytes_D.shape
        shapes = {
            "nats_ASBD": (self.nats_ASBD.shape, runs + documents),
            "tokens_ASB": (self.tokens_ASB.shape, runs),
            "flops_ASB": (self.flops_ASB.shape, runs),
            "domain_D": (self.domain_D.shape, documents),
            "hit_AD": (self.hit_AD.shape, (len(self.arms), *documents)),
        }
        if self.curation_flops_A is not None:
            shapes["curation_flops_A"] = (self.curation_flops_A.shape, runs[:1])
        if self.pool_tokens_A is not None:
            shapes["pool_tokens_A"] = (self.pool_tokens_A.shape, runs[:1])
        if self.tokens_D is not None:
            shapes["tokens_D"] = (self.tokens_D.shape, documents)
        wrong = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
        if wrong:
            raise ValueError(f"losses have shapes that do not fit together: {wrong}")

    def only(self, documents: NDArray[np.bool_]) -> Self:
        """The same endpoints on some of the documents."""
        return type(self)(
            self.arms,
            self.seeds,
            self.budgets,
            self.domains,
            self.nats_ASBD[..., documents],
            self.tokens_ASB,
            self.flops_ASB,
            self.bytes_D[documents],
            self.domain_D[documents],
            self.hit_AD[:, documents],
            self.curation_flops_A,
            None if self.tokens_D is None else self.tokens_D[documents],
            self.pool_tokens_A,
        )

    def up_to(self, budgets: int) -> Self:
        """The same runs at the first so many budgets."""
        return type(self)(
            self.arms,
            self.seeds,
            self.budgets[:budgets],
            self.domains,
            self.nats_ASBD[:, :, :budgets],
            self.tokens_ASB[:, :, :budgets],
            self.flops_ASB[:, :, :budgets],
            self.bytes_D,
            self.domain_D,
            self.hit_AD,
            self.curation_flops_A,
            self.tokens_D,
            self.pool_tokens_A,
        )

    def bits_per_byte(self) -> Floats:
        """The panel's bits per byte of each endpoint, [A, S, B]: all nats over ln 2 times all bytes."""
        found: Floats = self.nats_ASBD.sum(axis=-1) / (np.log(2) * self.bytes_D.sum())
        return found

    def domain_bits_per_byte(self) -> Floats:
        """Bits per byte by domain, [A, S, B, domain]; NaN for a domain without documents."""
        found = np.full((*self.tokens_ASB.shape, len(self.domains)), np.nan)
        for number in range(len(self.domains)):
            mask = self.domain_D == number
            if mask.any():
                found[..., number] = self.nats_ASBD[..., mask].sum(axis=-1) / (np.log(2) * self.bytes_D[mask].sum())
        return found
