"""What tests of training are made of: a small pack of tokens, views of it, jobs, and processes that can be killed."""

import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from trainer.checkpoint import listed
from trainer.job import Job, Outcome
from trainer.settings import ModelSettings, OptimizerSettings, Schedule, TrainSettings
from trainer.token_pack import PackWriter
from trainer.view import View

VOCABULARY = 64
MODEL = ModelSettings(vocabulary=VOCABULARY, context=32, layers=2, width=32, heads=2, kv_heads=1, hidden=48)
SETTINGS = TrainSettings(
    schedule=Schedule(steps=24, warmup_steps=4, decay_steps=6),
    optimizer=OptimizerSettings(learning_rate=3e-3),
    batch_sequences=4,
    seed=1,
    precision="fp32",
    checkpoint_seconds=None,
    log_every=1,
)


def make_data(folder: Path, *, seed: int = 0, documents: int = 100, vocabulary: int = VOCABULARY) -> None:
    """A pack of documents with some structure, `shard.pack`, and two views: of all and of every other document."""
    chance = np.random.default_rng(seed)
    lengths = chance.integers(1, 60, documents)
    ids = np.cumsum(chance.integers(0, 3, lengths.sum())) % (vocabulary - 1) + 1
    names = chance.integers(0, 256, (documents, 16)).astype(np.uint8)
    with PackWriter(folder / "shard.pack", vocabulary=vocabulary, end_of_text=0, tokenizer="bpe-test") as writer:
        writer.append(names, lengths, ids, 4 * lengths)
        writer.close()
    View(np.arange(documents), False, "all").save(folder / "all.view")
    View(np.arange(0, documents, 2), False, "half").save(folder / "half.view")


def make_job(folder: Path, name: str = "run", *, view: str = "all", **changes: Any) -> Job:
    """A job over the data in a folder; changes are of `SETTINGS`, or of the job for what it has of its own."""
    own = {key: changes.pop(key) for key in ("begin_from", "stop_after", "exhausted", "model") if key in changes}
    settings = TrainSettings.model_validate({**SETTINGS.model_dump(), **changes})
    given = {"model": MODEL, **own}
    packs = (str(folder / "shard.pack"),)
    return Job(settings=settings, packs=packs, view=str(folder / f"{view}.view"), folder=str(folder / name), **given)


def result(outcome: Outcome) -> dict[str, Any]:
    """Everything of a run that may not depend on how often it was stopped: bytes of its last checkpoint, ledger, losses."""
    folder = Path(outcome.checkpoint)
    times = {
        "seconds",
        "cpu_seconds",
        "inherited_seconds",
        "inherited_cpu_seconds",
        "wait",
        "tokens_per_second",
        "checkpoint",
    }
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}
    return {**files, **outcome.model_dump(exclude=times)}


def tensors(outcome: Outcome, name: str = "model") -> dict[str, NDArray[Any]]:
    """The tensors of a run's last checkpoint."""
    found: dict[str, NDArray[Any]] = safetensors.numpy.load_file(Path(outcome.checkpoint) / f"{name}.safetensors")
    return found


def steps(folder: Path) -> list[int]:
    """The steps after which there are checkpoints."""
    return [step for step, _ in listed(folder)]


def start(job: Job, failpoints: str = "", **environment: str) -> Any:
    """Train in a process of its own, which starts in a moment because its parent holds torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.train"])
    process = context.Process(target=_train, args=(job, {"TAMIS_FAILPOINTS": failpoints, **environment}))
    process.start()
    return process


def train_in_world(job: Job, size: int) -> Outcome:
    """Train in so many processes, which find each other as torchrun would have them do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"CUDA_VISIBLE_DEVICES": "", "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [start(job, **place, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(size)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * size
    return Outcome.model_validate_json((Path(job.folder) / "outcome.json").read_bytes())


def _train(job: Job, environment: dict[str, str]) -> None:
    from trainer.train import train  # noqa: PLC0415  # the parent of the process has it

    os.environ.update(environment)
    train(job)
