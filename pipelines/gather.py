"""The texts that a learner learns from: files at paths become document shards of the store, as those of a run do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.commit import committed
from pipelines.engine import Engine
from pipelines.execute import failed
from pipelines.file_kinds import sources_at
from pipelines.ingest import IngestPack
from pipelines.inputs import packs
from pipelines.progress import Watch
from pipelines.shards import Shard
from pipelines.store import Store
from stages.errors import DataError
from stages.fingerprint import key


@dataclass(frozen=True, slots=True)
class Gathered:
    """Document shards, in the order of the paths, and how many records were no documents."""

    shards: tuple[Shard, ...]
    malformed: int

    @property
    def documents(self) -> int:
        """Documents of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Bytes of text of all shards."""
        return sum(shard.bytes for shard in self.shards)

    def json(self) -> dict[str, Any]:
        """What a card says of the texts: how much, and a key of the content."""
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "malformed": self.malformed,
            "content": key([shard.digest for shard in self.shards]),
        }


def gather(
    store: Store, paths: Sequence[str], engine: Callable[[], Engine], watch: Watch, *, kind: str | None = None
) -> Gathered:
    """The documents of files, folders or globs (local or s3://); `kind` is the source's where names do not tell.

    Raises:
        DataError: a path matches no file, a file cannot be read as its kind, or there is no document at all.
    """
    tasks = [task for path in paths for task in _tasks(store, path, kind)]
    records = run_packs(store, tasks, engine, watch)
    shards = [Shard.from_json(s) for record in records for s in record["shards"]]
    if not any(shard.rows for shard in shards):
        raise DataError(f"there is no document in {', '.join(map(repr, paths))}; name files with text")
    return Gathered(tuple(shards), sum(r["malformed"]["count"] for r in records))


def _tasks(store: Store, path: str, kind: str | None) -> list[IngestPack]:
    """One ingest task for each pack of files at a path."""
    tasks = []
    for source, own in sources_at("texts", path, kind):
        folder = f"steps/texts-{key({'source': 'texts', **source.identity()})}"
        tasks += [
            IngestPack(store, "texts", source, folder, p.name, p.files(own)) for p in packs(own, source.shard_bytes)
        ]
    return tasks


def run_packs(
    store: Store, tasks: Sequence[IngestPack], engine: Callable[[], Engine], watch: Watch
) -> list[dict[str, Any]]:
    """The commit record of every pack, in their order, with whether it was there already (`cached`)."""
    records: list[dict[str, Any] | None] = []
    for task in tasks:
        record = committed(store, task.folder, task.name)
        records.append(None if record is None else record | {"cached": True})
    waiting = [number for number, record in enumerate(records) if record is None]
    done = sum(r["bytes_in"] for r in records if r)
    watch.step("ingest", len(tasks) - len(waiting), len(tasks), done)
    if waiting:
        for outcome in engine().each([tasks[n] for n in waiting]):
            if outcome.failure is not None:
                raise failed("ingest", outcome, None)
            records[waiting[outcome.index]] = outcome.value | {"cached": False}
            done += outcome.value["bytes_in"]
            watch.step("ingest", sum(r is not None for r in records), len(tasks), done)
    return [record for record in records if record is not None]
