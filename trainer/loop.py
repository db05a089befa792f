"""The steps of a run: forward, backward, guards, update, ledger, log, checkpoint."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.failpoints import failpoint
from trainer import checkpoint, journal
from trainer.averaging import Average
from trainer.data import Batch, Prefetched, TokenStream, prefetched
from trainer.data_ledger import DataLedger
from trainer.devices import name, peak_flops
from trainer.distributed import World, accumulating, collected, shard_like, spread
from trainer.exactness import reseed
from trainer.guards import Health, judge
from trainer.job import Job, Outcome
from trainer.optimizers import Optimizer, blocks
from trainer.reports import Clock, Listener, Reporter, curve
from trainer.schedule import fraction


@dataclass(frozen=True, slots=True)
class Subject:
    """What is trained, and on what."""

    model: nn.Module
    stream: TokenStream
    flops_per_token: float | None
    kind: Mapping[str, Any]  # the model as JSON values
    identity: Mapping[str, Any]  # everything that decides the numbers


class Loop:
    """A run under way: what it does next depends on nothing but what a checkpoint keeps."""

    def __init__(self, job: Job, world: World, subject: Subject) -> None:
        self._job, self._settings, self._world, self._subject = job, job.settings, world, subject
        self._stream = subject.stream
        self._folder = Path(job.folder)
        model = subject.model.to(world.device).train()
        self._loss = spread(model, blocks(model), self._settings, world)
        self._optimizer = Optimizer(model, self._settings.optimizer)
        self._weights = checkpoint.weights(model)
        averaging = self._settings.averaging
        steps = self._settings.schedule.steps
        self._average = None if averaging is None else Average(averaging, self._weights, steps)
        self._done = 0
        self._health = Health()
        self._ledger = DataLedger()
        self._losses: list[float] = []
        self._notes: list[str] = []
        self._clock = Clock()
        self._totals = self._clock.state(0.0, 0.0)
        self._saved_at = 0.0
        self._begun_elsewhere = False

    def take(self, saved: checkpoint.Saved) -> None:
        """Stand where a checkpoint stood."""
        state = saved.record["state"]
        with torch.no_grad():
            for key, value in saved.tensors("model").items():
                self._weights[key].copy_(shard_like(value, self._weights[key]))
        self._optimizer.load(saved.tensors("optimizer"))
        if self._average is not None:
            self._average.load(saved.tensors("average"), state["averaged"])
        self._done = saved.step
        self._health = Health.model_validate(state["health"])
        self._ledger = DataLedger.from_state(state["ledger"])
        self._losses = saved.tensors("history")["losses_S"].tolist()
        self._notes = list(state["notes"])
        self._totals = self._clock.begin(state["clock"])

    def inherit(self) -> None:
        """Begin a branch here: the time so far is the trunk's, and the last weights to be averaged are all to come."""
        self._totals = self._clock.inherit()
        self._begun_elsewhere = True
        averaging = self._settings.averaging
        if self._average is not None and averaging is not None and averaging.kind == "last":
            self._average.load({}, 0)

    def note(self, sentences: list[str]) -> None:
        """Keep sentences for the outcome."""
        self._notes += sentences

    def run(self, listener: Listener | None) -> Outcome:
        """Do the steps that are left, and say what came of the run."""
        if self._done < self._job.stop and self._health.diverged is None:
            with self._reporter(listener) as reporter, self._batches() as batches:
                self._clock.start()
                for batch in batches:
                    self._step(batch, batches, reporter)
                    if self._health.diverged is not None:
                        break
        elif self._begun_elsewhere:
            self._save(0.0)  # a branch without a step of its own: its trunk had diverged, or was done
        outcome = self._outcome()
        if self._world.rank == 0:
            with checkpoint.saying("write", self._folder / "outcome.json"):
                (self._folder / "outcome.json").write_text(outcome.model_dump_json(indent=1))
        return outcome

    def _batches(self) -> Prefetched:
        return prefetched(self._stream, self._done, self._job.stop, self._world.rank, self._world.size)

    @contextlib.contextmanager
    def _reporter(self, listener: Listener | None) -> Iterator[Reporter | None]:
        if self._world.rank:
            yield None
            return
        with journal.opened(self._folder, self._done, board=self._settings.tensorboard) as log:
            reporter = Reporter(log, listener, every=self._settings.log_every, peak=self._peak())
            reporter.start(self._done)
            yield reporter

    def _step(self, batch: Batch, batches: Prefetched, reporter: Reporter | None) -> None:
        """One step: everything after the backward pass waits for two numbers of the device, once."""
        reseed(self._world.device, self._settings.seed, batch.step, self._world.rank)
        nats = self._backward(batch)
        norm = self._optimizer.norm()
        mine, size = torch.stack([nats, norm.to(nats.dtype)]).tolist()
        total, due = self._world.sums([mine, float(self._checkpoint_is_due())])
        loss = total / self._stream.tokens_per_step
        verdict, self._health = judge(self._health, self._settings.guards, step=batch.step, loss=loss, norm=size)
        share = fraction(self._settings.schedule, batch.step)
        if verdict == "update":
            self._optimizer.step(share, size)
        self._optimizer.clear()
        failpoint("trainer.step.updated")
        self._ledger.update(batch)
        self._losses.append(loss)
        self._done = batch.step + 1
        if self._average is not None:
            self._average.update(self._done)
        end = self._done == self._job.stop or self._health.diverged is not None
        if reporter is not None and (end or reporter.due(self._done)):
            facts = {
                "step": self._done,
                "steps": self._job.stop,
                "learning_rate": share * self._settings.optimizer.learning_rate,
                "gradient_norm": size if math.isfinite(size) else None,
                "wait": batches.waited / max(self._clock.elapsed(), 1e-9),
            }
            reporter.report(facts, self._losses, self._health, tokens_per_step=self._stream.tokens_per_step)
        if due or end:
            self._save(batches.waited)

    def _backward(self, batch: Batch) -> Tensor:
        """The gradient of the mean loss over the global batch; gives the sum of this process's nats."""
        place = self._world.device
        parts = (batch.tokens_BT, batch.targets_BT, batch.starts_BT)
        tokens_BT, targets_BT, starts_BT = (torch.from_numpy(part).to(place, non_blocking=True) for part in parts)
        count = len(tokens_BT)
        micro = min(self._settings.micro_sequences or count, count)
        # Wrappers take the mean over processes, so that the sum over all targets is divided by their number in the end.
        scale = self._world.size / self._stream.tokens_per_step
        nats = []
        for begin in range(0, count, micro):
            some = slice(begin, begin + micro)
            with accumulating(self._loss, last=begin + micro >= count):
                with torch.autocast(place.type, torch.bfloat16, enabled=self._settings.precision == "bf16"):
                    part: Tensor = self._loss(tokens_BT[some], targets_BT[some], starts_BT[some])
                (part * scale).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nats.append(part.detach())
        return torch.stack(nats).sum()

    def _checkpoint_is_due(self) -> bool:
        """Whether the step under way ends with a checkpoint; the first process's clock is asked, for all."""
        settings, done = self._settings, self._done + 1
        if self._world.rank:
            return False
        if done in settings.keep_steps or (settings.checkpoint_every and done % settings.checkpoint_every == 0):
            return True
        seconds = settings.checkpoint_seconds
        return seconds is not None and self._clock.elapsed() - self._saved_at >= seconds

    def _save(self, waited: float) -> None:
        """Write a checkpoint, and delete those that are not needed any more."""
        files = {
            "model": {key: collected(value) for key, value in self._weights.items()},
            "optimizer": self._optimizer.state(),
            "history": {"losses_S": torch.tensor(self._losses, dtype=torch.float64)},
        }
        if self._average is not None:
            files["average"] = self._average.state()
        self._totals = self._clock.state(waited, *self._world.sums([self._clock.cpu()]))
        if self._world.rank == 0:
            record = {
                "model": dict(self._subject.kind),
                "identity": dict(self._subject.identity),
                "settings": self._settings.model_dump(mode="json"),
                "state": {
                    "health": self._health.state(),
                    "ledger": self._ledger.state(),
                    "averaged": 0 if self._average is None else self._average.taken,
                    "notes": self._notes,
                    "clock": self._totals,
                },
                "torch": torch.__version__,
            }
            checkpoint.write(self._folder, self._done, files, record)
            checkpoint.prune(self._folder, self._settings.keep_steps)
        self._saved_at = self._clock.elapsed()

    def _peak(self) -> float | None:
        """Tokens a second if every device did its peak all the time."""
        peak, flops = peak_flops(name(self._world.device)), self._subject.flops_per_token
        if peak is None or flops is None or self._settings.precision != "bf16":
            return None
        return peak * self._world.size / flops

    def _outcome(self) -> Outcome:
        clock = self._totals
        size = self._stream.tokens_per_step
        tokens, seconds = self._done * size, clock["seconds"]
        rate, peak = tokens / max(seconds, 1e-9), self._peak()
        return Outcome(
            steps=self._done,
            tokens=tokens,
            loss=self._health.smoothed,
            ledger=self._ledger.digest,
            seconds=seconds,
            cpu_seconds=clock["cpu_seconds"],
            inherited_seconds=clock["inherited_seconds"],
            inherited_cpu_seconds=clock["inherited_cpu_seconds"],
            wait=clock["waited"] / max(seconds, 1e-9),
            tokens_per_second=rate,
            mfu=None if peak is None else rate / peak,
            skipped=self._health.skipped,
            spikes=self._health.spikes,
            averaged=self._average is not None and self._average.taken > 0,
            diverged=self._health.diverged,
            notes=tuple(self._notes),
            checkpoint=str(checkpoint.path_of(self._folder, self._done)),
            curve=curve(self._losses, tokens_per_step=size, every=self._settings.log_every),
        )
