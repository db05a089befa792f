"""Training the cells of an ablation on the engine: a round for each budget, all arms and seeds of a round side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.ablation.cells import VERSION, Cell, cell_key, root, trunk_key
from pipelines.ablation.ordered import part
from pipelines.ablation.prepare import Prepared, ReadyArm, filed
from pipelines.ablation.progress import Standing
from pipelines.ablation.recipe import Recipe
from pipelines.ablation.result import FORMAT
from pipelines.engine import Engine, Outcome
from pipelines.execute import failed
from pipelines.progress import Watch
from stages.fingerprint import file_digest, key
from trainer.job import Job
from trainer.settings import TrainSettings

#: Seeds of the arm `again` are those of its twin and this.
OTHER_SEEDS = 1_000_003


@dataclass(frozen=True, slots=True)
class Point:
    """One endpoint: an arm, a seed and a budget (its place among the request's), and the tokens that these come to."""

    arm: str
    seed: int
    budget: int
    tokens: int
    learning_rate: float


class Cells:
    """Makes the cells of an ablation."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._probes = tuple(str(path) for path in prepared.request.probes)
        #: What endpoints are measured on is in their keys: losses on another panel are other results.
        self._measured = measured_key(prepared)
        self._parts: dict[tuple[str, int, int], ReadyArm] = {}

    def cell(self, point: Point, recipe: Recipe) -> Cell:
        """The cell of a point: its own run, and the part of a trunk that it leaves where there is one."""
        whole = self._prepared.arm(point.arm)
        seed = point.seed + (OTHER_SEEDS if whole.arm.again else 0)
        settings = recipe.endpoint(point.tokens, seed, point.learning_rate)
        tokens = settings.schedule.steps * recipe.batch_tokens
        arm = self._reading(whole, tokens, seed)
        data = {**arm.data, "exhausted": self._prepared.request.exhausted}
        name = cell_key({**data, "measured": self._measured}, settings, recipe.model)
        own = self._job(arm, recipe, settings, str(root(self._prepared.store) / name / "run"))
        what = {
            "arm": arm.name,
            "seed": point.seed,
            "budget": self._prepared.request.budgets[point.budget],
            "tokens": tokens,
            "learning_rate": point.learning_rate,
        }
        # A part of an order is no other budget's beginning.
        trunk = self._trunk(arm, recipe, point, seed, data) if arm.view is whole.view else None
        tokenizer = self._prepared.tokenizer.id
        return Cell(self._prepared.store, name, trunk, own, self._prepared.panel.path, self._probes, tokenizer, what)

    def _reading(self, arm: ReadyArm, tokens: int, seed: int) -> ReadyArm:
        """The arm with the view that it is trained on for so many tokens, in the store."""
        asked = (arm.name, tokens, seed)
        if asked not in self._parts:
            view = part(arm.view, arm.tokenized.pack, tokens, seed=seed)
            own = arm if view is arm.view else replace(arm, view=view, path=filed(self._prepared.store, view))
            self._parts[asked] = own
        return self._parts[asked]

    def _trunk(self, arm: ReadyArm, recipe: Recipe, point: Point, seed: int, data: dict[str, str]) -> Job | None:
        if self._prepared.request.schedule == "cosine":
            return None
        step = recipe.leaves_at(point.tokens)
        settings = recipe.trunk(point.tokens, seed, point.learning_rate, (step,))
        name = f"trunk-{trunk_key(data, settings, recipe.model)}"
        job = self._job(arm, recipe, settings, str(root(self._prepared.store) / name / f"{step:09d}"))
        return job.model_copy(update={"stop_after": step})

    def _job(self, arm: ReadyArm, recipe: Recipe, settings: TrainSettings, folder: str) -> Job:
        exhausted = self._prepared.request.exhausted
        return Job(
            model=recipe.model,
            settings=settings,
            packs=arm.packs,
            view=arm.path,
            folder=folder,
            exhausted=exhausted,
        )


def train_cells(
    cells: Sequence[Cell], engine: Callable[[], Engine], watch: Watch, standing: Standing
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Every cell with its record, as they finish; what was trained before is found.

    Raises:
        TamisError: a cell failed.
    """
    waiting: dict[str, Cell] = {}
    for cell in cells:
        found = cell.store.find_json(f"trained/{cell.key}/record.json")
        if found is None:
            waiting[cell.key] = cell
        else:
            standing.finish(cell)
            yield cell, found
    tasks = list(waiting.values())
    for wave in apart(tasks):
        for outcome in _followed(engine().each(wave), standing):
            cell = wave[outcome.index]
            if outcome.failure is not None:
                what = cell.what
                raise failed(
                    f"training the arm {what['arm']!r} (seed {what['seed']}, {what['budget']} tokens)", outcome, None
                )
            standing.finish(cell)
            watch.say(_said(outcome.value))
            yield cell, outcome.value


def apart(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells in groups that may be trained side by side: in none of them do two share a trunk; shorter ones come first.

    Arms of the same documents share one, and where compute is equal their budgets differ by what their curation cost.
    """
    waves: list[dict[str, Cell]] = []
    for cell in sorted(cells, key=lambda c: c.steps):
        name = cell.key if cell.trunk is None else str(Path(cell.trunk.folder).parent)
        free = next((wave for wave in waves if name not in wave), None)
        if free is None:
            waves.append(free := {})
        free[name] = cell
    return [list(wave.values()) for wave in waves]


def _followed(outcomes: Iterable[Outcome], standing: Standing) -> Iterator[Outcome]:
    with standing.followed():
        yield from outcomes


def _said(record: dict[str, Any]) -> str:
    what = f"{record['arm']}, seed {record['seed']}, {record['tokens']:,} tokens"
    if record["outcome"]["diverged"] is not None:
        return f"{what}: {record['outcome']['diverged']}"
    rate = record["outcome"]["tokens_per_second"]
    return f"{what}: {record['outcome']['loss']:.3f} nats a token in training ({rate:,.0f} tokens/s)"


def measured_key(prepared: Prepared) -> str:
    """The key of what endpoints are measured on: the panel and the probes."""
    return key([prepared.panel.key, [file_digest(Path(path)) for path in prepared.request.probes]])


def experiment_key(prepared: Prepared, recipe: Recipe, tokens: dict[str, tuple[int, ...]]) -> str:
    """The key of an ablation: the run, the request, what every arm, the panel and the recipe are, and how it is trained.

    With another version of the cells or of the evidence a finished ablation is not found, and made again.
    """
    arms = {arm.name: [arm.data, list(tokens[arm.name]), arm.arm.again] for arm in prepared.arms}
    return key(
        {
            "version": [VERSION, FORMAT],
            "run": prepared.run.run,
            "request": prepared.request.identity(),
            "arms": arms,
            "measured": measured_key(prepared),
            "model": recipe.model.model_dump(mode="json"),
            "batch": recipe.batch_sequences,
            "warmup": recipe.warmup_steps,
            "precision": recipe.precision,
        }
    )
