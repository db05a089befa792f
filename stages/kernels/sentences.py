"""Sentences of a line as spaCy's sentencizer splits them: after a word that is an end mark, before the next word that is no punctuation."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import numpy as np

from stages.kernels import unicode as u
from stages.kernels.peek import inner, u8, u64
from stages.kernels.utf8 import flags_at
from stages.kernels.words import end_of, split_piece, start_of

_SPACE, _END, _PUNCT = u.SPACE, u.SENTENCE_END, u.PUNCT


@inner()
def _is_end_or_punct(data: int, lo: int, hi: int, t: int) -> tuple[bool, bool]:
    """Whether a word is one end mark, and whether it is punctuation alone."""
    flags, width = flags_at(data, lo, hi, t)
    end = lo + width == hi and flags & _END != 0
    all_of, i = flags, lo + width
    while i < hi:
        flags, width = flags_at(data, i, hi, t)
        all_of &= flags
        i += width
    return end, all_of & _PUNCT != 0


@inner()
def count_sentences(data: int, lo: int, hi: int, t: int, out: int) -> int:
    """Sentences of a line, at least 1. White space beyond a single space is a word of its own, as spaCy has it."""
    sentences, ended, i = np.int64(0), False, lo
    while i < hi:
        j, any_of, all_of = i, np.int64(0), np.int64(0xFFFFFFFF)
        spaces = 0
        while j < hi:
            flags, width = flags_at(data, j, hi, t)
            if flags & _SPACE:
                if j > i and spaces == 0:
                    break
                spaces += 1
            elif spaces:
                break
            any_of |= flags
            all_of &= flags
            j += width
        if spaces:
            if i > lo and spaces == 1 and u8(data, i) == 32:
                i = j
                continue
            sentences += sentences == 0 or ended
            ended = False
        elif not any_of & _END:
            if sentences == 0 or (ended and not all_of & _PUNCT):
                sentences += 1
                ended = False
        else:
            for w in range(split_piece(data, i, j, t, out, np.int64(0))):
                word = u64(out, w)
                end, punct = _is_end_or_punct(data, start_of(word), end_of(word), t)
                if sentences == 0:
                    sentences = 1
                if ended and not punct and not end:
                    sentences += 1
                    ended = False
                elif end:
                    ended = True
        i = j
    return max(sentences, 1)
