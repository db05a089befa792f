"""The identifiers of texts: places found by one pass of a kernel, looked at by patterns, settled between them."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from stages.identifiers import patterns
from stages.kernels.anchors import COLONS, COUNTRY, DOTTED, EMAIL, NUMBER, PREFIX, anchors

#: (begin, end, kind) in bytes of the text.
Found = tuple[int, int, str]
Look = Callable[[bytes, int, int], Iterator[tuple[int, int]]]

#: What is looked for at each kind of anchor. Where two overlap, the earlier in this list counts.
LOOKS: tuple[tuple[str, int, Look], ...] = (
    ("key", PREFIX, patterns.api_key),
    ("email", EMAIL, patterns.email),
    ("iban", COUNTRY, patterns.iban),
    ("card", NUMBER, patterns.card),
    ("ip", DOTTED, patterns.ip4),
    ("ip", COLONS, patterns.ip6),
    ("phone", NUMBER, patterns.phone),
)
#: A replacement may make a neighbour stand free, so what is replaced is searched again, so many times at most.
ROUNDS = 8


def search(texts: pa.StringArray, placeholders: Mapping[str, str]) -> dict[int, list[Found]]:
    """The identifiers of each text that has any, sorted by place; they do not overlap.

    What equals a placeholder is none. With every identifier replaced by its kind's placeholder, no other is found
    (unless more than `ROUNDS` became free one after another).
    """
    own = frozenset(text.encode() for text in placeholders.values())
    settled: dict[int, list[Found]] = {}
    rows, masked = list(range(len(texts))), texts
    for _ in range(ROUNDS):
        fresh = _once(masked, own)
        for place, spans in fresh.items():
            row = rows[place]
            settled[row] = _joined(settled.get(row, []), spans, placeholders)
        if not fresh:
            break
        rows = [rows[place] for place in fresh]
        masked = pa.array([replaced(texts[row].as_buffer().to_pybytes(), settled[row], placeholders) for row in rows])
        masked = masked.cast(pa.string())
    return settled


def _once(texts: pa.StringArray, own: frozenset[bytes]) -> dict[int, list[Found]]:
    """The identifiers that stand free in the texts as they are."""
    places: dict[int, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for row, begin, end, kind in anchors(texts).tolist():
        places[row][kind].append((begin, end))
    found = {}
    for row, by_kind in places.items():
        text = texts[row].as_buffer().to_pybytes()
        spans = _settle(text, by_kind, own)
        if spans:
            found[row] = spans
    return found


def _settle(text: bytes, places: Mapping[int, Sequence[tuple[int, int]]], own: frozenset[bytes]) -> list[Found]:
    """Of all identifiers of a text those that overlap none of an earlier kind, or an earlier one of their own."""
    kept: list[Found] = []
    for name, kind, look in LOOKS:
        taken = [b for b, _, _ in kept]
        fresh: list[Found] = []
        for begin, end in places.get(kind, ()):
            for a, b in sorted(look(text, begin, end)):
                free = not fresh or fresh[-1][1] <= a
                if free and text[a:b] not in own and _is_free(kept, taken, a, b):
                    fresh.append((a, b, name))
        if fresh:
            kept = sorted(kept + fresh)
    return kept


def _is_free(kept: Sequence[Found], begins: Sequence[int], a: int, b: int) -> bool:
    """Whether a span overlaps none of the sorted ones, which begin at `begins`."""
    next_ = bisect_right(begins, a)
    return (next_ == 0 or kept[next_ - 1][1] <= a) and (next_ == len(kept) or kept[next_][0] >= b)


def replaced(text: bytes, spans: Sequence[Found], placeholders: Mapping[str, str | None]) -> bytes:
    """The text with its spans replaced by what stands for their kind; None leaves them."""
    parts, at = [], 0
    for begin, end, kind in spans:
        stand_in = placeholders[kind]
        parts += [text[at:begin], text[begin:end] if stand_in is None else stand_in.encode()]
        at = end
    return b"".join([*parts, text[at:]])


def _joined(known: list[Found], fresh: Sequence[Found], placeholders: Mapping[str, str]) -> list[Found]:
    """The spans known of a text, and those found in it once they were replaced, in places of the text itself."""
    if not known:
        return list(fresh)
    stand_ins: list[tuple[int, int, int, int]] = []  # begin and end where they were replaced, and in the text
    shift = 0
    for begin, end, kind in known:
        size = len(placeholders[kind].encode())
        stand_ins.append((begin + shift, begin + shift + size, begin, end))
        shift += size - (end - begin)
    begins = [s[0] for s in stand_ins]

    def original(at: int, side: int) -> int:
        """The place in the text; one within a stand-in is the beginning (side 0) or the end of what it stands for."""
        before = bisect_right(begins, at - side)
        if before == 0:
            return at
        _, end, own_begin, own_end = stand_ins[before - 1]
        return (own_end if side else own_begin) if at - side < end else at - end + own_end

    moved = [(original(a, 0), original(b, 1), kind) for a, b, kind in fresh]
    left = [k for k in known if not any(a < k[1] and k[0] < b for a, b, _ in moved)]
    return sorted(left + moved)
