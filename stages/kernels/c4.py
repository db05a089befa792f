"""C4's line rules: which lines of a document stay, how they read without citations, and what is left."""

# ruff: noqa: FBT001, PLR0917, PLR1714 - numba takes positions; numba takes flat arguments; numba compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels import unicode as u
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.phrases import CURLY_BRACKET, JAVASCRIPT, LOREM_IPSUM, POLICY, phrases_in
from stages.kernels.sentences import count_sentences
from stages.kernels.utf8 import chars_in, flags_at, next_break, strip
from stages.kernels.words import SEGMENT

#: What `edit_lines` counts, in the order of its columns; `_any_end` is without the rule on end marks.
LINE_EDITS = (
    "lines", "long_word_lines", "unended_lines", "few_word_lines", "javascript_lines", "policy_lines",
    "kept_lines", "kept_chars", "sentences", "lorem_ipsum_lines", "curly_bracket_lines",
    "kept_lines_any_end", "kept_chars_any_end", "sentences_any_end", "lorem_ipsum_lines_any_end",
    "curly_bracket_lines_any_end",
)  # fmt: skip
#: A line with a longer word is dropped, in characters.
LONGEST_WORD = 1000
_SPACE, _DIGIT, _END = u.SPACE, u.DIGIT, u.SENTENCE_END
_EDIT = np.frombuffer(b"edit]citation needed]", np.uint8)


@inner()
def _count_words(data: int, lo: int, hi: int, t: int) -> tuple[int, int, int]:
    """Words between white space, the characters of the longest, and all flags that occur."""
    words, longest, size, any_of, i = 0, 0, 0, np.int64(0), lo
    while i < hi:
        flags, width = flags_at(data, i, hi, t)
        any_of |= flags
        if flags & _SPACE:
            longest = max(longest, size)
            size = 0
        else:
            words += size == 0
            size += 1
        i += width
    return words, max(longest, size), any_of


@inner()
def _citation_end(data: int, i: int, hi: int, t: int) -> int:
    """The byte after the citation that begins with the bracket at `i`, or `i` where none does."""
    j = i + 1
    while j < hi and u8(data, j) != 93:
        flags, width = flags_at(data, j, hi, t)
        if not flags & _DIGIT:
            break
        j += width
    if j < hi and u8(data, j) == 93:
        return j + 1
    for at, length in ((0, 5), (5, 16)):
        k = 0
        while k < length and i + 1 + k < hi and u8(data, i + 1 + k) == _EDIT[at + k]:
            k += 1
        if k == length:
            return i + 1 + length
    return i


@inner()
def _without_citations(data: int, lo: int, hi: int, t: int, edited: NDArray[Any]) -> int:
    """Copy a line without its citations; gives the length of the copy, or -1 where there are none and nothing is copied."""
    i = lo
    while i < hi and (u8(data, i) != 91 or _citation_end(data, i, hi, t) == i):
        i += 1
    if i == hi:
        return -1
    n = 0
    for k in range(lo, i):
        edited[n] = u8(data, k)
        n += 1
    while i < hi:
        end = _citation_end(data, i, hi, t) if u8(data, i) == 91 else i
        if end > i:
            i = end
            continue
        edited[n] = u8(data, i)
        n, i = n + 1, i + 1
    return n


@inner()
def _is_ended(data: int, lo: int, hi: int, apostrophe: bool) -> bool:
    """Whether a line ends in `. ? ! "` (or `'`) and not in three dots."""
    if hi == lo:
        return False
    b = u8(data, hi - 1)
    if b == 46:
        return not (hi - lo > 2 and u8(data, hi - 2) == 46 and u8(data, hi - 3) == 46)
    return b == 63 or b == 33 or b == 34 or (apostrophe and b == 39)


@inner()
def _judge(
    data: int, lo: int, hi: int, t: int, words: int, any_of: int, ended: bool, least: int, row: NDArray[Any], out: int
) -> bool:
    """Count one line whose words are short enough; gives whether it stays under the rules without end marks."""
    row[2] += not ended
    if words < least:
        row[3] += 1
        return False
    found = phrases_in(data, lo, hi, t)
    if found & LOREM_IPSUM:
        row[14] += 1
        row[9] += ended
        return False
    if found & JAVASCRIPT:
        row[4] += 1
        return False
    if found & CURLY_BRACKET:
        row[15] += 1
        row[10] += ended
        return False
    if found & POLICY:
        row[5] += 1
        return False
    chars = chars_in(data, lo, hi)
    sentences = count_sentences(data, lo, hi, t, out) if any_of & _END else np.int64(1)
    row[12] += chars + (row[11] > 0)
    row[11] += 1
    row[13] += sentences
    if ended:
        row[7] += chars + (row[6] > 0)
        row[6] += 1
        row[8] += sentences
    return True


@kernel()
def edit_lines(
    data: Any, offsets: Any, block: Any, least: int, edited_words: bool, apostrophe: bool, write: bool, any_end: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Counts of `LINE_EDITS` a document, and with `write` the bytes and offsets of what is left of each.

    Args:
        data: the UTF-8 bytes.
        offsets: where each document begins, one place more.
        block: the kernels' tables.
        least: the fewest words of a line that stays.
        edited_words: count them after citations are taken out, not before.
        apostrophe: a line may also end in `'`.
        write: whether to write what is left.
        any_end: whether what is left ignores the rule on end marks.
    """
    address, t = data.ctypes.data, block.ctypes.data
    documents = offsets.shape[0] - 1
    counts = np.empty((documents, 16), np.int64)
    counts[:] = 0
    scratch = np.empty(2 * SEGMENT + 8, np.uint64)
    edited = np.empty(4096, np.uint8)
    size = np.int64(offsets[documents]) - np.int64(offsets[0]) + documents if write else 1
    text, ends = np.empty(size, np.uint8), np.zeros(documents + 1, np.int64)
    n = np.int64(0)
    for d in range(documents):
        i, stop, row, begin = np.int64(offsets[d]), np.int64(offsets[d + 1]), counts[d], n
        while i < stop:
            end, after = next_break(address, i, stop)
            lo, hi = strip(address, i, end, t, _SPACE)
            i = after
            row[0] += 1
            words, longest, any_of = _count_words(address, lo, hi, t)
            if longest > LONGEST_WORD:
                row[1] += 1
                continue
            if hi - lo > edited.shape[0]:
                edited = np.empty(2 * (hi - lo), np.uint8)
            source, length = address, _without_citations(address, lo, hi, t, edited)
            if length >= 0:
                source, lo, hi = edited.ctypes.data, np.int64(0), length
                if edited_words:
                    words, longest, any_of = _count_words(source, lo, hi, t)
            ended = _is_ended(source, lo, hi, apostrophe)
            stays = _judge(source, lo, hi, t, words, any_of, ended, least, row, scratch.ctypes.data)
            if write and stays and (ended or any_end):
                if n > begin:
                    text[n] = 10
                    n += 1
                for k in range(lo, hi):
                    text[n] = u8(source, k)
                    n += 1
        if write and n > begin:
            lo, hi = strip(text.ctypes.data, begin, n, t, _SPACE)
            for k in range(hi - lo):
                text[begin + k] = text[lo + k]
            n = begin + hi - lo
        ends[d + 1] = n
    return counts, text[:n], ends
