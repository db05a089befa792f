"""Batches of a view: concatenate, split every `context` tokens, drop nothing. No torch here.

    stream = TokenStream(pack, view, context=256, batch_sequences=16, seed=1, exhausted="repeat")
    with prefetched(stream, start=0, stop=1000) as batches:
        for batch in batches:
            step(batch.tokens_BT, batch.targets_BT, batch.starts_BT)    # int64, int64, int32: [B, T]

**What the stream is.** Each document is the end-of-text token and its own tokens; documents of an epoch follow each other
(`trainer/epochs.py` says in which order), epochs follow each other. Sequence s has the tokens s*T to s*T + T - 1, and as
targets those one further. So a document's last token has the next document's end-of-text token as its target, and the model
learns where texts end. The few tokens that an epoch has over go on into the next. Step i is the sequences that are trained on
as numbers i*B to i*B + B - 1: mixed, so that a long document does not fill many steps (`trainer/sequences.py`).

**Why it can be resumed.** `batch(step, rank, world)` depends on its arguments alone: no state, no generator to advance. Any
step can be asked for at any time, any number of times, by any number of ranks; rank r of W has the sequences r*B/W to
(r + 1)*B/W - 1 of the same global batch.

**What may run out.** With exhausted="repeat" epochs go on for ever; with "refuse" a step beyond the first epoch is an error,
which says how many tokens there are and how many epochs it would take. `require` says so before anything is trained.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from stages import fingerprint
from stages.errors import DataError, SpecError
from trainer.epochs import Epochs
from trainer.sequences import Sequences
from trainer.token_pack import TokenPack
from trainer.view import View

Exhausted = Literal["repeat", "refuse"]

#: A part of a document in a sequence: tokens `start` to `start + length - 1` of the sequence are the tokens `offset` and
#: after of the document, where the token 0 is the end-of-text token before it.
SPAN = np.dtype(
    [
        ("sequence", "<i8"),
        ("start", "<i8"),
        ("row", "<i8"),
        ("offset", "<i8"),
        ("length", "<i8"),
        ("epoch", "<i8"),
        ("doc_id", "u1", 16),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step of one rank.

    tokens_BT, targets_BT: int64; starts_BT: int32, where in the sequence the document of a token begins, 0 if before it;
    spans: what the whole batch of all ranks is made of, in order, as SPAN.
    """

    step: int
    tokens_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    starts_BT: NDArray[np.int32]
    spans: NDArray[np.void]


class TokenStream:
    """Batches of `batch_sequences` sequences of `context` tokens over all ranks; see the module.

    Raises:
        DataError: the view is empty, or of another pack.
        ValueError: a sequence or a batch would be empty.
    """

    def __init__(
        self, pack: TokenPack, view: View, *, context: int, batch_sequences: int, seed: int, exhausted: Exhausted
    ) -> None:
        if context < 1 or batch_sequences < 1:
            raise ValueError(f"a batch of {batch_sequences} sequences of {context} tokens is empty")
        self.pack, self.view = pack, view
        self.context, self.batch_sequences = context, batch_sequences
        self.seed, self.exhausted = seed, exhausted
        self._epochs = Epochs(pack, view, seed=seed)
        self._sequences = Sequences(self._epochs.tokens, context, ordered=view.ordered, seed=seed)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of the global batch."""
        return self.batch_sequences * self.context

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens of the view, repeated rows as often as they stand there, with an end-of-text token for each document."""
        return self._epochs.tokens

    @property
    def steps_per_epoch(self) -> float:
        """Steps that an epoch lasts; seldom a whole number."""
        return self.tokens_per_epoch / self.tokens_per_step

    @property
    def whole_steps(self) -> int:
        """Steps that one epoch is enough for: what there is with exhausted="refuse"."""
        return self.tokens_per_epoch // self.tokens_per_step

    @property
    def key(self) -> str:
        """A key of every batch that comes: pack, view and settings, but not what happens at the end of the epoch."""
        settings = {"context": self.context, "batch_sequences": self.batch_sequences, "seed": self.seed, "format": 2}
        return fingerprint.key({"pack": self.pack.key, "view": self.view.key, **settings})

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, in which a step begins."""
        return step * self.tokens_per_step // self.tokens_per_epoch

    def left_over(self, steps: int) -> int:
        """Tokens of the last epoch begun that `steps` steps do not reach: counted, not hidden."""
        return -(steps * self.tokens_per_step) % self.tokens_per_epoch

    def prepare(self, epoch: int) -> None:
        """Draw an epoch's order before it is needed."""
        self._epochs.prepare(epoch)

    def require(self, steps: int) -> None:
        """See whether there is enough for so many steps.

        Raises:
            DataError: there is not, and the stream refuses to repeat.
        """
        if self.exhausted == "refuse" and steps > self.whole_steps:
            wanted = steps * self.tokens_per_step
            raise DataError(
                f"the view {self.view.name!r} has {self.tokens_per_epoch:,} tokens in {len(self.view.rows):,} documents, "
                f"but {steps:,} steps need {wanted:,}, which is {wanted / self.tokens_per_epoch:.2f} epochs; "
                "choose a smaller budget or allow repetition",
                view=self.view.name,
                tokens=self.tokens_per_epoch,
                wanted=wanted,
            )

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """What a rank sees at a step: the same for the same arguments, whatever was asked before.

        Raises:
            DataError: the view has fewer tokens, and the stream refuses to repeat.
            SpecError: the batch cannot be shared equally by the ranks.
            ValueError: there is no such step or rank.
        """
        if step < 0 or not 0 <= rank < world:
            raise ValueError(f"there is no step {step} of rank {rank} in a world of {world}")
        if self.batch_sequences % world:
            raise SpecError(
                f"a batch of {self.batch_sequences} sequences cannot be shared equally by {world} ranks; "
                f"make the batch a multiple of {world}, or use fewer ranks"
            )
        self.require(step + 1)
        spans = self._spans(step)
        share = self.batch_sequences // world
        mine = spans[(spans["sequence"] >= rank * share) & (spans["sequence"] < (rank + 1) * share)]
        stream = self._tokens(mine, rank * share, share)
        starts = np.repeat(mine["start"].astype(np.int32), mine["length"]).reshape(share, self.context)
        return Batch(step, stream[:, :-1].copy(), stream[:, 1:].copy(), starts, spans)

    def _spans(self, step: int) -> NDArray[np.void]:
        """What the global batch is made of."""
        sequences = self._sequences.numbers(step * self.batch_sequences, self.batch_sequences)
        pieces = self._epochs.pieces(sequences * self.context, self.context)
        spans = np.empty(len(pieces.rows), SPAN)
        spans["sequence"] = pieces.ranges
        spans["start"] = np.cumsum(pieces.lengths) - pieces.lengths - pieces.ranges * self.context
        spans["row"], spans["offset"] = pieces.rows, pieces.offsets
        spans["length"], spans["epoch"] = pieces.lengths, pieces.epochs
        spans["doc_id"] = self.pack.doc_ids_of(pieces.rows)
        return spans

    def _tokens(self, spans: NDArray[np.void], first: int, count: int) -> NDArray[np.int64]:
        """The tokens of whole sequences and the one after each, [count, T + 1]."""
        tokens = np.empty((count, self.context + 1), np.int64)
        tokens[:, -1] = self.pack.end_of_text  # so it is behind a document's last token, whichever document comes next
        rows, offsets, lengths = spans["row"], spans["offset"], spans["length"].copy()
        last = np.append(np.flatnonzero(np.diff(spans["sequence"])), len(spans) - 1)
        lengths[last] += offsets[last] + lengths[last] <= self.pack.lengths_of(rows[last])
        at = (spans["sequence"] - first) * (self.context + 1) + spans["start"]
        flat = tokens.reshape(-1)
        marks = offsets == 0
        flat[at[marks]] = self.pack.end_of_text
        self.pack.copy(rows, offsets - 1 + marks, lengths - marks, flat, at + marks)
        return tokens


class Prefetched:
    """Batches that a thread makes while the ones before are used; an iterator, and a context that ends the thread.

    waited: seconds that the consumer waited for batches. An error of the thread is raised where its batch was to come.
    """

    def __init__(
        self, stream: TokenStream, start: int, stop: int, rank: int = 0, world: int = 1, depth: int = 4
    ) -> None:
        self.waited = 0.0
        self._stream, self._rank, self._world = stream, rank, world
        self._steps = iter(range(start, stop))
        self._last_epoch = (stop * stream.tokens_per_step - 1) // stream.tokens_per_epoch
        self._prepared = -1
        self._maker = ThreadPoolExecutor(1, "batches")
        self._ahead = ThreadPoolExecutor(1, "epochs")
        self._waiting: deque[Future[Batch]] = deque()
        for _ in range(depth):
            self._ask()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if not self._waiting:
            self.close()
            raise StopIteration
        began = perf_counter()
        try:
            batch = self._waiting.popleft().result()
        except BaseException:
            self.close()
            raise
        finally:
            self.waited += perf_counter() - began
        self._ask()
        return batch

    def close(self) -> None:
        """End the threads; batches that were not taken are given up."""
        self._waiting.clear()
        for executor in (self._maker, self._ahead):
            executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._waiting.append(self._maker.submit(self._make, step))

    def _make(self, step: int) -> Batch:
        batch = self._stream.batch(step, self._rank, self._world)
        following = int(batch.spans["epoch"].max()) + 1
        if self._prepared < following <= self._last_epoch:
            self._prepared = following
            self._ahead.submit(self._stream.prepare, following)
        return batch


def prefetched(
    stream: TokenStream, start: int, stop: int, rank: int = 0, world: int = 1, *, depth: int = 4
) -> Prefetched:
    """The batches of the steps from `start` to `stop - 1`, up to `depth` of them made ahead in a thread.

    The order of the next epoch is drawn in another thread while the present one is used.
    """
    return Prefetched(stream, start, stop, rank, world, depth)
