"""One training loop for every arm: AdamW or Muon, any schedule, one process or many, that resumes bit for bit.

    job = Job(model=..., settings=..., packs=("shard.pack",), view="arm.view", folder="runs/curated-1")
    outcome = train(job, progress=show)

The same call goes on after any interruption: from the newest whole checkpoint in the folder, else from `begin_from`, else from
the initialization. What is computed depends on the job alone, never on when checkpoints are written or processes are killed.
The same loop runs under torchrun: `torchrun --nproc-per-node 2 -m trainer.train JOB.json`.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from stages.errors import SpecError
from trainer import checkpoint
from trainer.averaging import first_averaged
from trainer.data import TokenStream
from trainer.distributed import World, joined
from trainer.exactness import allow_inexact, exact
from trainer.job import Job, Outcome, Progress, identity
from trainer.loop import Loop, Subject
from trainer.memory import keep_freed_memory
from trainer.model import Decoder, flops_per_token, initialize
from trainer.schedule import first_difference
from trainer.settings import Schedule
from trainer.token_pack import TokenPack
from trainer.view import View

Report = Callable[[Progress], None]


class Built(NamedTuple):
    """A model to be trained: it has `loss(tokens_BT, targets_BT, starts_BT)` in nats, and trains what requires gradients."""

    model: nn.Module
    identity: Mapping[str, Any]  # JSON values that decide what the model is
    flops_per_token: float | None
    repeats: bool = True  # whether all of its operations have a deterministic form on GPUs too


Build = Callable[[Job], Built]


def decoder(job: Job) -> Built:
    """Our decoder, initialized by the job's seed."""
    model = Decoder(job.model)
    initialize(model, job.settings.seed)
    return Built(model, checkpoint.decoder_identity(job.model), flops_per_token(job.model))


def train(job: Job, *, progress: Report | None = None, build: Build = decoder) -> Outcome:
    """Train until the job's last step, and say what came of it.

    progress: called every `log_every` steps, by the first process; build: what is trained, our decoder as a rule.

    Raises:
        SpecError: the checkpoint found is of another run, the tokenizer is another one, or the batch cannot be shared.
        DataError: the view is empty or too short.
        StorageError: a checkpoint, the log or the data cannot be read or written.

    """
    keep_freed_memory()
    with joined() as world, exact(world.device):
        stream = _stream(job)
        if world.rank:
            return _run(job, world, stream, progress, build)
        with checkpoint.owned(Path(job.folder)):
            return _run(job, world, stream, progress, build)


def _run(job: Job, world: World, stream: TokenStream, progress: Report | None, build: Build) -> Outcome:
    built = build(job)
    if not built.repeats:
        allow_inexact(world.device)
    keys = {"pack": stream.pack.key, "view": stream.view.key, "exhausted": job.exhausted, "stream": stream.key}
    mine = identity(job, model=built.identity, data=keys)
    loop = Loop(job, world, Subject(built.model, stream, built.flops_per_token, built.identity, mine))
    found, notes = world.agree(_newest(Path(job.folder)) if world.rank == 0 else None)
    if found is not None:
        saved = checkpoint.Saved(*found)
        checkpoint.refuse_others(saved, mine)
        loop.take(saved)
    elif job.begin_from is not None:
        trunk = checkpoint.read(Path(job.begin_from))
        _refuse_trunk(trunk, job, mine)
        loop.take(trunk)
        loop.inherit()
    loop.note(notes)
    return loop.run(progress)


def _stream(job: Job) -> TokenStream:
    """The job's batches, once it is known that the model can read them and that there are enough."""
    settings = job.settings
    pack = TokenPack.open([Path(path) for path in job.packs])
    if pack.vocabulary > job.model.vocabulary:
        raise SpecError(
            f"the tokens of {job.packs[0]} come from {pack.tokenizer}, which has {pack.vocabulary} entries, but the model "
            f"has {job.model.vocabulary}; give the model the vocabulary of its tokenizer"
        )
    stream = TokenStream(
        pack,
        View.load(Path(job.view)),
        context=job.model.context,
        batch_sequences=settings.batch_sequences,
        seed=settings.seed,
        exhausted=job.exhausted,
    )
    stream.require(job.stop)
    return stream


def _newest(folder: Path) -> tuple[tuple[Path, dict[str, Any]] | None, list[str]]:
    saved, notes = checkpoint.newest(folder)
    return (None if saved is None else (saved.folder, saved.record)), notes


def _refuse_trunk(trunk: checkpoint.Saved, job: Job, mine: Mapping[str, Any]) -> None:
    """Refuse a checkpoint from which this job cannot have come.

    Raises:
        SpecError: one sentence says why.

    """
    average = job.settings.averaging
    free = ("schedule",) if average is not None and average.kind == "ema" else ("schedule", "averaging")
    checkpoint.refuse_others(trunk, mine, free=free)
    schedule = Schedule.model_validate(trunk.record["settings"]["schedule"])
    step = first_difference(schedule, job.settings.schedule, trunk.step)
    if step is not None:
        raise SpecError(
            f"{trunk.folder} has done {trunk.step} steps, but its schedule differs from this one's at step {step}; "
            "begin from an earlier checkpoint, or change the schedule after it alone"
        )
    first = first_averaged(average, job.settings.schedule.steps)
    if first is not None and first <= trunk.step:
        raise SpecError(
            f"{trunk.folder} has done {trunk.step} steps, but this run averages its weights from step {first} on; "
            "begin from an earlier checkpoint"
        )


def main() -> None:
    """Train the job in a file, as a process of torchrun; the first one prints the outcome as JSON."""
    outcome = train(Job.model_validate_json(Path(sys.argv[1]).read_bytes()))
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(outcome.model_dump_json() + "\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of the process group that still run abort a process which ends the long way


if __name__ == "__main__":
    main()
