"""Looking at an ablation before its last budget: whether every arm is decided already, or hopeless, so that all may stop."""

from dataclasses import dataclass, field
from typing import Any

from scipy import stats  # type: ignore[import-untyped]  # it has no stubs

from pipelines.ablation.result import Findings
from trainer.evidence.sequential import Look, Seen, look
from trainer.evidence.verdict import Decision


@dataclass(slots=True)
class Looks:
    """The looks of one ablation, in order; what one decided stands."""

    decided: dict[str, Decision | None] = field(default_factory=dict)

    def at(self, findings: Findings, budget: int) -> Look:
        """Look at what was trained up to a budget (its place)."""
        budgets = findings.prepared.request.budgets
        evidence = findings.evidence()
        degrees = int(evidence["noise"]["degrees_of_freedom"] or 0)
        seen = [_seen(findings, arm, degrees) for arm in evidence["arms"]]
        shares = [b / budgets[-1] for b in budgets]
        found = look(seen, share=shares[budget], looks=shares, before=self.decided)
        self.decided = dict(found.decided)
        return found


def _seen(findings: Findings, arm: dict[str, Any], degrees: int) -> Seen:
    """What a look knows of an arm: its difference at the largest budget so far."""
    delta = arm["deltas"][-1]
    ready = findings.prepared.arm(arm["name"])
    epochs = findings.tokens[arm["name"]][-1] / ready.supply.tokens
    error = None
    if delta["low"] is not None and delta["high"] is not None:
        error = float((delta["high"] - delta["low"]) / 2 / stats.t.isf(0.025, max(degrees, 1)))
    effect = None if delta["value"] is None else -float(delta["value"])
    return Seen(arm["name"], arm["p"], effect, error, degrees, ordered=ready.chosen.ordered, epochs=epochs)
