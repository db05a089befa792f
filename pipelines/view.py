"""A run as its readers see it: its documents with every column, whatever file each column is in."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.judging import VERDICT
from pipelines.plan import Plan, plan
from pipelines.runs import FINISHED, RunFolder, find_run
from pipelines.shards import Shard, batches
from pipelines.spec import Spec, from_data
from pipelines.store import Store
from stages.errors import StorageError
from stages.rules import BoundPolicy, Thresholds, parse_rule_file

QUARANTINE = pa.schema(
    [(n, pa.string()) for n in ("doc_id", "id", "source", "path")]
    + [("ordinal", pa.int64())]
    + [(n, pa.string()) for n in ("step", "reason", "message")]
)


@dataclass(frozen=True)
class RunView:
    """A finished run, opened for reading."""

    store: Store
    run: str
    spec: Spec
    plan: Plan
    record: Mapping[str, Any]  # runs/{run}/result.json
    ledger: Mapping[str, Any]

    @classmethod
    def open(cls, store: Store, run: str) -> "RunView":
        """The run with that id, unique prefix, or spec name (its latest run).

        Raises:
            SpecError: no such run, or several.
            StorageError: the run has not finished.
        """
        folder = RunFolder(store, find_run(store, run, finished=True))
        ledger = folder.find(FINISHED)
        if ledger is None:
            raise StorageError(
                f"the run {folder.run} has not finished; run its spec again to resume it", run=folder.run
            )
        request = folder.find("spec.json")
        rules = {name: parse_rule_file(fields, name) for name, fields in request["rules"].items()}
        pinned = {step["name"]: step.get("pinned", {}) for step in store.get_json(folder.path("plan.json"))["steps"]}
        # JSON in a store has sorted keys, but the order of rewriting steps is their chain.
        steps = request["spec"].get("measure") or {}
        raw = request["spec"] | {"measure": {name: steps[name] for name in pinned if name in steps}}
        made = plan(from_data(raw, Path(request["folder"])), rules.__getitem__, pinned=pinned)
        return cls.of(folder, made, ledger)

    @classmethod
    def of(cls, folder: RunFolder, made: Plan, ledger: Mapping[str, Any]) -> "RunView":
        """The run in that folder, with its plan and ledger at hand."""
        return cls(folder.store, folder.run, made.spec, made, folder.find("result.json"), ledger)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """The document shards."""
        return tuple(Shard.from_json(s) for s in self.store.get_json(f"runs/{self.run}/shards.json")["shards"])

    @cached_property
    def _files(self) -> Mapping[str, Mapping[str, str]]:
        return {s["digest"]: s["sidecars"] for s in self.store.get_json(f"runs/{self.run}/shards.json")["shards"]}

    @property
    def text(self) -> str:
        """The column that leaves."""
        return self.plan.text

    @property
    def tokens(self) -> str | None:
        """The column that counts the tokens of what leaves, where there is one."""
        return self.plan.tokens

    @property
    def policy(self) -> BoundPolicy:
        """The rules as bound to this run's columns."""
        return self.plan.policy

    @property
    def thresholds(self) -> Thresholds:
        """Resolved percentiles by reason."""
        found: Thresholds = self.record["thresholds"]
        return found

    @cached_property
    def fields(self) -> dict[str, pa.Field]:
        """Every column by full name."""
        verdict = {f"verdict.{f.name}": f for f in VERDICT}
        choices = {f"choice-{i}.stays": pa.field("stays", pa.string()) for i in range(len(self.policy.one_of))}
        return self.plan.fields() | verdict | choices

    def sidecars(self, shard: Shard, columns: Iterable[str]) -> dict[str, str]:
        """Paths of the sidecars that hold the measured ones among `columns`, by full column name."""
        steps = self._files[shard.digest]
        return {c: steps[c.rpartition(".")[0]] for c in columns if "." in c}

    def batches(self, shard: Shard, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """`doc_id` and the columns of a shard, a row group at a time, in row order."""
        paths = self.sidecars(shard, columns)
        wanted = list(dict.fromkeys(["doc_id", *columns]))
        yield from batches(self.store, shard, wanted, paths)

    def read(self, shard: Shard, columns: Sequence[str]) -> pa.Table:
        """`doc_id` and the columns of a whole shard; for narrow columns."""
        wanted = list(dict.fromkeys(["doc_id", *columns]))
        schema = pa.schema([pa.field(c, self.fields[c].type) for c in wanted])
        return pa.Table.from_batches([b.cast(schema) for b in self.batches(shard, columns)], schema)

    def quarantined(self) -> pa.Table:
        """Every quarantined document and malformed record: where it is, which step, why."""
        rows: list[dict[str, Any]] = list(self.record["quarantined"])
        found = [pa.Table.from_pylist(rows, QUARANTINE)]
        found += [self._malformed(entry["path"]) for entry in self.record["malformed"]]
        return pa.concat_tables(found)

    def _malformed(self, path: str) -> pa.Table:
        import pyarrow.parquet as pq  # noqa: PLC0415 - only where something is malformed

        table = pq.read_table(self.store.open_input(path), use_threads=False)
        columns = {
            "doc_id": table["doc_id"],
            "id": pa.nulls(table.num_rows, pa.string()),
            **{n: table[n] for n in ("source", "path", "ordinal")},
            "step": table["source"],
            **{n: table[n] for n in ("reason", "message")},
        }
        return pa.table(columns).cast(QUARANTINE)
