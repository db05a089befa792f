"""The loss of a model on a panel, document by document: what bits per byte, and every comparison of arms, is made of.

Every document stands alone: it begins with end-of-text, its end is not scored, and no document sees another, so the numbers do
not depend on which documents share a row, nor on how many rows share a batch. Losses are computed in 32 bits and summed in 64,
each document's in its own order.

    bits per byte = sum of nats / (ln 2 * UTF-8 bytes of the text)

This is comparable across tokenizers; perplexity per token is not.

Models are our decoder, one of transformers (`HuggingFace`), and adapters on either: `trainer.builds.trained` gives what was trained.
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
    from trainer.lora import Adapted, Base

Floats = NDArray[np.float64]
#: Logits that are held at a time.
_LOGITS, _LOGITS_GPU = 1 << 20, 1 << 26


def evaluate(
    model: "Base | Adapted",
    panel: Panel,
    *,
    tokenizer: str | None = None,
    context: int | None = None,
    batch_sequences: int = 16,
    precision: Precision = "fp32",
) -> Floats:
    """The summed loss of every document of the panel in nats, [D]; NaN where the model gives none.

    Args:
        model: on any device.
        panel: the documents.
        tokenizer: the id of what the model's training tokens were made by, where it is known.
        context: positions of a row; the model's own where it is None, whose masks rarely fit where it is one of transformers.
        batch_sequences: rows that go through the model together.
        precision: bf16 gives other numbers; it is faster where the processor computes in it.

    Raises:
        SpecError: the panel was made by another tokenizer or has another vocabulary, or the context is none of the model's.
    """
    panel.fits(tokenizer=tokenizer, vocabulary=model.settings.vocabulary)
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
    """Scores token sequences with a model. `pack=False` gives each window a row of its own, which only tests need."""

    def __init__(
        self,
        model: "Base | Adapted",
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
        nats, likeliest = np.zeros(len(targets), np.float32), np.full(len(targets), greedy)
        device = next(self.model.parameters()).device
        with self.measuring():
            for begin in range(0, len(layout.target_RT), self.batch_sequences):
                rows = slice(begin, begin + self.batch_sequences)
                at_BT, scored_BT = layout.target_RT[rows], layout.scored_RT[rows]
                tokens_BT = np.where(at_BT < 0, self.end_of_text, inputs[at_BT])
                arrays = (tokens_BT, layout.starts_RT[rows], scored_BT, targets[at_BT[scored_BT]])
                found_K, best_K = self._forward(*(torch.from_numpy(a).to(device) for a in arrays), greedy=greedy)
                nats[at_BT[scored_BT]] = found_K.cpu().numpy()
                if greedy:
                    likeliest[at_BT[scored_BT]] = best_K.cpu().numpy()
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
        self, tokens_BT: Tensor, starts_BT: Tensor, scored_BT: Tensor, targets_K: Tensor, *, greedy: bool
    ) -> tuple[Tensor, Tensor]:
        """The losses of the K scored positions, and whether their targets are the likeliest.

        Logits are made of scored positions alone, and of so few at once that a processor's cache holds them; always of as
        many, because a product's last bits depend on its shape.
        """
        hidden_KW, scored = self.model.hidden(tokens_BT, starts_BT)[scored_BT], len(targets_K)
        most = _LOGITS if tokens_BT.device.type == "cpu" else _LOGITS_GPU
        together = max(1, min(most // self.model.settings.vocabulary, tokens_BT.shape[1]))
        missing = -scored % together
        hidden_KW = torch.nn.functional.pad(hidden_KW, (0, 0, 0, missing))
        targets_K = torch.nn.functional.pad(targets_K, (0, missing))
        nats, best = [], []
        for some, wanted in zip(torch.split(hidden_KW, together), torch.split(targets_K, together), strict=True):
            logits = self.model.head(some).float()
            nats.append(torch.nn.functional.cross_entropy(logits, wanted, reduction="none"))
            if greedy:
                best.append(logits.argmax(dim=-1) == wanted)
        return torch.cat(nats)[:scored], torch.cat(best)[:scored] if greedy else scored_BT
