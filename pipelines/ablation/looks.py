"""Looking at an ablation before its last budget: whether every arm is decided already, or hopeless, so that all may stop."""

from dataclasses import dataclass, field

from pipelines.ablation.result import Findings
from trainer.evidence.looks import Kind, look_at
from trainer.evidence.sequential import Look
from trainer.evidence.verdict import Decision


@dataclass(slots=True)
class Looks:
    """The looks of one ablation, in order; what one decided stands."""

    decided: dict[str, Decision | None] = field(default_factory=dict)

    def at(self, findings: Findings, budget: int) -> Look:
        """Look at what was trained up to a budget (its place); larger budgets are not trained yet."""
        request = findings.prepared.request
        kinds = {
            arm.name: Kind(arm.chosen.ordered, findings.tokens[arm.name][-1] / arm.supply.tokens)
            for arm in findings.prepared.arms
        }
        found = look_at(
            findings.losses(len(request.budgets)),
            request.budgets[budget],
            baseline=request.baseline,
            seed=request.seed,
            kinds=kinds,
            before=self.decided,
        )
        self.decided = dict(found.decided)
        return found
