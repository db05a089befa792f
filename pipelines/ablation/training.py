"""Training the cells of an ablation on the engine: a round for each budget, all arms and seeds of a round side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.ablation.cells import Cell, cell_key, root, trunk_key
from pipelines.ablation.prepare import Prepared, ReadyArm
from pipelines.ablation.progress import Standing
from pipelines.ablation.recipe import Recipe
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

    def cell(self, point: Point, recipe: Recipe) -> Cell:
        """The cell of a point: its own run, and the part of a trunk that it leaves where there is one."""
        arm = self._prepared.arm(point.arm)
        seed = point.seed + (OTHER_SEEDS if arm.arm.again else 0)
        settings = recipe.endpoint(point.tokens, seed, point.learning_rate)
        data = {**arm.data, "exhausted": self._prepared.request.exhausted}
        name = cell_key({**data, "measured": self._measured}, settings, recipe.model)
        own = self._job(arm, recipe, settings, str(root(self._prepared.store) / name / "run"))
        what = {
            "arm": arm.name,
            "seed": point.seed,
            "budget": self._prepared.request.budgets[point.budget],
            "tokens": settings.schedule.steps * recipe.batch_tokens,
            "learning_rate": point.learning_rate,
        }
        trunk = self._trunk(arm, recipe, point, seed, data)
        tokenizer = self._prepared.tokenizer.id
        return Cell(self._prepared.store, name, trunk, own, self._prepared.panel.path, self._probes, tokenizer, what)

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
    if not tasks:
        return
    for outcome in _followed(engine().each(tasks), standing):
        cell = tasks[outcome.index]
        if outcome.failure is not None:
            what = cell.what
            raise failed(
                f"training the arm {what['arm']!r} (seed {what['seed']}, {what['budget']} tokens)", outcome, None
            )
        standing.finish(cell)
        watch.say(_said(outcome.value))
        yield cell, outcome.value


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
    """The key of an ablation: the run, the request, and what every arm, the panel and the recipe are."""
    arms = {arm.name: [arm.data, list(tokens[arm.name]), arm.arm.again] for arm in prepared.arms}
    return key(
        {
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
