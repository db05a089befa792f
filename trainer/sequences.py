"""Which sequence of a stream is trained on n-th: neighbours in the stream must not be neighbours in training.

A long document is many sequences on end. Read in turn, with small batches, it is all that a model sees for hundreds of
steps, and what the model is worth then depends on the last long document before its budget ends. So the sequences of an
epoch are permuted, at random for a bag of documents; for a given order, which a curriculum is, only within parts of 1/64 of
an epoch: the order holds but for that.

A sequence belongs to the epoch of its last token, and the sequences of an epoch stay together: as many as lie whole in it,
and the one that begins in the epoch before, which stays the first. So whole epochs are seen one after the other, budgets
within the first epoch see each token at most once, and two epochs are never needed at once for long.
"""

import numpy as np
from numpy.typing import NDArray

from stages.chance import permuted

Numbers = NDArray[np.int64]
#: Parts of an epoch in which the sequences of a given order are permuted. [J] Small against any curriculum's own steps.
PARTS = 64


class Sequences:
    """The order of sequences of `context` tokens, epochs of `tokens` tokens; see the module.

    It is a function of the seed and these sizes alone, and takes no memory.
    """

    def __init__(self, tokens: int, context: int, *, ordered: bool, seed: int) -> None:
        self._tokens, self._context, self._seed = tokens, context, seed
        whole = tokens // context
        self._part = max(1, whole // PARTS if ordered else whole + 1)

    def numbers(self, first: int, count: int) -> Numbers:
        """The numbers, in the stream, of the sequences that are trained on from the `first` on."""
        wanted = np.arange(first, first + count)
        epochs = ((wanted + 1) * self._context - 1) // self._tokens
        found = wanted.copy()
        for epoch in np.unique(epochs):
            of = epochs == epoch
            found[of] = self._in_epoch(int(epoch), wanted[of])
        return found

    def _in_epoch(self, epoch: int, wanted: Numbers) -> Numbers:
        begin, end = epoch * self._tokens // self._context, (epoch + 1) * self._tokens // self._context
        begin += begin * self._context < epoch * self._tokens  # that one stays where it is
        found = wanted.copy()
        parts = (wanted - begin) // self._part
        for part in np.unique(parts[wanted >= begin]):
            of = (parts == part) & (wanted >= begin)
            low = begin + int(part) * self._part
            size = min(self._part, end - low)
            moved = permuted(self._seed, f"sequences/{epoch}/{part}", size, (wanted[of] - low).astype(np.uint64))
            found[of] = low + moved.astype(np.int64)
        return found
