"""What the steps of a run have produced: which file holds which column of which shard, and what it cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.plan import Step
from pipelines.shards import Shard

#: Of a commit record, what the driver keeps and a sealed manifest holds.
KEPT = ("rows", "seconds", "cpu_seconds", "peak_memory_bytes", "quarantined", "counts")


@dataclass(frozen=True, slots=True)
class Result:
    """One step's committed sidecar for one shard."""

    path: str
    sha256: str
    facts: Mapping[str, Any]
    cached: bool

    @classmethod
    def of(cls, record: Mapping[str, Any], *, cached: bool) -> "Result":
        """The result that a commit record names."""
        file = record["files"][0]
        return cls(file["path"], file["sha256"], {k: record[k] for k in KEPT if k in record}, cached)

    def json(self) -> dict[str, Any]:
        """The result as data, for a sealed manifest."""
        return {"path": self.path, "sha256": self.sha256, **self.facts}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Result":
        """The result that `json` described; it was found, not computed."""
        return cls(value["path"], value["sha256"], {k: value[k] for k in KEPT if k in value}, cached=True)


@dataclass(slots=True)
class Results:
    """Results by step and shard digest."""

    by_step: dict[str, dict[str, Result]] = field(default_factory=dict)
    #: What the rounds of corpus steps counted and cost, apart from their last.
    notes: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, step: str, shard: str, result: Result) -> None:
        """Note one result."""
        self.by_step.setdefault(step, {})[shard] = result

    def sidecars(self, shard: Shard, columns: Iterable[str]) -> dict[str, str]:
        """Paths of the sidecars that hold the measured ones among `columns`, by full column name."""
        found = {}
        for column in columns:
            step, dot, _ = column.rpartition(".")
            if dot:
                found[column] = self.by_step[step][shard.digest].path
        return found

    def digest(self, step: str, shard: str) -> str:
        """SHA-256 of a step's sidecar."""
        return self.by_step[step][shard].sha256

    def quarantined(self, shard: str) -> dict[int, dict[str, Any]]:
        """The rows of a shard that broke a step, with the first step that each broke."""
        rows: dict[int, dict[str, Any]] = {}
        for step, found in self.by_step.items():
            for entry in found[shard].facts.get("quarantined", []) if shard in found else []:
                rows.setdefault(entry["row"], {**entry, "step": step})
        return rows

    def total(self, step: Step | str, shards: Iterable[Shard]) -> dict[str, Any]:
        """The ledger's line for a step."""
        name = step if isinstance(step, str) else step.name
        found = self.by_step.get(name, {})
        chosen = [(s, found[s.digest]) for s in shards if s.digest in found]
        bad = sum(len(r.facts.get("quarantined", [])) for _, r in chosen)
        rows = sum(s.rows for s, _ in chosen)
        notes = self.notes.get(name, {})
        facts = [notes, *(r.facts for _, r in chosen)]
        counts = {"counts": dict(notes["counts"])} if notes.get("counts") else {}
        return {
            "documents_in": rows,
            "documents_out": rows - bad,
            "quarantined": bad,
            "bytes": sum(s.bytes for s, _ in chosen),
            "seconds": round(sum(f.get("seconds", 0.0) for f in facts), 6),
            "cpu_seconds": round(sum(f.get("cpu_seconds", 0.0) for f in facts), 6),
            "peak_memory_bytes": max((f.get("peak_memory_bytes", 0) for f in facts), default=0),
            "computed_shards": sum(not r.cached for _, r in chosen),
            "cached_shards": sum(r.cached for _, r in chosen),
            **counts,
        }
