"""The loss of a decoder on a panel, document by document: what bits per byte, and every comparison of arms, is made of.

Every document stands alone: it begins with end-of-text, its end is not scored, and no document sees another, so the numbers do
not depend on which documents share a row, nor on how many rows share a batch. Losses are computed in 32 bits and summed in 64,
each document's in its own order.

    bits per byte = sum of nats / (ln 2 * UTF-8 bytes of the text)

This is comparable across tokenizers; perplexity per token is not.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.errors import SpecError
from trainer.panel import Panel
from trainer.settings import Precision
from trainer.windows import Layout, Sequences, cut

if TYPE_CHECKING:
    from trainer.model import Decoder

Floats = NDArray[np.float64]


def evaluate(
    model: "Decoder",
    panel: Panel,
    *,
    context: int | None = None,
    batch_sequences: int = 16,
    precision: Precision = "fp32",
) -> Floats:
    """The summed loss of every document of the panel in nats, [D].

    Args:
        model: the decoder, on any device.
        panel: the documents.
        context: positions of a row; the model's own where it is None.
        batch_sequences: rows that go through the model together.
        precision: bf16 is faster and gives other numbers.

    Raises:
        SpecError: the panel was tokenized for another vocabulary, or the context is longer than the model's.
    """
    panel.fits(tokenizer=None, vocabulary=model.settings.vocabulary)
    sequences = Sequences.whole(panel.ids, panel.offsets_D1)
    scorer = Scorer(model, panel.end_of_text, context=context, batch_sequences=batch_sequences, precision=precision)
    nats, _ = scorer.score(sequences)
    return summed(nats, panel.offsets_D1)


def bits_per_byte(nats_D: Floats, panel: Panel) -> float:
    """Bits per byte of the whole panel."""
    return float(nats_D.sum() / (np.log(2) * panel.bytes_D.sum()))


def domain_bits_per_byte(nats_D: Floats, panel: Panel) -> dict[str, float]:
    """Bits per byte of each domain."""
    masks = {name: panel.domain_D == i for i, name in enumerate(panel.domains)}
    return {n: float(nats_D[mask].sum() / (np.log(2) * panel.bytes_D[mask].sum())) for n, mask in masks.items()}


def summed(nats: NDArray[np.float32], offsets_S1: NDArray[np.int64]) -> Floats:
    """The sums of the stretches between offsets, in 64 bits, each in its own order; 0 for an empty one."""
    found = np.zeros(len(offsets_S1) - 1)
    there = np.diff(offsets_S1) > 0
    if there.any():
        found[there] = np.add.reduceat(nats.astype(np.float64), offsets_S1[:-1][there])
    return found


class Scorer:
    """Scores token sequences with a decoder. `pack=False` gives each window a row of its own, which only tests need."""

    def __init__(
        self,
        model: "Decoder",
        end_of_text: int,
        *,
        context: int | None = None,
        batch_sequences: int = 16,
        precision: Precision = "fp32",
        pack: bool = True,
    ) -> None:
        longest = model.settings.context
        if context is not None and not 1 <= context <= longest:
            raise SpecError(
                f"the model cannot be evaluated with a context of {context} tokens, because it was made for 1 to {longest}",
                context=context,
            )
        if batch_sequences < 1:
            raise SpecError(f"{batch_sequences} sequences cannot go through the model together; at least one must")
        self.model, self.end_of_text = model, end_of_text
        self.context, self.batch_sequences = context or longest, batch_sequences
        self._precision, self._pack = precision, pack

    def score(self, sequences: Sequences, *, greedy: bool = False) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The loss of every token in nats, and whether it is the likeliest (asked for with `greedy`; else all False).

        Tokens that are only context have loss 0 and count as likeliest, so that sums and conjunctions skip them.
        """
        layout = Layout.of(cut(sequences, self.context), self.context, pack=self._pack)
        inputs, targets = sequences.inputs(self.end_of_text), sequences.ids.astype(np.int64)
        nats = np.zeros(len(targets), np.float32)
        likeliest = np.ones(len(targets), np.bool_) if greedy else np.zeros(len(targets), np.bool_)
        device = next(self.model.parameters()).device
        with self.measuring():
            for begin in range(0, len(layout.target_RT), self.batch_sequences):
                rows = slice(begin, begin + self.batch_sequences)
                at_BT, scored_BT = layout.target_RT[rows], layout.scored_RT[rows]
                padding_BT = at_BT < 0
                tokens_BT = np.where(padding_BT, self.end_of_text, inputs[at_BT])
                targets_BT = np.where(padding_BT, self.end_of_text, targets[at_BT])
                arrays = (tokens_BT, targets_BT, layout.starts_RT[rows])
                found_BT, best_BT = self._forward(*(torch.from_numpy(a).to(device) for a in arrays), greedy=greedy)
                nats[at_BT[scored_BT]] = found_BT.float().cpu().numpy()[scored_BT]
                if best_BT is not None:
                    likeliest[at_BT[scored_BT]] = best_BT.cpu().numpy()[scored_BT]
        return nats, likeliest

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """No gradients and no dropout meanwhile, and the precision that was asked for."""
        was, device = self.model.training, next(self.model.parameters()).device
        self.model.eval()
        try:
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                yield
        finally:
            self.model.train(was)

    def _forward(
        self, tokens_BT: Tensor, targets_BT: Tensor, starts_BT: Tensor, *, greedy: bool
    ) -> tuple[Tensor, Tensor | None]:
        if not greedy:
            return self.model.loss(tokens_BT, targets_BT, starts_BT), None
        logits_BTV = self.model(tokens_BT, starts_BT).float()
        nats_BT = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none")
        return nats_BT.view_as(targets_BT), logits_BTV.argmax(dim=-1) == targets_BT
