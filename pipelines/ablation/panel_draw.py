"""Which documents become a panel: all are looked at once, and of each domain some are drawn by hash."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.progress import Watch
from pipelines.shards import Shard, batches
from pipelines.store import Store
from stages.chance import lowest, mixed
from stages.document import unpacked
from stages.errors import DataError

#: Fewer documents than this make intervals over documents wide; it is said, not refused.
FEW = 20
_KIND = "panel"
#: What is known of a document that may be drawn; its text is read again when it is.
_CANDIDATE = np.dtype(
    [("high", "<u8"), ("low", "<u8"), ("domain", "<i8"), ("bytes", "<i8"), ("shard", "<i8"), ("row", "<i8")]
)
#: Columns of the drawn documents.
DRAWN = pa.schema(
    [(name, pa.string()) for name in ("doc_id", "domain", "path", "id", "text")] + [("bytes", pa.int64())]
)


@dataclass(frozen=True, slots=True)
class Held:
    """What one path holds: its shards, and for each file, by its path below the root, the name of its folder."""

    shards: tuple[Shard, ...]
    folders: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Candidates:
    """N documents that may be drawn, each text of a domain once, without their texts: 48 bytes each."""

    shards: tuple[Shard, ...]
    domains: tuple[str, ...]
    rows_N: NDArray[np.void]  # of _CANDIDATE

    @classmethod
    def of(cls, store: Store, held: Sequence[Held], watch: Watch) -> "Candidates":
        """Look at every document; a record's domain is its field `domain`, else the name of its file's folder.

        Raises:
            DataError: a folder or a domain has no text.
        """
        shards = tuple(shard for one in held for shard in one.shards)
        folders = [one.folders for one in held for _ in one.shards]
        numbers: dict[str, int] = {}
        lacking = {name for one in held for name in one.folders.values()}
        found, blank = [], 0
        for n, shard in enumerate(shards):
            for row, (domain, folder, text) in enumerate(_texts(store, shard, folders[n])):
                if not text.strip():
                    lacking, blank = lacking | ({domain} - numbers.keys()), blank + 1
                    continue
                lacking -= {domain, folder}
                data = text.encode()
                digest = blake2b(f"{domain}\0".encode() + data, digest_size=16).digest()
                high, low = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
                found.append((high, low, numbers.setdefault(domain, len(numbers)), len(data), n, row))
        if lacking:
            raise DataError(
                f"the panel's domain {min(lacking)!r} has no document with text, so nothing could be measured in it; "
                "put text there or leave its files out",
                domain=min(lacking),
            )
        return cls._once(shards, numbers, np.array(found, _CANDIDATE), blank, watch)

    @classmethod
    def _once(
        cls, shards: tuple[Shard, ...], numbers: Mapping[str, int], rows: NDArray[np.void], blank: int, watch: Watch
    ) -> "Candidates":
        """Number the domains by name and leave copies out."""
        domains = tuple(sorted(numbers))
        places = np.empty(len(domains), np.int64)
        places[[numbers[name] for name in domains]] = np.arange(len(domains))
        rows["domain"] = places[rows["domain"]]
        _, first = np.unique(rows[["domain", "high", "low"]], return_index=True)
        if blank or len(first) < len(rows):
            watch.say(f"the panel's files have {len(rows) - len(first):,} copies and {blank:,} documents without text")
        return cls(shards, domains, rows[first])

    def drawn(self, bytes_per_domain: int, seed: int, watch: Watch) -> NDArray[np.void]:
        """The rows of the documents drawn, by domain and then by hash."""
        found = []
        for number, name in enumerate(self.domains):
            own = self.rows_N[self.rows_N["domain"] == number]
            chance = mixed(seed, _KIND, own["high"].astype(np.uint64), own["low"].astype(np.uint64))
            ordered = own[lowest(chance, len(own))]
            chosen = ordered[: nearest(ordered["bytes"], bytes_per_domain)]
            total = int(chosen["bytes"].sum())
            if len(chosen) < FEW or total < bytes_per_domain / 2:
                watch.say(
                    f"the panel's domain {name!r} has {len(chosen):,} documents of {total:,} bytes together, so its own "
                    "figures are coarse"
                )
            found.append(chosen)
        return np.concatenate(found)

    def documents(self, store: Store, rows: NDArray[np.void]) -> pa.Table:
        """The documents at rows, in that order, with the columns `DRAWN`."""
        pieces, order = [], []
        for n in np.unique(rows["shard"]).tolist():
            places = np.flatnonzero(rows["shard"] == n)
            columns = ["path", "id", "text"]
            whole = pa.Table.from_batches(list(batches(store, self.shards[n], columns, {})))
            pieces.append(whole.take(pa.array(rows["row"][places])))
            order.append(places)
        table = pa.concat_tables(pieces).take(pa.array(np.argsort(np.concatenate(order), kind="stable")))
        halves = np.stack([rows["high"], rows["low"]], axis=-1).astype(">u8")
        names = pa.array([self.domains[d] for d in rows["domain"].tolist()], pa.string())
        table = table.append_column("doc_id", unpacked(halves.view(np.uint8).reshape(-1, 16)))
        table = table.append_column("domain", names).append_column("bytes", pa.array(rows["bytes"], pa.int64()))
        return table.select(DRAWN.names)


def nearest(bytes_N: NDArray[np.int64], wanted: int) -> int:
    """How many of the first documents have bytes nearest to the wanted together; one at least, the fewer where it ties."""
    sums = np.cumsum(bytes_N)
    return int(np.argmin(np.abs(sums - wanted))) + 1


def _texts(store: Store, shard: Shard, folders: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The domain, the folder and the text of each document of a shard."""
    for batch in batches(store, shard, ["text", "domain", "path"], {}):
        columns = (batch[name].to_pylist() for name in ("text", "domain", "path"))
        for text, domain, path in zip(*columns, strict=True):
            yield (domain or "").strip() or folders[path], folders[path], text or ""
