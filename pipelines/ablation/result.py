"""What an ablation came to: endpoints, curves and what they prove, as the data that its report draws."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np

from pipelines.ablation.arms import parts
from pipelines.ablation.bracket import Bracket
from pipelines.ablation.ordered import part
from pipelines.ablation.prepare import Prepared, ReadyArm, facts
from pipelines.ablation.recipe import Recipe
from trainer.evidence.losses import Losses
from trainer.evidence.step_values import step_values
from trainer.evidence.study import study
from trainer.panel import Panel
from trainer.parameters import count_parameters, flops_per_token
from trainer.repetition import describe

FORMAT = 1
#: Distributions whose version can change a weight or a number.
VERSIONED = ("tamis", "torch", "numpy", "scipy", "tokenizers")
CONTROL, WHOLE = "random", "curated"
Record = Mapping[str, Any]


@dataclass(slots=True)
class Findings:
    """Everything that was trained, as it comes in. `records` are by arm, seed and place of the budget."""

    prepared: Prepared
    recipe: Recipe
    tokens: Mapping[str, tuple[int, ...]]
    panel: Panel
    bracket: Bracket | None = None
    records: dict[tuple[str, int, int], Record] = field(default_factory=dict)
    seconds_per_token: float | None = None
    stopped: str | None = None

    def losses(self, count: int | None = None) -> Losses:
        """The endpoints as one array, of the first `count` budgets (None: of those that were trained).

        NaN where a run is missing or diverged.
        """
        request, arms = self.prepared.request, self.prepared.arms
        budgets = request.budgets[: count or self._reached()]
        shape = (len(arms), request.seeds, len(budgets))
        nats = np.full((*shape, len(self.panel.bytes_D)), np.nan)
        tokens = np.full(shape, np.nan)
        for a, arm in enumerate(arms):
            for s, seed in enumerate(request.seed_list):
                for b in range(len(budgets)):
                    record = self.records.get((arm.name, seed, b))
                    tokens[a, s, b] = self.recipe.steps(self.tokens[arm.name][b]) * self.recipe.batch_tokens
                    if record is not None and record["losses"] is not None:
                        nats[a, s, b] = record["losses"]["nats"]
        return Losses(
            arms=tuple(arm.name for arm in arms),
            seeds=request.seed_list,
            budgets=budgets,
            domains=self.panel.domains,
            nats_ASBD=nats,
            tokens_ASB=tokens,
            flops_ASB=tokens * flops_per_token(self.recipe.model),
            bytes_D=self.panel.bytes_D.astype(np.float64),
            domain_D=self.panel.domain_D.astype(np.int64),
            hit_AD=np.stack([self._hit(arm)[1] for arm in arms]),
            curation_flops_A=self._curation_flops(),
            tokens_D=np.diff(self.panel.offsets_D1).astype(np.float64),
            pool_tokens_A=np.array([self._pool_tokens(arm) for arm in arms]),
        )

    def _curation_flops(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """The processor time of each arm's curation as what training does in that time; None before anything is trained."""
        outcomes = [r["outcome"] for r in self.records.values() if r["losses"] is not None]
        seconds, tokens = sum(o["cpu_seconds"] for o in outcomes), sum(o["tokens"] for o in outcomes)
        if not seconds:
            return None
        rate = tokens * flops_per_token(self.recipe.model) / seconds
        return np.array([arm.supply.curation_cpu_seconds * rate for arm in self.prepared.arms])

    def _pool_tokens(self, arm: ReadyArm) -> float:
        """Tokens of an arm's documents, each once, with the end of each."""
        rows = np.unique(arm.chosen.rows)
        return float(arm.tokenized.pack.lengths_of(rows).sum() + len(rows))

    def _reached(self) -> int:
        """How many budgets were trained."""
        return 1 + max((b for _, _, b in self.records), default=0)

    def _hit(self, arm: ReadyArm) -> tuple[int, np.ndarray[Any, np.dtype[np.bool_]]]:
        return self.prepared.hits[arm.tokenized.pack.key].of(arm.chosen.rows)

    def json(self) -> dict[str, Any]:
        """The result as data; see `pipelines.report.ablation` for who reads it."""
        losses = self.losses()
        clean = np.asarray(~losses.hit_AD.any(axis=0))
        request = self.prepared.request
        return {
            "format": FORMAT,
            "run": self.prepared.run.run,
            "baseline": request.baseline,
            "settings": self._settings(),
            "arms": [self._arm(arm, losses) for arm in self.prepared.arms],
            "endpoints": self._endpoints(losses, clean),
            "curves": self._curves(),
            "learning_rates": None if self.bracket is None else self.bracket.json(),
            "cpu_seconds_per_token": self.seconds_per_token,
            "stopped": self.stopped,
            "evidence": self.evidence(),
            "stages": self._stages(losses),
            "evidence_clean": self._study(losses.only(clean)) if clean.any() and not clean.all() else None,
            "keys": self._keys(),
        }

    def evidence(self) -> dict[str, Any]:
        """What the losses so far prove."""
        return self._study(self.losses())

    def _stages(self, losses: Losses) -> dict[str, Any] | None:
        """What each part of the curation adds, where enough pipelines were trained."""
        members = {a.name: a.arm.stages for a in self.prepared.arms if a.arm.stages is not None}
        whole = frozenset(parts(self.prepared.run.spec.raw))
        if (
            frozenset() not in members.values()
            or whole not in members.values()
            or len(set(members.values())) <= len(whole)
        ):
            return None
        request = self.prepared.request
        found = step_values(losses, members, {}, seed=request.seed, resamples=request.resamples)
        return found if found["steps"] else None

    def _study(self, losses: Losses) -> dict[str, Any]:
        request = self.prepared.request
        names = set(losses.arms)
        without = {arm.name: arm.arm.without for arm in self.prepared.arms if arm.arm.without is not None}
        found: dict[str, Any] = study(
            losses,
            baseline=request.baseline,
            seed=request.seed,
            resamples=request.resamples,
            control=CONTROL if CONTROL in names and request.baseline != CONTROL else None,
            without=without if WHOLE in names else {},
        )
        return found

    def _settings(self) -> dict[str, Any]:
        request, model = self.prepared.request, self.recipe.model
        counted = count_parameters(model)
        domains = self.panel.domains
        return {
            "model": model.model_dump(mode="json"),
            "parameters": {"total": counted.total, "embedding": counted.embedding, "body": counted.body},
            "training": {
                "batch_tokens": self.recipe.batch_tokens,
                "batch_sequences": self.recipe.batch_sequences,
                "warmup_steps": self.recipe.warmup_steps,
                "learning_rate": self.recipe.learning_rate,
                "schedule": request.schedule,
                "decay": request.decay,
                "optimizer": request.optimizer,
                "precision": self.recipe.precision,
            },
            "budgets": list(request.budgets),
            "seeds": list(request.seed_list),
            "panel": [
                {"domain": name, "documents": int(mask.sum()), "bytes": int(self.panel.bytes_D[mask].sum())}
                for name, mask in ((d, self.panel.domain_D == i) for i, d in enumerate(domains))
            ],
            "tokenizer": self.prepared.tokenizer.id,
            "equal": request.equal,
            "exhausted": request.exhausted,
        }

    def _arm(self, arm: ReadyArm, losses: Losses) -> dict[str, Any]:
        tokens = self.tokens[arm.name][: len(losses.budgets)]
        return {
            **facts(arm),
            "epochs": [each / arm.supply.tokens for each in tokens],
            "unique_tokens": [self.unique(arm, each) for each in tokens],
            "contamination": self.prepared.hits[arm.tokenized.pack.key].facts(arm.chosen.rows),
        }

    def unique(self, arm: ReadyArm, tokens: int) -> int:
        """Distinct tokens among so many that an arm is trained on, with the first seed."""
        pack = arm.tokenized.pack
        own = part(arm.view, pack, tokens, seed=self.prepared.request.seed)
        return round(describe(own, pack, (tokens,))[0].unique)

    def _endpoints(self, losses: Losses, clean: np.ndarray[Any, np.dtype[np.bool_]]) -> list[dict[str, Any]]:
        whole, domains = losses.bits_per_byte(), losses.domain_bits_per_byte()
        without = losses.only(clean).bits_per_byte() if clean.any() else np.full(whole.shape, np.nan)
        found = []
        for (name, seed, b), record in sorted(self.records.items()):
            place = (losses.arms.index(name), losses.seeds.index(seed), b)
            outcome = record["outcome"]
            found.append(
                {
                    "arm": name,
                    "seed": seed,
                    "budget": losses.budgets[b],
                    "tokens": int(losses.tokens_ASB[place]),
                    "learning_rate": record["learning_rate"],
                    "bits_per_byte": _known(whole[place]),
                    "bits_per_byte_clean": _known(without[place]),
                    "domains": {d: _known(x) for d, x in zip(losses.domains, domains[place], strict=True)},
                    "probes": {} if record["losses"] is None else record["losses"]["probes"],
                    "flops": _known(losses.flops_ASB[place]),
                    "cpu_seconds": outcome["cpu_seconds"],
                    "inherited_cpu_seconds": outcome["inherited_cpu_seconds"],
                    "tokens_per_second": outcome["tokens_per_second"],
                    "wait": outcome["wait"],
                    "ledger": outcome["ledger"],
                    "diverged": outcome["diverged"],
                }
            )
        return found

    def _curves(self) -> list[dict[str, Any]]:
        """The training loss of each arm and seed on its largest budget."""
        largest: dict[tuple[str, int], tuple[int, Record]] = {}
        for (name, seed, b), record in self.records.items():
            if b >= largest.get((name, seed), (-1, record))[0]:
                largest[name, seed] = (b, record)
        return [
            {"arm": name, "seed": seed, **record["outcome"]["curve"]}
            for (name, seed), (_, record) in sorted(largest.items())
        ]

    def _keys(self) -> dict[str, Any]:
        return {
            "run": self.prepared.run.run,
            "panel": self.prepared.panel.key,
            "tokenizer": self.prepared.tokenizer.id,
            "views": {arm.name: arm.data for arm in self.prepared.arms},
            "request": self.prepared.request.model_dump(mode="json"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
        }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def ladder_rows(findings: Sequence[Findings]) -> list[dict[str, Any]]:
    """Rows for `tamis scaling fit`: one an endpoint, arms in their order, loss in nats a token of the panel."""
    rows = []
    for found in findings:
        losses = found.losses()
        panel_tokens = len(found.panel.ids)
        parameters = count_parameters(found.recipe.model).total
        known = [key for key, record in found.records.items() if record["losses"] is not None]
        places = {key: (losses.arms.index(key[0]), losses.seeds.index(key[1]), key[2]) for key in known}
        for key, place in sorted(
            places.items(), key=lambda one: one[1]
        ):  # the baseline first, which a fit compares with
            name, seed, _ = key
            arm = found.prepared.arm(name)
            tokens = int(losses.tokens_ASB[place])
            loss = float(np.sum(losses.nats_ASBD[place]) / panel_tokens)
            row = {"arm": name, "parameters": parameters, "tokens": tokens, "unique_tokens": found.unique(arm, tokens)}
            rows.append({**row, "loss": loss, "seed": seed})
    return rows
