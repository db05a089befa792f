"""The numbers of a report, gathered from a run's stored columns shard by shard.

Memory is bounded: counts, histograms with fixed bins, and hash-chosen documents. Text is read for those documents only;
bytes are those of the text that leaves, which the verdict has for every document. The numbers add up: in = exported + rejected + quarantined.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.report.duplicates import Duplicates
from pipelines.report.facts import facts
from pipelines.report.headline import headline
from pipelines.report.histogram import Histogram, Sampled, binned, numbers
from pipelines.report.rules import RuleCounts, choices, used_numbers
from pipelines.report.selection import Selection
from pipelines.report.tally import FATES, ByGroup, Reasons
from pipelines.sample import Lowest, documents, having, known_reasons
from pipelines.view import RunView
from stages.chance import draw
from stages.errors import DataError

FORMAT = 1
SEED = 0
KEPT_SHOWN = 8
REASON_SHOWN = 3
QUARANTINED_SHOWN = 5
QUARANTINE_ROWS = 200
CHARACTERS = 1200
MESSAGE_CHARACTERS = 400


def collect(view: RunView) -> dict[str, Any]:
    """The report of a run as data, ready for JSON.

    Raises:
        DataError: the stored columns do not add up to the run's ledger.
    """
    gathering = _Gathering.of(view)
    for index, _ in enumerate(view.shards):
        gathering.first_pass(index)
    gathering.duplicates.find()
    histograms = gathering.histograms()
    if histograms:
        for index, _ in enumerate(view.shards):
            gathering.second_pass(index, histograms)
    quarantined = view.quarantined()
    total = _total(view, gathering, quarantined)
    malformed = _malformed(view, quarantined)
    gathering.sources.add_quarantined(malformed["source"])
    gathering.languages.add_quarantined(pa.chunked_array([pa.nulls(malformed.num_rows, pa.string())]))
    report = {
        "format": FORMAT,
        "run": view.run,
        "name": view.spec.name,
        "total": total,
        **gathering.reasons.json(),
        "rules": gathering.rules.json(),
        "choices": choices(view),
        "flow": [{"source": s, "group": g, "documents": n} for (s, g), n in sorted(gathering.reasons.flow.items())],
        "sources": gathering.sources.json(),
        "languages": gathering.languages.json(),
        "language_column": gathering.language,
        "histograms": [gathering.histogram_json(h) for h in histograms if h.column in gathering.ruled],
        **gathering.chosen_documents(),
        **gathering.duplicates_json(histograms),
        **gathering.selection.json(_ledger(view)),
        "quarantine": _quarantine(quarantined),
        "skipped": dict(_ledger(view).get("skipped", {})),
        **facts(view),
    }
    return {"headline": headline(report), **report}


@dataclass(slots=True)
class _Gathering:
    """What one pass over the shards fills."""

    view: RunView
    language: str
    reasons: Reasons
    rules: RuleCounts
    sampled: Sampled
    ruled: list[str]
    duplicates: Duplicates
    kept: Lowest
    by_reason: dict[str, Lowest]
    poison: Lowest
    selection: Selection
    sources: ByGroup = field(default_factory=ByGroup)
    languages: ByGroup = field(default_factory=ByGroup)
    documents: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(FATES), np.int64))
    bytes: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(FATES), np.int64))

    @classmethod
    def of(cls, view: RunView) -> "_Gathering":
        names = known_reasons(view)
        rules, ruled = RuleCounts(view), used_numbers(view)
        duplicates = Duplicates(view, rules)
        return cls(
            view=view,
            language=_language(view),
            reasons=Reasons(names),
            rules=rules,
            sampled=Sampled(list(dict.fromkeys([*ruled, *duplicates.numeric]))),
            ruled=ruled,
            duplicates=duplicates,
            kept=Lowest(KEPT_SHOWN),
            by_reason={name: Lowest(REASON_SHOWN) for name in names},
            poison=Lowest(QUARANTINED_SHOWN),
            selection=Selection(view),
        )

    def first_pass(self, index: int) -> None:
        """Count a shard and consider its documents."""
        table = self.view.read(self.view.shards[index], self._columns())
        fates_N = pc.index_in(table["verdict.fate"], pa.array(FATES)).to_numpy().astype(np.int64)
        bytes_N = _lengths(table)
        self.documents += np.bincount(fates_N, minlength=len(FATES))
        self.bytes += np.bincount(fates_N, weights=bytes_N, minlength=len(FATES)).astype(np.int64)
        self.sources.add(table["source"], fates_N, bytes_N)
        self.languages.add(table[self.language], fates_N, bytes_N)
        self.reasons.add(table["verdict.reasons"], bytes_N, table["source"])
        self.rules.add(table)
        self.selection.add(table)
        drawn_N = draw(SEED, "report", table["doc_id"])
        self.duplicates.add(index, table, fates_N, drawn_N)
        self._choose(index, table, fates_N, drawn_N)
        columns = [numbers(table[c]) for c in self.sampled.columns]
        self.sampled.add(drawn_N, np.stack(columns, axis=1) if columns else np.empty((0, 0)))

    def second_pass(self, index: int, histograms: list[Histogram]) -> None:
        """Count a shard's values into bins."""
        columns = [h.column for h in histograms]
        table = self.view.read(self.view.shards[index], ["verdict.fate", *columns])
        fates_N = pc.index_in(table["verdict.fate"], pa.array(FATES)).to_numpy().astype(np.int64)
        for histogram in histograms:
            histogram.add(numbers(table[histogram.column]), fates_N)

    def histograms(self) -> list[Histogram]:
        """An empty histogram for each column, its edges chosen from the sample."""
        return [
            binned(
                c,
                self.sampled.values(c),
                [*self.rules.thresholds(c), *self.duplicates.thresholds(c)],
                whole=pa.types.is_integer(self.view.fields[c].type),
            )
            for c in self.sampled.columns
        ]

    def histogram_json(self, histogram: Histogram) -> dict[str, Any]:
        """The histogram with the column's unit, its extremes and the thresholds on it."""
        notes = self.view.fields[histogram.column].metadata or {}
        low, high = self.sampled.extremes(histogram.column)
        return {
            **histogram.json(),
            **{key: notes.get(key.encode(), b"").decode() for key in ("unit", "better", "doc")},
            "min": low,
            "max": high,
            "thresholds": [*self.duplicates.marks(histogram.column), *self.rules.marks(histogram.column)],
        }

    def duplicates_json(self, histograms: list[Histogram]) -> dict[str, Any]:
        """What is said of duplicates, each step with the histogram of its own column."""
        by_column = {h.column: h for h in histograms}
        return self.duplicates.json(lambda column: self.histogram_json(by_column[column]), _ledger(self.view))

    def chosen_documents(self) -> dict[str, Any]:
        """Samples by fate and reason; each shard is read once."""
        wanted = [self.kept, self.poison, *self.by_reason.values()]
        places = {p for lowest in wanted for p in lowest.places()}
        order = sorted(places, key=lambda p: (p.shard, p.row))
        found = dict(zip(order, documents(self.view, order, CHARACTERS), strict=True))
        return {
            "samples": {
                "kept": [found[p] for p in self.kept.places()],
                "rejected": {name: [found[p] for p in low.places()] for name, low in self.by_reason.items()},
                "quarantined": [found[p] for p in self.poison.places()],
            }
        }

    def _choose(
        self, index: int, table: pa.Table, fates_N: npt.NDArray[np.int64], drawn_N: npt.NDArray[np.uint64]
    ) -> None:
        self._offer(self.kept, index, fates_N == 0, drawn_N)
        self._offer(self.poison, index, fates_N == FATES.index("quarantined"), drawn_N)
        for name, lowest in self.by_reason.items():
            self._offer(lowest, index, having(table["verdict.reasons"], name), drawn_N)

    @staticmethod
    def _offer(lowest: Lowest, index: int, mask_N: npt.NDArray[np.bool_], drawn_N: npt.NDArray[np.uint64]) -> None:
        rows = np.flatnonzero(mask_N)
        lowest.offer(index, drawn_N[rows], rows)

    def _columns(self) -> list[str]:
        columns = ["verdict.fate", "verdict.reasons", "source", self.language, *self.rules.columns()]
        columns += [*self.duplicates.columns, *self.selection.columns, *self.sampled.columns, "verdict.text_bytes"]
        return list(dict.fromkeys(columns))


def _lengths(table: pa.Table) -> npt.NDArray[np.int64]:
    """UTF-8 bytes of every text that leaves or would have left; 0 where there is none."""
    lengths: npt.NDArray[np.int64] = pc.fill_null(table["verdict.text_bytes"], 0).to_numpy().astype(np.int64)
    return lengths


def _language(view: RunView) -> str:
    """The measured language where a step measures one, else the declared one."""
    steps = [step.name for step in view.plan.steps if step.stage.kind == "language"]
    return f"{steps[-1]}.code" if steps else "lang"


def _ledger(view: RunView) -> Mapping[str, Any]:
    return view.ledger or {}


def _malformed(view: RunView, quarantined: pa.Table) -> pa.Table:
    """Records that never became documents: their step is a source."""
    return quarantined.filter(pc.is_in(quarantined["step"], pa.array(sorted(view.spec.sources), pa.string())))


def _total(view: RunView, gathering: _Gathering, quarantined: pa.Table) -> dict[str, Any]:
    """Totals counted here; checked against the ledger, which adds what only the run knows."""
    kept, rejected, poison = (int(n) for n in gathering.documents)
    malformed = quarantined.num_rows - poison
    counted = {
        "documents_in": int(gathering.documents.sum()) + malformed,
        "exported": kept,
        "rejected": rejected,
        "quarantined": quarantined.num_rows,
    }
    known = _ledger(view).get("total", {})
    for name, n in counted.items():
        if name in known and known[name] != n:
            raise DataError(
                f"run {view.run} has {n:,} documents under {name!r} but its ledger says {known[name]:,}; "
                "its store was changed after the run, run the spec again",
                run=view.run,
                field=name,
            )
    by_fate = {f"bytes_{fate}": int(n) for fate, n in zip(FATES, gathering.bytes, strict=True)}
    return {**known, **counted, "malformed": malformed, **by_fate}


def _quarantine(quarantined: pa.Table) -> dict[str, Any]:
    """How many by step and reason, and the first of them in the order of step, path and ordinal."""
    groups = quarantined.group_by(["step", "reason"], use_threads=False).aggregate([([], "count_all")]).to_pylist()
    order = [("step", "ascending"), ("source", "ascending"), ("path", "ascending"), ("ordinal", "ascending")]
    first = quarantined.sort_by(order).slice(0, QUARANTINE_ROWS).to_pylist()
    by_reason = [{"step": g["step"], "reason": g["reason"], "documents": g["count_all"]} for g in groups]
    return {
        "documents": quarantined.num_rows,
        "by_reason": sorted(by_reason, key=lambda g: (-g["documents"], g["step"], g["reason"])),
        "shown": [{**r, "message": (r["message"] or "")[:MESSAGE_CHARACTERS]} for r in first],
    }
