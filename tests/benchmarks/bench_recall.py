"""Which pairs of documents become candidates, against the exact Jaccard of every pair; and what verified links are worth.

The corpus is TAMIS_BENCH_DOCUMENTS (8,000) raw documents with the duplicates that they hold, and for a third of them a
copy with words replaced at a rate that makes its Jaccard anything from 0.3 to 1. The oracle multiplies the matrix of
documents and n-grams with its transpose, so it misses no pair.

In every bin of the Jaccard index s the share of pairs with a band in common, over several seeds, is held against the mean
of 1 - (1 - s^r)^b at the pairs' own s, with the exact binomial interval (Clopper and Pearson, 1934) that all bins
together leave with a chance of 1 %. Pairs in a bin share no document, planted ones by construction, natural ones by choice:
those that share one would not be independent.
"""

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from corpora import documents, work
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import beta

from pipelines.api import documents as measured
from pipelines.api import run
from pipelines.run import Options
from stages.banding import candidate_probability
from stages.kernels.minhash import band_keys, sign
from stages.kernels.shingles import shingle_hashes
from stages.text.minhash import Minhash

BANDS, ROWS = 14, 8
SEEDS = range(1, 21)
EDGES = np.append(np.arange(30, 100, 5) / 100, [1.0, 1.01])
LEAST = 0.3
THRESHOLD = 0.8
LEAST_WORDS = 60
BLOCK = 500
CHANCE = 0.01

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of documents i < j and their exact Jaccard."""

    i: Ints
    j: Ints
    jaccard: NDArray[np.float64]

    def __getitem__(self, chosen: Any) -> "Pairs":
        return Pairs(self.i[chosen], self.j[chosen], self.jaccard[chosen])


def corpus() -> tuple[list[str], int]:
    """Texts, the edited copies last, and how many are raw."""
    wanted = int(os.environ.get("TAMIS_BENCH_DOCUMENTS", "8000"))
    raw = [record["text"] for record in islice(documents(), wanted)]
    long = [(i, t) for i, t in enumerate(raw) if len(t.split()) >= LEAST_WORDS]
    return raw + [edited(t, i) for i, t in long[: wanted // 3]], len(raw)


def edited(text: str, number: int) -> str:
    """The text with words replaced by new ones, so that about s of all five-word n-grams are shared, s from 0.3 to 1."""
    draws = np.random.default_rng(number)
    s = draws.uniform(LEAST, 1)
    words = text.split(" ")
    for place in np.flatnonzero(draws.random(len(words)) > (2 * s / (1 + s)) ** 0.2).tolist():
        words[place] = "w" + hashlib.blake2b(f"{number}/{place}".encode(), digest_size=5).hexdigest()
    return " ".join(words)


def exact(texts: pa.Array) -> Pairs:
    """Every pair with a Jaccard of at least `LEAST`."""
    values, begins = shingle_hashes(texts, Minhash())
    _, number = np.unique(values, return_inverse=True)
    has = csr_array((np.ones(len(values), np.int32), number, begins))
    size, back = np.diff(begins), has.T.tocsr()
    found = []
    for start in range(0, len(texts), BLOCK):
        common = (has[start : start + BLOCK] @ back).tocoo()
        i, j = common.row.astype(np.int64) + start, common.col.astype(np.int64)
        jaccard = common.data / (size[i] + size[j] - common.data)
        chosen = (i < j) & (jaccard >= LEAST)
        found.append(Pairs(i[chosen], j[chosen], jaccard[chosen]))
    return Pairs(*(np.concatenate([getattr(f, name) for f in found]) for name in ("i", "j", "jaccard")))


def disjoint(pairs: Pairs) -> Pairs:
    """Pairs of which no two share a document, chosen in an order that does not depend on anything else."""
    order = np.random.default_rng(0).permutation(len(pairs.i))
    taken: set[int] = set()
    chosen = []
    for k in order.tolist():
        both = {int(pairs.i[k]), int(pairs.j[k])}
        if not both & taken:
            taken |= both
            chosen.append(k)
    return pairs[np.array(sorted(chosen), np.int64)]


def candidates(texts: pa.Array, bins: list[Pairs]) -> Ints:
    """For each bin how many of its pairs share a band, over all seeds."""
    hits = np.zeros(len(bins), np.int64)
    for seed in SEEDS:
        signatures, _, _ = sign(texts, Minhash(bands=BANDS, rows=ROWS, seed=seed))
        keys = band_keys(signatures, BANDS, ROWS)
        hits += [np.count_nonzero((keys[some.i] == keys[some.j]).any(axis=1)) for some in bins]
    return hits


def interval(hits: int, trials: int, chance: float) -> tuple[float, float]:
    """The exact binomial interval that leaves out so much on both sides together."""
    low = beta.ppf(chance / 2, hits, trials - hits + 1) if hits else 0.0
    high = beta.ppf(1 - chance / 2, hits + 1, trials - hits) if hits < trials else 1.0
    return float(low), float(high)


def bins(texts: pa.Array, kinds: dict[str, Pairs]) -> Iterator[tuple[str, int, float, float, bool]]:
    """For each kind and bin: its name, pairs, measured and expected share, and whether they agree."""
    found = {
        f"{name} {low:.2f}": disjoint(pairs[(pairs.jaccard >= low) & (pairs.jaccard < high)])
        for name, pairs in kinds.items()
        for low, high in pairwise(EDGES)
    }
    found = {name: some for name, some in found.items() if len(some.i)}
    for (name, some), hits in zip(found.items(), candidates(texts, list(found.values())).tolist(), strict=True):
        trials = len(some.i) * len(SEEDS)
        expected = float(candidate_probability(some.jaccard, BANDS, ROWS).mean())
        least, most = interval(hits, trials, CHANCE / len(found))
        yield name, len(some.i), hits / trials, expected, least <= expected <= most


def linked(texts: list[str], pairs: Pairs, base: Path, *, verify: bool) -> tuple[int, float, float]:
    """Documents that a run links, the precision of its links, and the share of pairs that it has in one cluster."""
    with gzip.open(base / "in.jsonl.gz", "wt", encoding="utf-8") as out:
        out.writelines(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts))
    spec = {
        "name": "verified",
        "source": {"kind": "jsonl", "path": str(base / "in.jsonl.gz")},
        "measure": {
            "sketch": {"kind": "minhash", "bands": BANDS, "rows": ROWS},
            "copies": {"kind": "near_duplicates", "of": "sketch", "threshold": THRESHOLD, "verify": verify},
        },
    }
    done = run(spec, store=str(base / "store"), options=Options("local", 2))
    columns = ["id", "copies.cluster", "copies.cluster_size"]
    rows = pa.Table.from_batches(measured(done["run"], columns, store=str(base / "store")))
    number = np.array([int(i) for i in rows["id"].to_pylist()])
    cluster, size = np.full(len(texts), -1), np.zeros(len(texts), np.int64)
    cluster[number] = rows["copies.cluster"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    size[number] = rows["copies.cluster_size"].fill_null(0).to_numpy()
    several = np.flatnonzero(size > 1)
    alike = pairs[pairs.jaccard >= THRESHOLD]
    together = cluster[alike.i] == cluster[alike.j]
    inside = alike[together]
    graph = csr_array((np.ones(len(inside.i)), (inside.i, inside.j)), shape=(len(texts), len(texts)))
    _, component = connected_components(graph, directed=False)
    # A right link is one of a spanning tree of pairs that are alike; every other that joins a cluster is wrong.
    joins = len(several) - len(np.unique(cluster[several]))
    right = len(several) - len(np.unique(component[several]))
    return len(several), right / joins, float(together.mean())


def main() -> None:
    """Print the figures."""
    texts, raw = corpus()
    array = pa.array(texts, pa.string())
    pairs = exact(array)
    planted = (pairs.i < raw) & (pairs.j >= raw)
    kinds = {"natural": pairs[pairs.j < raw], "planted": pairs[planted]}
    print(f"{len(texts):,} documents, {len(pairs.i):,} pairs with a Jaccard of at least {LEAST}", flush=True)
    agreeing = []
    for name, count, share, expected, agrees in bins(array, kinds):
        agreeing.append(agrees)
        print(f"{name}: {count:>5} pairs, measured {share:.4f}, expected {expected:.4f}{'' if agrees else '  DIFFERS'}")
    figure = {
        "what": "candidate rate as 1-(1-s^r)^b, bins of s",
        "ours": sum(agreeing),
        "unit": f"of {len(agreeing)} bins",
    }
    print(json.dumps(figure | {"bar": "all", "holds": all(agreeing)}), flush=True)
    for verify in (False, True):
        with tempfile.TemporaryDirectory(dir=work()) as temporary:
            count, precision, recall = linked(texts, pairs, Path(temporary), verify=verify)
        how = "verified" if verify else "not verified"
        print(
            f"{how}, {THRESHOLD}: {count:,} documents linked, precision {precision:.4f}; {recall:.4f} of alike pairs in a cluster"
        )
    figure = {"what": f"precision of verified links at {THRESHOLD}", "ours": precision, "unit": "1", "bar": "= 1"}
    print(json.dumps(figure | {"holds": precision == 1}), flush=True)


if __name__ == "__main__":
    main()
