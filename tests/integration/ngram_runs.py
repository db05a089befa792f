"""What tests of n-gram models are made of: a model learned in this process, one by the slow definition, ARPA files."""

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from learners.ngram import counting, estimating
from learners.ngram.estimating import Totals, discounts_of
from learners.ngram.settings import FALLBACK, Settings
from stages.kernels.arrow import frozen
from stages.kernels.ngram_text import lines_of
from stages.kernels.ngram_words import END, Numbering, word_hash

Grams = dict[tuple[str, ...], tuple[float, float]]


@dataclass
class Learned:
    """An ARPA file, what was estimated, and how many partitions it took."""

    arpa: bytes
    totals: Totals
    partitions: int


def parsed(arpa: bytes) -> Grams:
    """Logarithms of probability and backoff by n-gram."""
    found = {}
    for line in arpa.decode().split("\n"):
        if "\t" in line:
            log, words, *rest = line.split("\t")
            found[tuple(words.split(" "))] = (float(log), float(rest[0]) if rest else 0.0)
    return found


def learn(texts: Sequence[str], settings: Settings, *, target: int = 10**9, shards: int = 1) -> Learned:
    """A model of texts, cut into shards and partitions."""
    vocabulary, counted = counting.Vocabulary(), []
    step = -(-len(texts) // shards)
    for start in range(0, len(texts), step):
        numbering = Numbering()
        tokens = numbering.number(pa.array(texts[start : start + step], pa.string()))
        counts = np.bincount(tokens[tokens != np.uint32(END)], minlength=numbering.known)
        words = numbering.words().append_column("count", pa.array(counts))
        vocabulary.add(words, int((tokens == np.uint32(END)).sum()))
        counted.append((tokens, words))
    known = vocabulary.arrays({w: word_hash(w) for w in counting.SPECIAL}, target)
    starts = known["starts"]
    scattered = [
        counting.scattered(counting.numbered(tokens, words, known), settings.order, starts) for tokens, words in counted
    ]
    own = [_partition(scattered, p, settings, starts, len(vocabulary)) for p in range(len(starts))]
    totals = Totals.of(own, settings)
    return Learned(_written(own, settings, totals, known), totals, len(starts))


def _partition(scattered, p, settings, starts, size):
    pieces = [(s["words"][_span(s["ends"], p)], s["counts"][_span(s["ends"], p)]) for s in scattered]
    words, counts = counting.merged(pieces, size)
    made = estimating.adjusted(words, counts, settings, first=p == 0, last=p == len(starts) - 1)
    return made | estimating.routes(made, settings, starts)


def _written(own, settings, totals, known):
    orders = range(2, settings.order + 1)
    shares = [[estimating.unigram_shares(part, totals)] for part in own]
    for part, mine in zip(own, shares, strict=True):
        mine += [
            (np.empty(len(part[f"words{k}"]), np.float32), np.empty(len(part[f"words{k}"]), np.float32)) for k in orders
        ]
    backoffs = [[] for _ in own]
    for q, k in itertools.product(range(len(own)), orders):
        rows = [part[f"route{k}"][_span(part[f"ends{k}"], q)] for part in own]
        names = (f"words{k}", f"adjusted{k}", f"kept{k}")
        pieces = [tuple(part[n][r] for n in names) for part, r in zip(own, rows, strict=True)]
        made = estimating.contexts(own[q], k, pieces, totals.discounts[k - 1])
        backoffs[q].append(made.backoffs)
        at = 0
        for mine, r in zip(shares, rows, strict=True):
            mine[k - 1][0][r] = made.share[at : at + len(r)]
            mine[k - 1][1][r] = made.gamma[at : at + len(r)]
            at += len(r)
    found = [estimating.interpolated(*given, totals) for given in zip(own, shares, backoffs, strict=True)]
    out = b"\\data\\\n" + b"".join(b"ngram %d=%d\n" % (k, n) for k, n in enumerate(totals.kept, 1)) + b"\n"
    for k in range(settings.order):
        parts = [
            lines_of(*map(frozen, (f[k].words, f[k].logs, f[k].backoffs, known["data"], known["offsets"])))
            for f in found
        ]
        out += b"\\%d-grams:\n" % (k + 1) + b"".join(p.tobytes() for p in parts) + b"\n"
    return out + b"\\end\\\n"


def _span(ends, i):
    return slice(int(ends[i - 1]) if i else 0, int(ends[i]))


def slowly(text: str, order: int, prune: Sequence[int]) -> Grams:
    """The model by its definition, in double precision: Chen and Goodman's, with lmplz's treatment of the edges."""
    prune = [*prune, *[prune[-1]] * (order - len(prune))]
    raw: Counter[tuple[str, ...]] = Counter()
    lines = text.split("\n")
    for line in lines[:-1] if not lines[-1] else lines:
        words = ["<s>"] * (order - 1) + re.findall(r"[^ \t\r\0\n]+", line) + ["</s>"]
        raw.update(tuple(words[i : i + order]) for i in range(len(words) - order + 1))
    seen = {k: Counter() for k in range(1, order + 1)}
    before = defaultdict(set)
    for gram, n in raw.items():
        for k in range(1, order + 1):
            if "<s>" not in gram[order - k + 1 :]:
                seen[k][gram[order - k :]] += n
                if k < order:
                    before[gram[order - k :]].add(gram[order - k - 1])
    adjusted = {k: {g: n if k == order or g[0] == "<s>" else len(before[g]) for g, n in seen[k].items()} for k in seen}
    discounts = _discounts(text, raw, adjusted, seen)
    kept = {k: {g for g, n in seen[k].items() if n > prune[k - 1] or g == ("</s>",)} for k in seen}
    return _interpolated(adjusted, kept, discounts, order)


def _discounts(text, raw, adjusted, seen):
    """Discounts by order. lmplz counts the n-grams that come last of all with their raw counts, which this repeats."""
    numbers = {w: i for i, w in enumerate(dict.fromkeys(["<s>", "</s>", *re.findall(r"[^ \t\r\0\n]+", text)]))}
    last = max(raw, key=lambda gram: [numbers[w] for w in reversed(gram)])
    found = {}
    for k, counts in adjusted.items():
        end = last[-k:]
        some = counts if k == len(last) or "<s>" in end[1:] else {**counts, end: seen[k][end]}
        n = Counter(some.values())
        found[k] = discounts_of([n[1], n[2], n[3], n[4]]) or (0.0, *FALLBACK)
    return found


def _interpolated(adjusted, kept, discounts, order):
    uniform = 1 / (len(kept[1]) + 1)
    logs, backoffs = {}, {}
    for k in range(1, order + 1):
        contexts = defaultdict(list)
        for gram in adjusted[k]:
            contexts[gram[:-1]].append(gram)
        for context, grams in contexts.items():
            whole = sum(adjusted[k][g] for g in grams)
            mass = sum(discounts[k][min(adjusted[k][g], 3)] if g in kept[k] else adjusted[k][g] for g in grams)
            backoffs[context] = mass / whole
            for g in grams:
                share = (adjusted[k][g] - discounts[k][min(adjusted[k][g], 3)]) / whole
                logs[g] = share + backoffs[context] * (logs[g[1:]] if k > 1 else uniform)
    logs["<unk>",] = backoffs[()] * uniform
    logs["<s>",] = 1.0
    chosen = {g for k in kept for g in kept[k]} | {("<unk>",), ("<s>",)}
    return {g: (min(0.0, _log(logs[g])), _log(backoffs.get(g, 1.0)) if len(g) < order else 0.0) for g in chosen}


def _log(value):
    return math.log10(value) if value > 0 else -99.0
