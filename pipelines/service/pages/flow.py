"""Where the documents of a run went, as far as it got: from commit records while it goes on, from its report afterwards.

While a run goes on, its packs and shards are known one by one: `Flowing` reads each record once, so that a look costs one listing
and what is new. Where a verdict depends on the whole corpus (percentiles, one of a cluster, a selection), which of the records
are this run's is known at its end only, and nothing is guessed before.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.plan import plan
from pipelines.run import pack_tasks
from pipelines.runs import RunFolder
from pipelines.service.folders import names_below
from pipelines.spec import from_data
from pipelines.store import Store

#: Runs of which the counts are kept in mind.
KEPT = 16


class Flowing:
    """What one run has read and judged so far. Not for several threads at once."""

    def __init__(self, store: Store, folder: RunFolder) -> None:
        request, files = folder.find("spec.json"), folder.inputs()
        assert files is not None
        planned = plan(from_data(request["spec"], Path(request["folder"])), files=store)
        self._store = store
        self._verdicts = f"{planned.verdict_folder}/commits"
        tasks = pack_tasks(store, planned, files)
        self._packs = {f"{t.folder}/commits/{t.name}.json": t.source_name for t in tasks}
        self._unread = set(self._packs)
        self._unjudged: dict[str, str] = {}  # a shard's digest -> its source
        self.packs = len(tasks)
        self.read: Counter[str] = Counter()  # documents by source
        self.bytes = self.malformed = 0
        self.fates: dict[str, Counter[str]] = {}  # by source
        self.reasons: Counter[str] = Counter()

    def look(self) -> dict[str, Any]:
        """What is known now."""
        for folder in sorted({path.rpartition("/")[0] for path in self._unread}):
            there = names_below(self._store, folder)
            for path in [p for p in self._unread if p.rpartition("/")[0] == folder and p.rpartition("/")[2] in there]:
                self._take_pack(path)
        for name in names_below(self._store, self._verdicts) if self._unjudged else ():
            digest = name.removesuffix(".json")  # others, with more than the digest, may be of another corpus
            if digest in self._unjudged:
                self._take_verdict(name, self._unjudged.pop(digest))
        return self._told()

    def _take_pack(self, path: str) -> None:
        record = self._store.get_json(path)
        self._unread.discard(path)
        self.malformed += record["malformed"]["count"]
        for shard in record["shards"]:
            self.read[self._packs[path]] += shard["rows"]
            self.bytes += shard["bytes"]
            self._unjudged[shard["digest"]] = self._packs[path]

    def _take_verdict(self, name: str, source: str) -> None:
        counts = self._store.get_json(f"{self._verdicts}/{name}")["counts"]
        mine = self.fates.setdefault(source, Counter())
        mine.update({fate: counts[fate] for fate in ("kept", "rejected", "quarantined")})
        self.reasons.update({reason: numbers["documents"] for reason, numbers in counts["reasons"].items()})

    def _told(self) -> dict[str, Any]:
        fates: Counter[str] = sum(self.fates.values(), Counter())
        judged = fates.total()
        rows = [
            {"name": source, "documents": c.total(), **{f: c[f] for f in ("kept", "rejected", "quarantined")}}
            for source, c in sorted(self.fates.items())
        ]
        total = {"documents_in": judged, "exported": fates["kept"], "rejected": fates["rejected"]}
        return {
            "packs": self.packs,
            "packs_read": self.packs - len(self._unread),
            "read": self.read.total(),
            "bytes": self.bytes,
            "malformed": self.malformed,
            "judged": judged,
            "drawing": {
                "total": {**total, "quarantined": fates["quarantined"]},
                "groups": [],
                "several_groups": {"documents": 0},
                "sources": rows,
            },
            "reasons": self.reasons.most_common(),
        }


class Flows:
    """The flows of the runs that somebody looks at."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Flowing] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, store: Store, run: str) -> Mapping[str, Any] | None:
        """What a run has read and judged so far; None before it is planned."""
        folder = RunFolder(store, run)
        if folder.find("plan.json") is None or store.size(folder.path("inputs.parquet")) is None:
            return None
        with self._lock:
            return self._known(store, folder).look()

    def _known(self, store: Store, folder: RunFolder) -> Flowing:
        run = folder.run
        flowing = self._open[run] if run in self._open else Flowing(store, folder)
        self._open[run] = flowing
        self._open.move_to_end(run)
        while len(self._open) > KEPT:
            self._open.popitem(last=False)
        return flowing
