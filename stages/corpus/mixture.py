"""Documents of several domains in given proportions, under a budget."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from stages.base import Column, CorpusStage, OptionalColumn, column
from stages.catalog import did_you_mean
from stages.chance import mixed
from stages.errors import SpecError
from stages.flow import TO, Flow, Site, arrived, keys_of, partition_of, row_of, shard_of
from stages.selection.keys import Ints, Mask, Rows, amounts, falling, need_some, numbers, rows_of
from stages.selection.ranking import ranked, scattered, started, summed
from stages.selection.shares import Share, by_temperature, shares

#: The most domains.
MOST = 4096
#: The domain of documents that have none, with `on_null: keep`.
UNKNOWN = "unknown"


class Mixture(CorpusStage):
    """How often each document is read, so that domains have given shares of `amount`.

    The domain is the column `by`. Its share is its weight in `weights`, over their sum; domains that are not named get
    nothing and are counted. Or, with `temperature` T, it is proportional to n^(1/T), where n is what `count` adds up to in
    the domain: 1 leaves the proportions, higher ones even them out (Arivazhagan et al. 2019, arXiv:1907.05019).

    A domain's share is filled with its documents in the order of `score` (highest first, null last, equal ones by
    `doc_id`), without one in an order made of hash(seed, document); the first document that does not fit ends it, so a
    share is met within one document. A domain that has less than its share is read again, whole, up to `max_epochs` times;
    a part of an epoch is its first documents. What it cannot fill is given to the other domains in proportion to their
    weights; what none can fill is counted as `short_of_budget`.

    A document without a domain is not selected (null) with `on_null: drop`, the default; with `keep` they are a domain
    named `unknown`. Without a count it is never selected (null).

    Counts for every domain: `domain:NAME:documents` and `domain:NAME:amount` as they are read, epochs included, and
    `domain:NAME:target`, the amount that it was to get.

    Bound: a partition of a million documents at 48 bytes, and as much again to sort them; at most 4,096 domains, and a
    row for every partition and domain in one process.
    """

    kind: Literal["mixture"] = "mixture"
    writes: ClassVar = pa.schema(
        [
            column("selected", pa.bool_(), "boolean", doc="whether the document is read at all"),
            column("epochs", pa.int64(), "epoch", doc="how often the document is read; 0 if it is not selected"),
            column("domain_weight", pa.float64(), "1", doc="share of the amount that was asked for the domain"),
        ]
    )

    by: Column
    count: Column
    amount: int = Field(ge=0, le=1 << 62)
    weights: dict[str, Annotated[float, Field(ge=0)]] | None = None
    temperature: float | None = Field(default=None, gt=0)
    max_epochs: int = Field(default=1, ge=1, le=1000)
    score: OptionalColumn = None
    seed: int
    on_null: Literal["keep", "drop"] = "drop"

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.weights is None) == (self.temperature is None):
            raise ValueError("give either `weights` for the domains or a `temperature`")
        if self.weights is not None and not any(self.weights.values()):
            raise ValueError("give at least one domain a weight above 0")
        return self

    def reads(self) -> tuple[str, ...]:
        """The domain, the count and the score."""
        return tuple(dict.fromkeys([self.by, self.count, *([self.score] if self.score else [])]))

    def program(self, flow: Flow) -> None:
        """Add up domains, rank documents within them, share out, bring home."""
        offered = flow.at("shards", "rows", self.offer, to="shards")
        without = (offered.counts.get(f"documents_without_{what}", 0) for what in ("domain", "count"))
        need_some(self.kind, offered.rows, dict(zip((self.by, self.count), without, strict=True)))
        rows = scattered(flow, offered)
        sums = flow.at("partitions", "sum", summed, rows, to="one")
        starts = flow.at("one", "starts", started, sums, to="partitions")
        named = flow.at("shards", "domains", _domains, offered, to="partitions")
        domains = flow.at("partitions", "domain-sums", _added, named, to="one")
        plan = flow.at("one", "plan", self.plan, sums, domains, to="partitions")
        answers = flow.at("partitions", "decide", _decided, rows, starts, plan, to="shards")
        flow.settle(arrived, answers)

    # -- rounds -----------------------------------------------------------------------------------------------------

    def offer(self, site: Site) -> tuple[pa.Table, dict[str, int]]:
        """The shard's documents by domain, in the order in which they are to be read, to itself; and counts of the others."""
        table = site.columns(*self.reads())
        amount, counted = amounts(table, self.count, self.kind)
        domain = self._domain(table)
        rows = rows_of(table, np.zeros(len(amount), np.uint64), amount, keys_of(domain))
        if self.score:
            key = falling(*numbers(table, self.score, self.kind))
        else:
            key = mixed(self.seed, self.kind, rows.high, rows.low)
        can: Mask = counted & domain.is_valid().to_numpy()
        rows = Rows(rows.place, rows.group, key, rows.high, rows.low, amount).take(can)
        counts = {
            "documents_without_domain": domain.null_count,
            "documents_without_count": int(np.count_nonzero(~counted)),
        }
        return rows.to_shard(site.number).append_column("domain", domain.filter(pa.array(can))), counts

    def _domain(self, table: pa.Table) -> pa.ChunkedArray:
        """Each document's domain as text."""
        domain = table[self.by]
        if pa.types.is_floating(domain.type) or pa.types.is_nested(domain.type):
            raise SpecError(f"mixture has domains by {self.by!r}, which holds {domain.type}; name a column of names")
        domain = domain.cast(pa.string())
        return domain.fill_null(UNKNOWN) if self.on_null == "keep" else domain

    def plan(self, site: Site, sums: pa.Table, domains: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """What each domain gets, to every partition that holds some of it.

        Raises:
            SpecError: there are too many domains, or a weight is for one that is not there.
        """
        del site
        if domains.num_rows > MOST:
            raise SpecError(
                f"mixture found {domains.num_rows:,} domains in {self.by!r}, more than {MOST:,}; name a coarser column",
                column=self.by,
            )
        has = dict(zip(domains["name"].to_pylist(), domains["amount"].to_pylist(), strict=True))
        documents = dict(zip(domains["name"].to_pylist(), domains["documents"].to_pylist(), strict=True))
        weights = self._weights(has)
        given = shares(has, weights, self.amount, self.max_epochs)
        counts = {f"domain:{name}:target": share.target for name, share in given.items() if share.weight}
        counts["short_of_budget"] = self.amount - sum(counts.values())
        unnamed = [name for name in has if self.weights is not None and name not in self.weights]
        counts["unnamed_domains"] = len(unnamed)
        counts["unnamed_documents"] = sum(documents[name] for name in unnamed)
        return _told(sums, domains, given), counts

    def _weights(self, has: Mapping[str, int]) -> Mapping[str, float]:
        if self.weights is None:
            assert self.temperature is not None
            return by_temperature(has, self.temperature)
        for name in self.weights:
            if has and name not in has:
                raise SpecError(
                    f"mixture has a weight for {name!r}, but no document has that in {self.by!r}"
                    f"{did_you_mean(name, list(has))}",
                    column=self.by,
                )
        return self.weights


def _domains(site: Site, offered: pa.Table) -> pa.Table:
    """What each domain has in the shard."""
    names = offered["domain"].combine_chunks()
    names = pa.concat_arrays(names.chunks) if isinstance(names, pa.ChunkedArray) else names
    names = names.dictionary_encode()
    code, distinct = names.indices.to_numpy(), names.dictionary
    amount = np.zeros(len(distinct), np.int64)
    np.add.at(amount, code, offered["amount"].to_numpy())
    group = keys_of(distinct)
    return pa.table(
        {
            TO: partition_of(group, site.sites["partitions"]),
            "name": distinct,
            "group": group,
            "documents": np.bincount(code, minlength=len(distinct)).astype(np.int64),
            "amount": amount,
        }
    )


def _added(site: Site, named: pa.Table) -> pa.Table:
    """The domains of a partition, each once."""
    del site
    found = named.group_by(["name", "group"], use_threads=False).aggregate([("documents", "sum"), ("amount", "sum")])
    found = found.select(["name", "group", "documents_sum", "amount_sum"])
    found = found.rename_columns(["name", "group", "documents", "amount"])
    return found.append_column(TO, pa.array(np.zeros(found.num_rows, np.int64)))


def _told(sums: pa.Table, domains: pa.Table, given: Mapping[str, Share]) -> pa.Table:
    """Every partition's domains with their shares."""
    named = dict(zip(domains["group"].to_pylist(), domains["name"].to_pylist(), strict=True))
    names = [named[group] for group in sums["group"].to_pylist()]
    told = [given[name] for name in names]
    return pa.table(
        {
            TO: sums["partition"],
            "group": sums["group"],
            "name": pa.array(names, pa.string()),
            "weight": pa.array([s.weight for s in told], pa.float64()),
            "epochs": pa.array([s.epochs for s in told], pa.int64()),
            "rest": pa.array([s.rest for s in told], pa.int64()),
        }
    )


def _decided(site: Site, rows: pa.Table, starts: pa.Table, plan: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """How often each of a partition's documents is read, to its shard; and what each domain gets."""
    del site
    found = ranked(rows, starts)
    groups = plan["group"].to_numpy()
    sort = np.argsort(groups)
    at = sort[np.searchsorted(groups, found.rows.group, sorter=sort)]
    weight, whole, rest = (plan[c].to_numpy()[at] for c in ("weight", "epochs", "rest"))
    once_more = (found.before + found.rows.amount <= rest) & (weight > 0)
    epochs: Ints = whole + once_more
    table = pa.table(
        {
            TO: shard_of(found.rows.place),
            "row": row_of(found.rows.place),
            "selected": epochs > 0,
            "epochs": epochs,
            "domain_weight": weight,
        }
    )
    return table, _counts(plan["name"].to_pylist(), at, epochs, found.rows.amount)


def _counts(names: list[str], at: Ints, epochs: Ints, amount: Ints) -> dict[str, int]:
    documents, amounts_ = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    np.add.at(documents, at, epochs > 0)
    np.add.at(amounts_, at, epochs * amount)
    counts = {
        "selected_documents": int(documents.sum()),
        "selected_amount": int(amounts_.sum()),
    }
    for name, n, total in zip(names, documents.tolist(), amounts_.tolist(), strict=True):
        counts |= {f"domain:{name}:documents": n, f"domain:{name}:amount": total}
    return counts
