"""What people want to know of a tokenizer: how many bytes of which texts a token stands for, and how much of it is used."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from learners.tokenizer import Made
from pipelines.gather import Gathered
from pipelines.passes import peak_memory_bytes
from pipelines.shards import Shard, batches
from pipelines.store import Store
from stages.chance import draw
from stages.tokenization import Encoder, parsed

#: Document columns whose values are groups with figures of their own, and how many of each are shown.
GROUPED, SHOWN = ("lang", "domain", "source"), 20
PATH = "path"
#: The source's name of texts that name none.
UNNAMED = "texts"
SAMPLE = "tokenizer sample"
_NINETY_FIVE = 1.959963984540054
#: Columns of a group's sums.
SUMS = ("documents", "bytes", "tokens", "bytes2", "both", "tokens2")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A share of all documents, by hash: the same whatever shards they are in."""

    share: float
    seed: int

    @classmethod
    def of_bytes(cls, wanted: int, total: int, *, seed: int) -> Self:
        """The share that has about the wanted bytes."""
        return cls(min(1.0, wanted / max(total, 1)), seed)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The documents of a batch that are in it."""
        if self.share >= 1:
            return batch
        chosen = draw(self.seed, SAMPLE, batch["doc_id"]).astype(np.float64) < self.share * 2.0**64
        return batch.filter(pa.array(chosen))


@dataclass(slots=True)
class Measured:
    """Sums over documents, of all and by group (kind, value): those of SUMS; how often each entry occurs."""

    entries: NDArray[np.int64]
    groups: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    changed: int = 0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0

    def add(self, group: tuple[str, str], sums: NDArray[np.float64]) -> None:
        """Add sums to a group's."""
        self.groups[group] = self.groups.get(group, np.zeros(len(SUMS))) + sums

    @property
    def all(self) -> NDArray[np.float64]:
        """The sums over all documents."""
        return self.groups.get(("", ""), np.zeros(len(SUMS)))


def merged(parts: Iterable[Measured], vocabulary: int) -> Measured:
    """The measurements of several shards together."""
    whole = Measured(np.zeros(vocabulary, np.int64))
    for part in parts:
        whole.entries += part.entries
        whole.changed += part.changed
        whole.cpu_seconds += part.cpu_seconds
        whole.peak_memory_bytes = max(whole.peak_memory_bytes, part.peak_memory_bytes)
        for group, sums in part.groups.items():
            whole.add(group, sums)
    return whole


def short(paths: Sequence[str]) -> dict[str, str]:
    """The paths without the folders that all of them are in."""
    parts = [path.rstrip("/").split("/") for path in paths]
    common = 0
    while len({tuple(p[: common + 1]) for p in parts}) == 1 and common < min(map(len, parts)) - 1:
        common += 1
    return {path: "/".join(own[common:]) for path, own in zip(paths, parts, strict=True)}


@dataclass(frozen=True, slots=True)
class MeasureShard:
    """Encodes the sampled documents of a shard and counts what became of them; `path` is what they were given as."""

    store: Store
    shard: Shard
    made: Made
    sampled: Sampled
    path: str | None

    def __call__(self) -> Measured:
        """The counts."""
        cpu = time.process_time()
        tokenizer = parsed(self.made.content, "being measured")
        encode = Encoder(tokenizer)
        found = Measured(np.zeros(self.made.vocabulary, np.int64))
        for batch in batches(self.store, self.shard, ["text", "doc_id", *GROUPED], {}):
            some = self.sampled.of(batch)
            some = some.filter(pc.is_valid(some["text"]))
            lengths, ids = encode(some["text"])
            found.entries += np.bincount(ids, minlength=self.made.vocabulary)
            found.changed += _changed(tokenizer, some["text"], lengths, ids)
            self._add(found, some, lengths)
        found.cpu_seconds = time.process_time() - cpu
        found.peak_memory_bytes = peak_memory_bytes()
        return found

    def _add(self, found: Measured, some: pa.RecordBatch, lengths: NDArray[np.int64]) -> None:
        size = pc.binary_length(some["text"]).to_numpy(zero_copy_only=False).astype(np.float64)
        tokens = lengths.astype(np.float64)
        sums = np.stack([np.ones_like(size), size, tokens, size**2, size * tokens, tokens**2], axis=1)
        found.add(("", ""), sums.sum(axis=0))
        if self.path is not None:
            found.add((PATH, self.path), sums.sum(axis=0))
        for column in GROUPED:
            codes = some[column].dictionary_encode()
            number = pc.fill_null(codes.indices, len(codes.dictionary)).to_numpy(zero_copy_only=False)
            own = np.zeros((len(codes.dictionary) + 1, len(SUMS)))
            np.add.at(own, number, sums)
            for value, some_sums in zip(codes.dictionary.to_pylist(), own[:-1], strict=True):
                if (column, value) != ("source", UNNAMED):
                    found.add((column, value), some_sums)


def _changed(tokenizer: Any, texts: pa.StringArray, lengths: NDArray[np.int64], ids: NDArray[np.uint32]) -> int:
    """How many texts are decoded to something else."""
    every = np.split(ids, np.cumsum(lengths)[:-1]) if len(lengths) else []
    again = tokenizer.decode_batch([one.tolist() for one in every], skip_special_tokens=False)
    return sum(one != text for one, text in zip(again, texts.to_pylist(), strict=True))


def card(
    made: Made, measured: Measured, texts: Gathered, settings: Mapping[str, Any], *, learned: bool
) -> dict[str, Any]:
    """What is known of a tokenizer, but for what it cost."""
    documents, size, tokens = (int(n) for n in measured.all[:3])
    sample = {"documents": documents, "bytes": size, "tokens": tokens}
    used = int(np.count_nonzero(measured.entries))
    metrics: list[dict[str, Any]] = [_metric("vocabulary", made.vocabulary, "entries")]
    if documents:
        metrics.append(_metric("entries that the texts use", used, "entries"))
    if tokens:
        metrics.append(_ratio("bytes per token", measured.all))
    groups, left = _groups(measured)
    metrics += [_ratio(f"bytes per token, {kind} {value}", sums) for kind, value, sums in groups]
    return {
        "what": "Byte-level BPE: the tokens that texts are made of"
        if learned
        else "A tokenizer that was given as a file: the tokens that texts are made of",
        "data": {"text": texts.json(), "measured on": sample} if texts.shards else {},
        "settings": {**settings, **made.identity()},
        "metrics": metrics,
        "warnings": [*_warnings(made, measured, settings), *left],
    }


def _metric(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "low": None, "high": None}


def _ratio(name: str, sums: NDArray[np.float64]) -> dict[str, Any]:
    """Bytes over tokens, with a 95 % interval over documents (of a ratio, linearized)."""
    n, size, tokens, size2, both, tokens2 = (float(s) for s in sums)
    found = _metric(name, size / tokens, "bytes/token") | {"better": "higher"}
    if n > 1:
        ratio = size / tokens
        spread = max(size2 - 2 * ratio * both + ratio**2 * tokens2, 0.0)
        error = math.sqrt(spread * n / (n - 1)) / tokens
        found |= {"low": ratio - _NINETY_FIVE * error, "high": ratio + _NINETY_FIVE * error}
    return found


def _groups(measured: Measured) -> tuple[list[tuple[str, str, NDArray[np.float64]]], list[str]]:
    """The groups with most text of each kind, and a sentence for those that are not shown."""
    shown, left = [], []
    for kind in (PATH, *GROUPED):
        own = [(value, sums) for (of, value), sums in measured.groups.items() if of == kind and sums[2] > 0]
        own.sort(key=lambda item: (-item[1][1], item[0]))
        if len(own) > SHOWN:
            left.append(f"{len(own) - SHOWN} values of {kind!r} with less text have no figures of their own here")
        shown += [(kind, value, sums) for value, sums in own[:SHOWN]]
    return shown, left


def _warnings(made: Made, measured: Measured, settings: Mapping[str, Any]) -> list[str]:
    found = []
    wanted = settings.get("vocabulary")
    if wanted is not None and made.vocabulary < wanted:
        found.append(
            f"the texts gave {made.vocabulary:,} entries where {wanted:,} were asked for; learn from more text"
        )
    if not measured.all[0]:
        found.append("it was measured on no text; name some with --text")
    if measured.changed:
        found.append(
            f"{measured.changed:,} of {int(measured.all[0]):,} texts are not decoded to themselves: it changes or loses "
            "characters"
        )
    return found
