"""An ablation from its request to its report: prepare, bracket, train in rounds, look, prove, write.

    ablations/{id}/request.json     what was asked, of which run
    ablations/{id}/terms.json       tokens of each arm for each budget, and what they were charged
    ablations/{id}/bracket.json     the learning rates that were tried
    ablations/{id}/ladder.csv       endpoints of every size, where a ladder was asked for
    ablations/{id}/result.json      everything that the report draws; it exists once the ablation is done
    ablations/{id}/report.html, report.json

What is trained is found again (see `cells`), so an interrupted ablation goes on, and one with an arm more trains that arm.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.ablation.bracket import Bracket, bracket
from pipelines.ablation.cells import Cell
from pipelines.ablation.folder import AblationFolder
from pipelines.ablation.looks import Looks
from pipelines.ablation.prepare import Preparation, Prepared, tokenizer_of
from pipelines.ablation.progress import Standing, Told
from pipelines.ablation.recipe import Recipe, recipe_of
from pipelines.ablation.request import AblateRequest
from pipelines.ablation.result import Findings, ladder_rows
from pipelines.ablation.terms import equal_compute, equal_pool, equal_tokens
from pipelines.ablation.training import Cells, Point, experiment_key, train_cells
from pipelines.engine import Engine
from pipelines.learning.session import engine_of
from pipelines.progress import Watch
from pipelines.report.ablation import write_ablation
from pipelines.run import Options
from pipelines.view import RunView
from stages.errors import SpecError, StageError
from trainer.panel import Panel

#: The smaller models of a ladder, as shares of the parameters.
LADDER = (0.25, 0.5)
#: What workers train and evaluate with: seconds of imports, once for all of them.
PRELOAD = ("trainer.train", "trainer.evaluate")


def ablate(run: RunView, request: AblateRequest, options: Options, watch: Watch) -> dict[str, Any]:
    """Train the arms of a request over a run, and give the result; a finished ablation is found and given at once.

    Raises:
        SpecError: an arm cannot be made of the run, there is no tokenizer, or an arm has too few tokens and may not repeat.
        DataError: an arm or the panel is empty.
        StageError: a run failed, or every learning rate of the bracket diverged.
        StorageError: the store cannot be read or written, or the disk is full.
    """
    told = Told(watch)
    with engine_of(options, told, preload=PRELOAD) as engine:
        prepared = Preparation(run, request, engine, options, told).prepare(tokenizer_of(run, request))
        recipe = recipe_of(request, int(prepared.tokenizer.identity["vocabulary"]))
        return _Ablation(prepared, recipe, engine, told).result()


@dataclass
class _Ablation:
    """One ablation at work."""

    prepared: Prepared
    recipe: Recipe
    engine: Callable[[], Engine]
    watch: Told

    @property
    def request(self) -> AblateRequest:
        return self.prepared.request

    def result(self) -> dict[str, Any]:
        """Train what is not there, and assemble the result."""
        self._cells = Cells(self.prepared)
        equal = self._equal()
        folder = AblationFolder.of(self.prepared, experiment_key(self.prepared, self.recipe, equal))
        if (done := folder.find("result.json")) is not None:
            return dict(done)
        smaller = self._smaller()
        if self.request.equal != "compute":  # what compute leaves is known once the baseline was trained
            self._check(self._terms(None), [self.recipe, *smaller])
        folder.put("request.json", {"run": self.prepared.run.run, "request": self.request.model_dump(mode="json")})
        found = self._bracket()
        if found is not None:
            folder.put("bracket.json", found.json())
            self.recipe = replace(self.recipe, learning_rate=found.chosen)
        rate = self._seconds_per_token(found)
        known = folder.put("terms.json", {"cpu_seconds_per_token": rate, "tokens": self._terms(rate)})
        tokens = {name: tuple(each) for name, each in known["tokens"].items()}
        self._check(tokens, [self.recipe, *smaller])
        findings = self._rounds(tokens)
        findings.bracket, findings.seconds_per_token = found, known["cpu_seconds_per_token"]
        if self.request.ladder:
            folder.put_csv("ladder.csv", ladder_rows([*self._ladder(smaller, tokens), findings]))
        done = {"ablation": folder.name, **findings.json()}
        write_ablation(self.prepared.store, folder.path(""), done)
        return dict(folder.put("result.json", done))

    def _equal(self) -> dict[str, tuple[int, ...]]:
        """The budgets as asked for, which name the ablation whatever is charged later."""
        return equal_tokens([arm.supply for arm in self.prepared.arms], self.request.budgets)

    def _terms(self, seconds_per_token: float | None) -> dict[str, tuple[int, ...]]:
        supplies = [arm.supply for arm in self.prepared.arms]
        if self.request.equal == "pool":
            lengths = self.prepared.baseline.tokenized.pack.lengths
            known = lengths[lengths >= 0]
            return equal_pool(supplies, self.request.budgets, int(known.sum()) + len(known))
        if self.request.equal == "compute":
            assert seconds_per_token is not None, "the baseline was trained"
            return equal_compute(supplies, self.request.budgets, seconds_per_token)
        return equal_tokens(supplies, self.request.budgets)

    def _check(self, tokens: Mapping[str, Sequence[int]], recipes: Sequence[Recipe]) -> None:
        """Refuse budgets that are too small, too large or too close, before anything is trained on them."""
        for arm, recipe in itertools.product(self.prepared.arms, recipes):
            steps = [recipe.steps(each) for each in tokens[arm.name]]
            if len(set(steps)) < len(steps):
                raise SpecError(
                    f"two budgets of the arm {arm.name!r} come to the same number of steps ({', '.join(map(str, steps))}, of "
                    f"{recipe.batch_tokens:,} tokens); write budgets that are further apart",
                    arm=arm.name,
                )
            wanted = steps[-1] * recipe.batch_tokens
            if self.request.exhausted == "refuse" and wanted > arm.supply.tokens:
                raise SpecError(
                    f"the arm {arm.name!r} has {arm.supply.tokens:,} tokens, and its largest budget of {wanted:,} would take "
                    f"{wanted / arm.supply.tokens:.2f} epochs; lower the budgets, or allow repeats (exhausted: repeat)",
                    arm=arm.name,
                )

    # -- learning rate -----------------------------------------------------------------------------------------------

    def _bracket(self) -> Bracket | None:
        if self.request.learning_rate is not None:
            self.recipe = replace(self.recipe, learning_rate=self.request.learning_rate)
            return None
        found = bracket(self.recipe.learning_rate, self.request.bracket, self._tried)
        if found is None:
            raise StageError(
                "the baseline diverged under every learning rate of the bracket; give lower ones, or a learning rate of "
                "your own (--learning-rate)"
            )
        edge = ", which is the edge of what was tried" if found.edge else ""
        self.watch.say(f"learning rate {found.chosen:.3g}{edge}")
        return found

    def _tried(self, rates: Sequence[float]) -> dict[float, float | None]:
        points = [self._point(self.request.baseline, self.request.seed, 0, rate) for rate in rates]
        losses: dict[float, float | None] = {}
        for cell, record in self._trained(points, self.recipe):
            nats = record["losses"] and sum(record["losses"]["nats"])
            losses[float(cell.what["learning_rate"])] = nats and self._bits(nats)
        return losses

    def _bits(self, nats: float) -> float:
        return nats / (math.log(2) * self.prepared.panel.bytes)

    def _point(self, arm: str, seed: int, budget: int, rate: float, tokens: int | None = None) -> Point:
        asked = self.request.budgets[budget] if tokens is None else tokens
        return Point(arm, seed, budget, asked, rate)

    def _seconds_per_token(self, found: Bracket | None) -> float | None:
        """Processor time of a token of training, measured on the baseline; needed where compute is to be equal."""
        if self.request.equal != "compute":
            return None
        rate = self.recipe.learning_rate if found is None else found.chosen
        point = self._point(self.request.baseline, self.request.seed, 0, rate)
        (_, record), *_ = list(self._trained([point], self.recipe))
        outcome = record["outcome"]
        return float((outcome["cpu_seconds"]) / outcome["tokens"])

    # -- rounds ------------------------------------------------------------------------------------------------------

    def _rounds(self, tokens: Mapping[str, Sequence[int]]) -> Findings:
        panel = Panel.open(self.prepared.store.local(self.prepared.panel.path))
        findings = Findings(self.prepared, self.recipe, {n: tuple(t) for n, t in tokens.items()}, panel)
        every = [self._points(b, tokens) for b in range(len(self.request.budgets))]
        standing = Standing([self._cells.cell(p, self.recipe) for points in every for p in points], self.watch)
        looks = Looks()
        for b, points in enumerate(every):
            for cell, record in self._trained(points, self.recipe, standing):
                findings.records[record["arm"], record["seed"], b] = {**record, "arm": cell.what["arm"]}
            if self.request.looks and b + 1 < len(every):
                seen = looks.at(findings, b)
                self.watch.say(seen.sentence)
                if seen.stop:
                    findings.stopped = seen.sentence
                    break
        return findings

    def _points(self, budget: int, tokens: Mapping[str, Sequence[int]]) -> list[Point]:
        return [
            self._point(arm.name, seed, budget, self.recipe.learning_rate, tokens[arm.name][budget])
            for seed in self.request.seed_list
            for arm in self.prepared.arms
        ]

    def _trained(
        self, points: Sequence[Point], recipe: Recipe, standing: Standing | None = None
    ) -> list[tuple[Cell, dict[str, Any]]]:
        cells = [self._cells.cell(point, recipe) for point in points]
        own = standing or Standing(cells, self.watch)
        found = train_cells(_unlike(cells), self.engine, self.watch, own)
        records = {cell.key: record for cell, record in found}
        # An arm with the documents of another is the same cell under two names.
        return [(cell, {**records[cell.key], **cell.what}) for cell in cells]

    def _smaller(self) -> list[Recipe]:
        """How the smaller models of a ladder are trained; none where none is asked for."""
        found, own = [], self.request
        for share in LADDER if own.ladder else ():
            smaller = own.model_copy(update={"parameters": round(own.parameters * share)})
            try:
                found.append(recipe_of(smaller, int(self.prepared.tokenizer.identity["vocabulary"])))
            except SpecError as error:
                raise SpecError(f"the ladder has a model of {share:g} times the parameters: {error.message}") from error
        return found

    def _ladder(self, smaller: Sequence[Recipe], tokens: Mapping[str, Sequence[int]]) -> list[Findings]:
        """The same arms with smaller models; learning rates follow the dial from the one that was chosen."""
        found = []
        main = recipe_of(self.request, int(self.prepared.tokenizer.identity["vocabulary"]))
        chosen = self.recipe
        for recipe in smaller:
            factor = chosen.learning_rate / main.learning_rate
            self.recipe = replace(recipe, learning_rate=recipe.learning_rate * factor)
            found.append(self._rounds(tokens))
        self.recipe = chosen
        return found


def _unlike(cells: Sequence[Cell]) -> list[Cell]:
    return list({cell.key: cell for cell in cells}.values())
