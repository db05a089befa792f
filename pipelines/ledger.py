"""The ledger: what went in, what came out, what each step took; and the equation that must hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.execute import Execution
from pipelines.judge_run import VERDICT, Judgement
from pipelines.plan import Plan
from pipelines.spec import Limits
from stages.errors import StageError

FORMAT = 1


def ledger_of(
    plan: Plan,
    ingested: Sequence[Mapping[str, Any]],
    execution: Execution,
    judged: Judgement,
    exported: Mapping[str, Any],
) -> dict[str, Any]:
    """The ledger of a run.

    Raises:
        StageError: documents were lost or counted twice (never expected; the run stops rather than lie).
    """
    steps = {name: source_line([r for r in ingested if r["source"] == name]) for name in sorted(plan.spec.sources)}
    for step in plan.steps:
        steps[step.name] = execution.results.total(step, execution.shards)
    names = [*(f"choice-{i}" for i in range(len(plan.policy.one_of))), VERDICT, *(s.name for s in plan.choosers)]
    for name in names:
        steps[name] = execution.results.total(name, execution.shards)
    malformed = sum(r["malformed"]["count"] for r in ingested)
    counts = judged.counts
    total = {
        "documents_in": sum(r["documents_in"] for r in ingested),
        "exported": exported["documents"],
        "rejected": counts["rejected"],
        "quarantined": counts["quarantined"] + malformed,
        "bytes_in": sum(r["bytes_in"] for r in ingested),
        "bytes_exported": exported["bytes"],
        "tokens_exported": exported.get("tokens"),
        "seconds": 0.0,
        "cpu_seconds": round(sum(s["cpu_seconds"] for s in steps.values()) + exported.get("cpu_seconds", 0.0), 6),
        "peak_memory_bytes": max((s["peak_memory_bytes"] for s in steps.values()), default=0),
    }
    check(steps, total)
    return {
        "format": FORMAT,
        "steps": steps,
        "total": total,
        "reasons": {name: numbers["documents"] for name, numbers in counts["reasons"].items()},
        "verdict": counts,
        "malformed": _by_reason(ingested, "malformed"),
        "skipped": _skipped(ingested),
    }


def source_line(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ledger's line for a source: malformed records are its quarantine."""
    bad = sum(r["malformed"]["count"] for r in records)
    documents = sum(r["documents_in"] for r in records)
    return {
        "documents_in": documents,
        "documents_out": sum(s["rows"] for r in records for s in r["shards"]),
        "quarantined": bad,
        "bytes": sum(r["bytes_in"] for r in records),
        "seconds": round(sum(r["seconds"] for r in records), 6),
        "cpu_seconds": round(sum(r["cpu_seconds"] for r in records), 6),
        "peak_memory_bytes": max((r["peak_memory_bytes"] for r in records), default=0),
        "computed_shards": sum(len(r["shards"]) for r in records if not r["cached"]),
        "cached_shards": sum(len(r["shards"]) for r in records if r["cached"]),
    }


def check(steps: Mapping[str, Mapping[str, Any]], total: Mapping[str, Any]) -> None:
    """Make sure that every count adds up.

    Raises:
        StageError: one does not.
    """
    for name, line in steps.items():
        if line["documents_in"] != line["documents_out"] + line["quarantined"]:
            raise StageError(
                f"step {name!r} took {line['documents_in']} documents but accounts for "
                f"{line['documents_out']} and {line['quarantined']} quarantined; report this as a bug",
                step=name,
            )
    accounted = total["exported"] + total["rejected"] + total["quarantined"]
    if total["documents_in"] != accounted:
        raise StageError(
            f"{total['documents_in']} documents went in but {accounted} are accounted for ({total['exported']} exported, "
            f"{total['rejected']} rejected, {total['quarantined']} quarantined); report this as a bug",
            **{k: total[k] for k in ("documents_in", "exported", "rejected", "quarantined")},
        )


def check_drop(counts: Mapping[str, Any], limits: Limits) -> None:
    """Stop before anything is written when the policy rejects more than `max_drop`.

    Raises:
        StageError: it does; names the reasons that reject most.
    """
    judged = counts["kept"] + counts["rejected"]
    if limits.max_drop is None or not judged or counts["rejected"] <= limits.max_drop * judged:
        return
    worst = sorted(counts["reasons"].items(), key=lambda item: -item[1]["documents"])[:3]
    named = ", ".join(f"{name} {numbers['documents']}" for name, numbers in worst)
    raise StageError(
        f"the policy rejects {counts['rejected']} of {judged} documents, more than max_drop ({limits.max_drop:g}) allows "
        f"(most by {named}); mend the rules or raise max_drop",
        rejected=counts["rejected"],
        judged=judged,
    )


def _by_reason(ingested: Sequence[Mapping[str, Any]], what: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in ingested:
        for reason, number in record[what].get("by_reason", {}).items():
            found[reason] = found.get(reason, 0) + number
    return dict(sorted(found.items()))


def _skipped(ingested: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in ingested:
        for reason, number in record.get("skipped", {}).items():
            found[reason] = found.get(reason, 0) + number
    return dict(sorted(found.items()))
