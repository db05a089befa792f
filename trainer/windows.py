"""How token sequences of any length are laid into rows of one context, so that every scored token is scored once.

A sequence of n tokens is n predictions: of its first token from the end-of-text token, of each other one from those before
it. One longer than the context T is cut in windows: the first holds T predictions, each later one begins T - T // 2 later and
so repeats T // 2 predictions that are only read, never scored again. So a scored token sees at least half a context.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sequences:
    """Token sequences one after the other, and from which token of each on it is scored.

    ids: all tokens; sequence s holds ids[offsets[s] : offsets[s + 1]], and its tokens before `scored_from[s]` are context.
    """

    ids: NDArray[np.integer]
    offsets_S1: Ints
    scored_from_S: Ints

    @classmethod
    def whole(cls, ids: NDArray[np.integer], offsets_S1: Ints) -> "Sequences":
        """Sequences of which every token is scored."""
        return cls(ids, offsets_S1, np.zeros(len(offsets_S1) - 1, np.int64))

    def inputs(self, end_of_text: int) -> Ints:
        """What stands before each token: the one before it in its sequence, or the end-of-text token."""
        found = np.empty(len(self.ids), np.int64)
        found[1:] = self.ids[:-1]
        lengths = np.diff(self.offsets_S1)
        found[self.offsets_S1[:-1][lengths > 0]] = end_of_text
        return found


@dataclass(frozen=True, slots=True)
class Windows:
    """W stretches of a flat run of tokens: from `begins` to before `ends`, scored from `scored` on."""

    begins_W: Ints
    ends_W: Ints
    scored_W: Ints

    @property
    def lengths(self) -> Ints:
        """Predictions of each window."""
        return self.ends_W - self.begins_W


def cut(sequences: Sequences, context: int) -> Windows:
    """The windows of all sequences, in their order; those without a scored token are left out.

    Raises:
        ValueError: the context is not positive, or a sequence is scored from outside of it.
    """
    offsets_S1 = sequences.offsets_S1
    lengths_S = np.diff(offsets_S1)
    if context < 1:
        raise ValueError(f"a context has {context} tokens, but at least one must be predicted")
    if ((sequences.scored_from_S < 0) | (sequences.scored_from_S > lengths_S)).any():
        raise ValueError("a sequence is scored from a token that it does not have")
    carried = context // 2
    stride = context - carried
    windows_S = np.where(lengths_S > context, 1 + -(-(lengths_S - context) // stride), 1)
    sequence_W = np.repeat(np.arange(len(lengths_S)), windows_S)
    number_W = np.arange(len(sequence_W)) - np.repeat(np.cumsum(windows_S) - windows_S, windows_S)
    first_W, last_W = offsets_S1[:-1][sequence_W], offsets_S1[1:][sequence_W]
    begins_W = first_W + number_W * stride
    ends_W = np.minimum(begins_W + context, last_W)
    fresh_W = np.where(number_W > 0, begins_W + carried, begins_W)
    scored_W = np.maximum(fresh_W, first_W + sequences.scored_from_S[sequence_W])
    useful_W = scored_W < ends_W
    return Windows(begins_W[useful_W], ends_W[useful_W], scored_W[useful_W])


def packed(lengths_W: Ints, context: int) -> list[list[int]]:
    """Rows of at most `context` positions that hold every window whole, by best fit, longest first.

    The window goes to the row with the least room that has enough; equal rows and lengths are taken in order, so that
    the layout follows from the lengths alone. Source: the classical best-fit-decreasing rule, at most 11/9 of the best.

    Raises:
        ValueError: a window is longer than the context.
    """
    if len(lengths_W) and int(lengths_W.max()) > context:
        raise ValueError(f"a window of {int(lengths_W.max())} positions does not fit a context of {context}")
    rows: list[list[int]] = []
    open_by_room: list[list[int]] = [[] for _ in range(context + 1)]
    for window in np.argsort(-lengths_W, kind="stable").tolist():
        length = int(lengths_W[window])
        room = next((r for r in range(length, context + 1) if open_by_room[r]), None)
        if room is None:
            row, room = len(rows), context
            rows.append([])
        else:
            row = open_by_room[room].pop()
        rows[row].append(window)
        open_by_room[room - length].append(row)
    return rows


@dataclass(frozen=True, slots=True)
class Layout:
    """R rows of T positions: which token each predicts (its number in the flat run), where its document begins.

    target_RT: the predicted token, or -1 in the padding at a row's end; scored_RT: whether its loss counts; starts_RT: the
    position of the row at which the window of that position begins, as the decoder's mask takes it.
    """

    target_RT: Ints
    scored_RT: NDArray[np.bool_]
    starts_RT: NDArray[np.int32]

    @classmethod
    def of(cls, windows: Windows, context: int, *, pack: bool = True) -> "Layout":
        """Windows packed into rows, or each in a row of its own."""
        lengths_W = windows.lengths
        rows = packed(lengths_W, context) if pack else [[w] for w in range(len(lengths_W))]
        target_RT = np.full((len(rows), context), -1, np.int64)
        scored_RT = np.zeros((len(rows), context), np.bool_)
        starts_RT = np.zeros((len(rows), context), np.int32)
        for r, members in enumerate(rows):
            at = 0
            for w in members:
                begin, end = int(windows.begins_W[w]), int(windows.ends_W[w])
                stop = at + end - begin
                target_RT[r, at:stop] = np.arange(begin, end)
                scored_RT[r, at + int(windows.scored_W[w]) - begin : stop] = True
                starts_RT[r, at:stop] = at
                at = stop
            starts_RT[r, at:] = at
        return cls(target_RT, scored_RT, starts_RT)
