"""An index in Redis, through datasketch's `MinHashLSH`: other programs that use datasketch can ask it too.

    {base}:lsh...         datasketch's buckets and keys (`storage_config`'s basename), member ids as plain bytes
    {base}:config         scheme, seed, permutations, bands and rows, which datasketch itself does not keep
    {base}:documents      member id -> what is known of the document;   {base}:signatures   member id -> its sketch
    {base}:doc:{doc_id}   the member ids of a document;                 {base}:add:{key}    those of an add
    {base}:removed        what was taken down

The index's manifests are in the store as ever. A member counts once a manifest names the add that it came with, so an
add becomes true at once, and what a killed one left behind is invisible until the same add is made again.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pyarrow as pa
import xxhash

from pipelines.index.backend import TWINS, Added, Coming
from pipelines.index.chain import find, get, publish
from pipelines.index.embedded import removal_entries
from pipelines.progress import Watch
from pipelines.store import Store
from stages.errors import SpecError, StorageError
from stages.fingerprint import key
from stages.index.manifest import SCHEME, Configuration, Manifest
from stages.index.search import FOUND
from stages.index.segment import U32

_SEPARATOR = "\0"
_EVERY = ""  # the corpus of what was taken down wherever it is


class RedisLsh:
    """An index that Redis keeps and the store names.

    Args:
        store: where the manifests are.
        index: its name.
        url: `redis://host:port/database`; None: as the manifest says, which never holds a password.
        begun: the manifest before the first, where the index does not exist yet; see `begin`.
    """

    def __init__(self, store: Store, index: str, url: str | None = None, begun: Manifest | None = None) -> None:
        self.store, self.index = store, index
        found = find(store, index) or begun
        self._manifest = found or get(store, index)
        self._url = url or str(self._manifest.place["url"])
        self._base = str(self._manifest.place["base"])
        with self._saying():
            self._redis = _client(self._url)
            if not self._manifest.number:
                self._begin()
            self._check()
            self._lsh = self._opened()

    def _begin(self) -> None:
        """Make the index: its configuration in Redis, and its first manifest."""
        self._redis.set(self._key("config"), json.dumps(self._config(), sort_keys=True))
        self._manifest = self._manifest.after()
        if not publish(self.store, self.index, self._manifest):
            self._redis.delete(self._key("config"))
            raise StorageError(f"another command made the index {self.index!r} at this moment; run yours again")

    def _config(self) -> dict[str, Any]:
        known = self._manifest.configuration
        seed = known.sketch["parameters"]["seed"]
        return {"scheme": SCHEME, "seed": seed, **known.json(), "permutations": known.permutations}

    def _check(self) -> None:
        """Make sure that this is the server with the index, and that its sketches are the manifest's."""
        found = self._redis.get(self._key("config"))
        if found is None or json.loads(found) != self._config():
            what = "has no such index" if found is None else "has it with another configuration"
            raise StorageError(
                f"the Redis server at {_without_password(self._url)} {what} as {self.index!r} says; give the right --url, "
                "or make the index again under another name",
                index=self.index,
            )

    def _opened(self) -> Any:
        from datasketch import MinHashLSH  # noqa: PLC0415 - optional until an index is in Redis
        from redis.connection import parse_url  # noqa: PLC0415 - the same

        known = self._manifest.configuration
        options = dict(parse_url(self._url))  # type: ignore[no-untyped-call]  # redis types its clients alone
        if options.pop("connection_class", None) is not None:
            options["ssl"] = True
        storage = {"type": "redis", "basename": self._key("lsh").encode(), "redis": options}
        # Member ids are bytes: datasketch would pickle anything else, and Redis is no place to unpickle from.
        return MinHashLSH(
            num_perm=known.permutations, params=(known.bands, known.rows), storage_config=storage, prepickle=False
        )

    def add(self, coming: Coming, watch: Watch) -> Added:
        """Take documents in; what the index has already (corpus, id and sketch), or took down, is left out."""
        with self._saying():
            while True:
                manifest = get(self.store, self.index)
                if any(add["key"] == coming.key for add in manifest.adds):
                    return Added(0, coming.documents, 0)
                result = self._insert(coming, manifest, watch)
                if not result.documents:
                    return result
                digest = key([coming.key, result.documents])
                after = manifest.after(adds=(*manifest.adds, coming.add(result.documents, digest)))
                if publish(self.store, self.index, after):
                    return result
                self._withdraw(coming.key)  # the other writer may have added some of these documents

    def _insert(self, coming: Coming, manifest: Manifest, watch: Watch) -> Added:
        added = known = taken_down = seen = nbytes = 0
        removed = self._removed()
        watch.step("index", 0, coming.documents)
        for batch in coming.batches():
            rows = [(r, _member(coming, r)) for r in batch.to_pylist()]
            here = [(r, m) for r, m in rows if not {(r["doc_id"], _EVERY), (r["doc_id"], coming.corpus)} & removed]
            there = self._there([m for _, m in here], manifest)
            new = [(r, m) for (r, m), t in zip(here, there, strict=True) if not t]
            self._write(new, coming)
            taken_down, known, added = taken_down + len(rows) - len(here), known + sum(there), added + len(new)
            seen, nbytes = seen + len(rows), nbytes + batch.nbytes
            watch.step("index", min(seen, coming.documents - 1), coming.documents, nbytes)
        watch.step("index", coming.documents, coming.documents, nbytes)
        return Added(added, known, taken_down)

    def _there(self, members: Sequence[bytes], manifest: Manifest) -> list[bool]:
        """For every member id, whether an add that a manifest names brought the same document."""
        adds = {add["key"] for add in manifest.adds}
        pipe = self._redis.pipeline(transaction=False)
        for member in members:
            pipe.smembers(self._key("doc", _parts(member)[1]))
        every = pipe.execute()
        return [
            any(_parts(other)[:3] == _parts(member)[:3] and _parts(other)[3] in adds for other in others)
            for member, others in zip(members, every, strict=True)
        ]

    def _write(self, rows: Sequence[tuple[dict[str, Any], bytes]], coming: Coming) -> None:
        """Put members into datasketch's buckets, then what is known of them beside it."""
        from datasketch import LeanMinHash  # noqa: PLC0415 - optional until an index is in Redis

        if not rows:
            return
        configuration = self._manifest.configuration
        seed = configuration.sketch["parameters"]["seed"]
        written = self._redis.hmget(self._key("documents"), [m for _, m in rows])
        with self._lsh.insertion_session() as session:
            for (row, member), there in zip(rows, written, strict=True):
                if there is None:
                    values = np.frombuffer(row["signature"], "<u4").astype(np.uint32)
                    session.insert(member, LeanMinHash(seed=seed, hashvalues=values, scheme=SCHEME), False)
        pipe = self._redis.pipeline()
        for row, member in rows:
            known = {n: row[n] for n in ("doc_id", "id", "source", "path", "url")}
            known |= {"corpus": coming.corpus, "run": coming.run}
            pipe.hset(self._key("documents"), member, json.dumps(known))
            pipe.hset(self._key("signatures"), member, row["signature"])
            pipe.sadd(self._key("doc", row["doc_id"]), member)
            pipe.sadd(self._key("add", coming.key), member)
        pipe.execute()

    def _withdraw(self, add: str) -> None:
        self._forget(self._redis.smembers(self._key("add", add)))

    def _forget(self, members: Sequence[bytes]) -> None:
        """Take members out of datasketch's buckets and out of what is known beside it."""
        for member in members:
            if member in self._lsh:
                self._lsh.remove(member)
            _, doc_id, _, add = _parts(member)
            pipe = self._redis.pipeline()
            pipe.hdel(self._key("documents"), member)
            pipe.hdel(self._key("signatures"), member)
            pipe.srem(self._key("doc", doc_id), member)
            pipe.srem(self._key("add", add), member)
            pipe.execute()

    def query(self, signatures: U32, most: int, threshold: float) -> pa.Table:
        """At most so many twins of each sketch, estimated at least so alike, the best first."""
        rows: list[dict[str, Any]] = []
        with self._saying():
            manifest, removed = get(self.store, self.index), self._removed()
            order = {add["key"]: i for i, add in enumerate(manifest.adds)}
            for asked, (values, every) in enumerate(zip(signatures, self._candidates(signatures), strict=True)):
                members = [m for m in every if self._counts(m, order, removed)]
                found = self._alike(values, members, threshold)
                found.sort(key=lambda pair: (-pair[0], _parts(pair[1])[1], order[_parts(pair[1])[3]]))
                rows += self._described(asked, found[:most])
        return pa.Table.from_pylist(rows, TWINS)

    def _candidates(self, signatures: U32) -> list[set[bytes]]:
        """What `MinHashLSH.query` gives for each sketch, with one round trip a band for all of them."""
        found: list[set[bytes]] = [set() for _ in signatures]
        for (begin, end), table in zip(self._lsh.hashranges, self._lsh.hashtables, strict=True):
            # The name of a bucket is the band's values, the high byte first.
            buckets = [values[begin:end].astype(">u4").tobytes() for values in signatures]
            for members, more in zip(found, table.getmany(*buckets) if buckets else [], strict=True):
                members.update(more)
        return found

    def _counts(self, member: bytes, adds: dict[str, int], removed: set[tuple[str, str]]) -> bool:
        """Whether a manifest names the member's add, and the document was not taken down."""
        corpus, doc_id, _, add = _parts(member)
        return add in adds and not {(doc_id, _EVERY), (doc_id, corpus)} & removed

    def _alike(self, values: U32, members: Sequence[bytes], threshold: float) -> list[tuple[float, bytes]]:
        if not members:
            return []
        held = self._redis.hmget(self._key("signatures"), members)
        there = [(m, np.frombuffer(s, "<u4")) for m, s in zip(members, held, strict=True) if s is not None]
        pairs = [(float(np.count_nonzero(values == other) / len(values)), m) for m, other in there]
        return [pair for pair in pairs if pair[0] >= threshold]

    def _described(self, asked: int, found: Sequence[tuple[float, bytes]]) -> list[dict[str, Any]]:
        if not found:
            return []
        known = self._redis.hmget(self._key("documents"), [m for _, m in found])
        pairs = [(j, json.loads(k)) for (j, _), k in zip(found, known, strict=True) if k is not None]
        return [{"asked": asked, **{n: k[n] for n in FOUND.names}, "jaccard": j} for j, k in pairs]

    def remove(self, doc_ids: Sequence[str], corpus: str | None) -> list[dict[str, Any]]:
        """Take documents down, by doc_id or by the user's own id; `corpus` None: wherever they are.

        Raises:
            SpecError: one of them is not in the index.
        """
        with self._saying():
            while True:
                manifest, removed = get(self.store, self.index), self._removed()
                members = {name: self._named(name, corpus, manifest) for name in doc_ids}
                gone = {doc_id for doc_id, _ in removed}
                missing = [name for name, found in members.items() if not found and name not in gone]
                if missing:
                    raise SpecError(
                        f"the index {self.index!r} has no document {missing[0]!r}; nothing was removed; "
                        "give a doc_id (32 hex digits) or the id that the document came with",
                        index=self.index,
                        missing=missing,
                    )
                every = sorted({m for found in members.values() for m in found})
                if not every:
                    return []
                taken = self._described(0, [(0.0, m) for m in every])
                gone_now = removal_entries(taken, doc_ids, corpus)
                entries = {_SEPARATOR.join((doc_id, whose or _EVERY)) for doc_id, whose in gone_now}
                self._redis.sadd(self._key("removed"), *entries)
                all_gone = sorted([list(e) for e in self._removed()])
                after = manifest.after(removed={"count": len(all_gone), "digest": key(all_gone)})
                if publish(self.store, self.index, after):
                    self._forget(every)
                    return [{n: d[n] for n in FOUND.names} for d in taken]

    def _named(self, name: str, corpus: str | None, manifest: Manifest) -> list[bytes]:
        """The members that a doc_id, or else an id of its own, names."""
        adds = {add["key"]: 0 for add in manifest.adds}
        members = list(self._redis.smembers(self._key("doc", name)))
        if not members:
            every = self._redis.hscan_iter(self._key("documents"), count=10_000)
            members = [member for member, known in every if json.loads(known)["id"] == name]
        return [m for m in members if self._counts(m, adds, set()) and corpus in {None, _parts(m)[0]}]

    def _removed(self) -> set[tuple[str, str]]:
        entries = [entry.decode().split(_SEPARATOR, 1) for entry in self._redis.smembers(self._key("removed"))]
        return {(doc_id, corpus) for doc_id, corpus in entries}

    def info(self) -> dict[str, Any]:
        """What the index holds, and where."""
        with self._saying():
            manifest = get(self.store, self.index)
            counts = [(a["corpus"], self._redis.scard(self._key("add", a["key"]))) for a in manifest.adds]
        corpora: dict[str, int] = {}
        for corpus, n in counts:
            corpora[corpus] = corpora.get(corpus, 0) + n
        return {
            "documents": sum(corpora.values()),
            "corpora": {c: n for c, n in sorted(corpora.items()) if n},
            "taken_down": 0 if manifest.removed is None else manifest.removed["count"],
            "url": manifest.place["url"],
            "basename": self._key("lsh"),
        }

    def _key(self, *names: str) -> str:
        return ":".join((self._base, *names))

    @contextlib.contextmanager
    def _saying(self) -> Iterator[None]:
        """Turn a failure of the server into one sentence."""
        from redis.exceptions import RedisError  # noqa: PLC0415 - optional until an index is in Redis

        try:
            yield
        except RedisError as error:
            reason = str(error).partition("\n")[0]
            raise StorageError(
                f"the Redis server at {_without_password(self._url)} does not do what the index {self.index!r} needs: "
                f"{reason}; check that it runs and that --url is right, and run again",
                index=self.index,
            ) from error


def begin(index: str, configuration: Configuration, url: str | None) -> Manifest:
    """The manifest before the first of a new index.

    Raises:
        SpecError: it is not said where Redis is.
    """
    if url is None or urlsplit(url).scheme not in {"redis", "rediss"}:
        raise SpecError(f"an index in Redis needs --url redis://host:port/database, not {url!r}")
    place = {"url": _without_password(url), "base": f"tamis:{index}:{uuid.uuid4().hex[:8]}"}
    return Manifest(0, "redis", configuration, place=place)


def _client(url: str) -> Any:
    from redis import Redis  # noqa: PLC0415 - optional until an index is in Redis

    return Redis.from_url(url)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _member(coming: Coming, row: dict[str, Any]) -> bytes:
    """A member's id: corpus, doc_id, a hash of the sketch, and the add."""
    sketch = xxhash.xxh3_128_hexdigest(row["signature"])
    return _SEPARATOR.join((coming.corpus, row["doc_id"], sketch, coming.key)).encode()


def _parts(member: bytes) -> tuple[str, str, str, str]:
    corpus, doc_id, sketch, add = member.decode().split(_SEPARATOR)
    return corpus, doc_id, sketch, add
