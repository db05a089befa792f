"""One cell of an ablation: an arm, a seed and a budget, trained and evaluated in a worker process.

A cell is named by everything that its numbers depend on and by nothing else, so ablations share cells: a new arm, seed or
budget trains only what is new.

    trained/{key}/record.json        what came of a cell; it exists once the cell is done
    trained/{key}/run/               its checkpoints and logs while it runs, on this machine's disk
    trained/trunk-{key}/{step}/      the trunk that cells of several budgets leave, as far as that step
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.store import Store
from stages.artifacts import PREFIX, find
from stages.fingerprint import key
from stages.tokenization import KIND, Encoder, opened
from trainer.gpus import take_one
from trainer.job import Job, Outcome, Progress
from trainer.settings import ModelSettings, TrainSettings

if TYPE_CHECKING:
    from trainer.evaluate import Scorer

#: Bumped when the same settings give other numbers.
VERSION = 2
#: Of the settings, what changes no number.
UNSEEN = frozenset({"checkpoint_every", "checkpoint_seconds", "keep_steps", "log_every", "tensorboard"})


def cell_key(data: Mapping[str, str], settings: TrainSettings, model: ModelSettings) -> str:
    """The key of a trained run: what it depends on; how often it is logged and kept is not in it."""
    own = settings.model_dump(mode="json", exclude=set(UNSEEN))
    return key({"version": VERSION, "data": dict(data), "model": model.model_dump(mode="json"), "training": own})


def trunk_key(data: Mapping[str, str], settings: TrainSettings, model: ModelSettings) -> str:
    """The key of a trunk, which has no length of its own."""
    schedule = settings.schedule.model_copy(update={"steps": 1, "warmup_steps": settings.schedule.warmup_steps})
    return cell_key(data, settings.model_copy(update={"schedule": schedule}), model)


def root(store: Store) -> Path:
    """Where checkpoints and logs are: in a local store itself, else on this machine's disk."""
    return (Path(store.url) if store.is_local else store.scratch()) / "trained"


def record_path(cell: str) -> str:
    """Where a cell's record is."""
    return f"trained/{cell}/record.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """Trains what its trunk lacks, where it has one, then its own run, and evaluates it. Called again, it goes on.

    trunk: the trunk as far as this cell needs it, whose folder is named by its last step; what: arm, seed and budget, for
    the record. Packs, view and panel are paths in the store, which the worker finds wherever it runs; probes: files; tokenizer: the artifact that makes the probes' tokens.
    """

    store: Store
    key: str
    trunk: Job | None
    own: Job
    panel: str
    probes: tuple[str, ...]
    tokenizer: str
    what: Mapping[str, Any]

    @property
    def steps(self) -> int:
        """Optimizer steps at most: an earlier part of the trunk may be there."""
        return self.own.settings.schedule.steps

    def __call__(self) -> dict[str, Any]:
        """The record of the cell.

        Raises:
            TamisError: the data or the folder is not what it was, or the disk is full.
        """
        path = record_path(self.key)
        if self.store.find(path) is None:
            self.store.create_json(path, self._made())
        record: dict[str, Any] = self.store.get_json(path)
        shutil.rmtree(self.own.folder, ignore_errors=True)
        return record

    def _made(self) -> dict[str, Any]:
        take_one()
        from trainer.train import train  # noqa: PLC0415 - torch is loaded where it trains

        begin_from, own = None, self._here(self.own)
        if self.trunk is not None:
            done = train(self._grafted(self._here(self.trunk)), progress=self._report)
            if done.diverged is not None:
                return self._record(done, None)
            begin_from = done.checkpoint
        outcome = train(own.model_copy(update={"begin_from": begin_from}), progress=self._report)
        if self.trunk is not None:
            self._prune(Path(self.trunk.folder))
        return self._record(outcome, None if outcome.diverged is not None else self._evaluated(outcome))

    def _here(self, job: Job) -> Job:
        """The job with files of this machine."""
        packs = tuple(str(self.store.local(path)) for path in job.packs)
        return job.model_copy(update={"packs": packs, "view": str(self.store.local(job.view))})

    def _grafted(self, trunk: Job) -> Job:
        """The trunk's job, begun from the longest part of it that is there and did not diverge."""
        from trainer.checkpoint import newest  # noqa: PLC0415 - torch is loaded where it trains

        own = Path(trunk.folder)
        for folder in sorted(own.parent.glob("[0-9]*"), reverse=True):
            found = newest(folder)[0] if folder.name < own.name else None
            if found is not None and found.record["state"]["health"]["diverged"] is None:
                return trunk.model_copy(update={"begin_from": str(found.folder)})
        return trunk

    def _prune(self, folder: Path) -> None:
        """Delete shorter parts of the trunk: a longer one is there."""
        from trainer.checkpoint import discard  # noqa: PLC0415 - torch is loaded where it trains

        for other in folder.parent.glob("[0-9]*"):
            if other.name < folder.name:
                discard(other)

    def _evaluated(self, outcome: Outcome) -> dict[str, Any]:
        from trainer.checkpoint import load_model  # noqa: PLC0415 - the same
        from trainer.devices import device  # noqa: PLC0415 - the same
        from trainer.evaluate import Scorer, evaluate  # noqa: PLC0415 - the same
        from trainer.panel import Panel  # noqa: PLC0415 - the same

        panel, began = Panel.open(self.store.local(self.panel)), time.process_time()
        model = load_model(Path(outcome.checkpoint), averaged=outcome.averaged).to(device(0))
        precision = self.own.settings.precision
        nats = evaluate(model, panel, tokenizer=self.tokenizer, precision=precision)
        answers = self._asked(Scorer(model, panel.end_of_text, precision=precision)) if self.probes else {}
        seconds = round(time.process_time() - began, 3)
        return {"panel": panel.key, "nats": [float(x) for x in nats], "probes": answers, "cpu_seconds": seconds}

    def _asked(self, scorer: "Scorer") -> dict[str, Any]:
        """The figures of every probe."""
        from trainer.probes import Probe, ask_all  # noqa: PLC0415 - only where there are probes

        encode = Encoder(opened(self.store, find(self.store, PREFIX + self.tokenizer, KIND)))
        return ask_all(scorer, [Probe.read(path) for path in self.probes], encode)

    def _record(self, outcome: Outcome, losses: Mapping[str, Any] | None) -> dict[str, Any]:
        facts = outcome.model_dump(mode="json", exclude={"checkpoint"})
        return {"format": 1, **self.what, "outcome": facts, "losses": losses}

    def _report(self, progress: Progress) -> None:
        """Leave word of how far it is, for the driver; nothing depends on it."""
        folder = Path(self.own.folder)
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / "progress.new"
        scratch.write_text(progress.model_dump_json())
        scratch.replace(folder / "progress.json")
