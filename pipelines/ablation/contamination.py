"""Which documents of a run share text with which panel documents: measured once, shard by shard, for every arm alike.

    steps/contamination-{key}/{shard}.{attempt}.parquet    the pairs of a shard, `PAIRS`

What an arm is contaminated with follows from its rows alone, so a further arm reads no text.
"""

import functools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.ablation.panel import PanelRecord
from pipelines.commit import Attempt, Record, committed
from pipelines.execute import Execution, failed
from pipelines.passes import Address, peak_memory_bytes
from pipelines.plan import Plan
from pipelines.progress import Watch
from pipelines.shards import Shard, batches
from pipelines.store import Store
from stages.document import KEYS
from stages.errors import StorageError
from stages.fingerprint import key
from stages.overlap import LEAST_JACCARD, MIN_WORDS, NGRAM, Overlap
from trainer.panel import texts

VERSION = 1
#: From this estimated Jaccard index on a document and a panel document are one text in two versions.
NEAR = 0.8
#: A row for each document and each panel document that share something; `row` is the document's in its shard.
PAIRS = pa.schema(
    [
        *KEYS,
        pa.field("row", pa.int64(), nullable=False),
        pa.field("panel_document", pa.int64(), nullable=False),  # its row in the panel
        pa.field("ngrams", pa.int64(), nullable=False),  # distinct ones of the panel document that the document holds
        pa.field("jaccard", pa.float64()),  # null where the sketches share no band
        pa.field("passage", pa.string()),  # words of one of the n-grams
    ]
)
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AuditShard:
    """Compares one shard with the panel and commits the pairs; gives the commit record."""

    store: Store
    shard: Shard
    text: str
    sidecars: Mapping[str, str]
    panel: str
    address: Address

    def __call__(self) -> Record:
        """Compare and commit."""
        began, cpu = time.perf_counter(), time.process_time()
        overlap = _overlap(str(self.store.local(self.panel)))
        pairs = 0
        hit: set[int] = set()
        with Attempt(self.store, self.address.folder, self.address.name) as attempt:
            with attempt.file() as path, pq.ParquetWriter(path, PAIRS, compression="zstd") as writer:
                start = 0
                for batch in batches(self.store, self.shard, ["doc_id", "id", self.text], self.sidecars):
                    found = _shared(overlap, batch, self.text, start)
                    writer.write_table(found)
                    hit.update(found["row"].to_pylist())
                    pairs, start = pairs + found.num_rows, start + batch.num_rows
            return attempt.commit(
                {
                    "rows": self.shard.rows,
                    "pairs": pairs,
                    "documents": len(hit),
                    "seconds": round(time.perf_counter() - began, 6),
                    "cpu_seconds": round(time.process_time() - cpu, 6),
                    "peak_memory_bytes": peak_memory_bytes(),
                }
            )


@functools.lru_cache(maxsize=2)
def _overlap(panel: str) -> Overlap:
    return Overlap.of(texts(panel)["text"].combine_chunks())


def _shared(overlap: Overlap, batch: pa.RecordBatch, text: str, start: int) -> pa.Table:
    """The pairs of one batch of documents; those without text have none."""
    there = np.flatnonzero(batch[text].is_valid().to_numpy(zero_copy_only=False))
    found = overlap.pairs(batch[text].take(pa.array(there)))
    rows = there[found.row_K]
    passages = [None if s < 0 else overlap.sought.text(s) for s in found.stretch_K.tolist()]
    return pa.table(
        [
            batch["doc_id"].take(pa.array(rows)),
            batch["id"].take(pa.array(rows)),
            pa.array(rows + start, pa.int64()),
            pa.array(found.document_K, pa.int64()),
            pa.array(found.ngrams_K, pa.int64()),
            pa.array(found.jaccard_K, pa.float64(), mask=np.isnan(found.jaccard_K)),
            pa.array(passages, pa.string()),
        ],
        schema=PAIRS,
    )


def audit(
    execution: Execution, plan: Plan, panel: PanelRecord, store: Store, watch: Watch, *, text: str | None = None
) -> "Hits":
    """Compare every document of the run, as its text leaves (or in the column `text`), with the panel.

    Raises:
        StageError: a shard cannot be compared.
        StorageError: the store cannot be read or written.
    """
    column = text or plan.text
    step = plan.step(column.rpartition(".")[0]) if "." in column else None
    settings = {"ngram": NGRAM, "min_words": MIN_WORDS, "least_jaccard": LEAST_JACCARD}
    read = [column, step.key] if step else [column]
    folder = f"steps/contamination-{key({'version': VERSION, 'panel': panel.key, 'text': read, **settings})}"
    records: dict[str, Record] = {}
    tasks = []
    for shard in execution.shards:
        name = execution.address(step, shard).name if step else shard.digest
        record = committed(store, folder, name)
        if record is None:
            sidecars = execution.results.sidecars(shard, [column])
            tasks.append(AuditShard(store, shard, column, sidecars, panel.path, Address(folder, name)))
        else:
            records[shard.digest] = record
    if tasks:
        _overlap(str(store.local(panel.path)))  # compiles what workers then load
    watch.step("contamination", len(records), len(execution.shards))
    for outcome in execution.each(tasks):
        task = tasks[outcome.index]
        if outcome.failure is not None:
            raise failed("the contamination audit", outcome, task.shard)
        records[task.shard.digest] = outcome.value
        watch.step("contamination", len(records), len(execution.shards))
    return Hits.of_records(store, panel, [records[s.digest] for s in execution.shards])


@dataclass(frozen=True, slots=True)
class Hits:
    """All pairs of a run, and what of them concerns an arm. Documents are numbered over all shards, as in a token pack.

    pairs: the columns `PAIRS`, with `row` so numbered; domains_D, doc_ids_D: of the panel's documents; panel: its file.
    """

    pairs: pa.Table
    domains_D: tuple[str, ...]
    doc_ids_D: tuple[str, ...]
    panel: str
    cpu_seconds: float

    @classmethod
    def of_records(cls, store: Store, panel: PanelRecord, records: Iterable[Record]) -> "Hits":
        """The pairs that are committed for the shards, in their order."""
        tables, seconds, start = [], 0.0, 0
        for record in records:
            table = _read(store, record["files"][0]["path"])
            at = PAIRS.names.index("row")
            tables.append(table.set_column(at, PAIRS.field(at), pa.array(table["row"].to_numpy() + start, pa.int64())))
            seconds, start = seconds + record["cpu_seconds"], start + record["rows"]
        path = store.local(panel.path)
        known = texts(path)
        return cls(
            pa.concat_tables([PAIRS.empty_table(), *tables]),
            tuple(known["domain"].to_pylist()),
            tuple(known["doc_id"].to_pylist()),
            str(path),
            seconds,
        )

    def of(self, rows: Rows) -> tuple[int, NDArray[np.bool_]]:
        """How many documents of an arm share text with the panel, and which panel documents they share it with, [D].

        Shared is a 13-word sequence (a whole panel document of 8 to 12 words), or nearly the whole text: an estimated
        Jaccard index of `NEAR` or more. `rows` are the arm's documents; repeated ones count once.
        """
        mask = self._own(rows) & self._shared
        hit_D = np.zeros(len(self.doc_ids_D), np.bool_)
        hit_D[self.pairs["panel_document"].to_numpy()[mask]] = True
        return len(np.unique(self.pairs["row"].to_numpy()[mask])), hit_D

    def facts(self, rows: Rows, examples: int = 5) -> dict[str, Any]:
        """What a report says of an arm: counts, the settings behind them, and the pairs that share most.

        Unfindable are panel documents of fewer words than are looked for, which only a copy of all of them can hit.
        """
        documents_hit, hit_D = self.of(rows)
        own = self._own(rows)
        near = own & (self._jaccard >= NEAR)
        return {
            "documents_hit": documents_hit,
            "panel_documents_hit": int(hit_D.sum()),
            "panel_documents": len(hit_D),
            "panel_documents_hit_by_domain": {
                d: int(hit_D[[name == d for name in self.domains_D]].sum()) for d in sorted(set(self.domains_D))
            },
            "near_duplicates": int(near.sum()),
            "unfindable_panel_documents": int((_overlap(self.panel).ngrams_D == 0).sum()),
            "ngram": NGRAM,
            "near_jaccard": NEAR,
            "examples": self._examples(own & self._shared, examples),
        }

    @property
    def _jaccard(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.pairs["jaccard"].to_numpy()
        return np.nan_to_num(found, nan=0.0)

    @property
    def _shared(self) -> NDArray[np.bool_]:
        shared: NDArray[np.bool_] = (self.pairs["ngrams"].to_numpy() > 0) | (self._jaccard >= NEAR)
        return shared

    def _own(self, rows: Rows) -> NDArray[np.bool_]:
        """The pairs of an arm's documents."""
        return np.isin(self.pairs["row"].to_numpy(), rows)

    def _examples(self, mask: NDArray[np.bool_], count: int) -> list[dict[str, Any]]:
        """The pairs that share most n-grams, each panel document once."""
        own = self.pairs.filter(pa.array(mask)).sort_by(
            [("ngrams", "descending"), ("panel_document", "ascending"), ("doc_id", "ascending")]
        )
        found: dict[int, dict[str, Any]] = {}
        for pair in own.to_pylist():
            if len(found) >= count:
                break
            number = pair.pop("panel_document")
            more = {"panel_document": self.doc_ids_D[number], "domain": self.domains_D[number]}
            found.setdefault(number, {k: pair[k] for k in ("doc_id", "id", "ngrams", "jaccard", "passage")} | more)
        return list(found.values())


def _read(store: Store, path: str) -> pa.Table:
    try:
        return pq.read_table(store.open_input(path), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"{path} cannot be read ({error}); delete the folder {path.rpartition('/')[0]} and run the ablation again",
            path=path,
        ) from error
