"""Checkpoints of a run: folders that appear whole, or not at all.

    {folder}/step-00001000/model.safetensors       trainable parameters by name
                           optimizer.safetensors   what the optimizer keeps, as parameter/quantity
                           average.safetensors     averaged weights, when they are asked for
                           history.safetensors     losses_S: the loss of every step so far, nats a token, float64
                           record.json             what the run is, where it stands, size and hash of the files; written last

A checkpoint is written under another name and renamed when it is complete; it is renamed away before it is deleted. Nothing is
flushed to the disk: what a power cut tore does not match its record, is set aside, and the checkpoint before it is read.
There is no state of random generators, because every step seeds them anew.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.errors import SpecError, StorageError
from stages.failpoints import failpoint
from trainer.averaging import corrected
from trainer.model import Decoder
from trainer.settings import Averaging, ModelSettings
from trainer.tensor_file import fingerprint, read_tensors, write_tensors

FORMAT = 1
RECORD = "record.json"
_NAME = re.compile(r"step-(\d{8,})")
_MAKING, _DELETING, _DAMAGED = ".making-", ".deleting-", "damaged-"
_ADVICE = {
    errno.ENOSPC: "free space there and run again; the checkpoints before it stay",
    errno.EDQUOT: "free space there and run again; the checkpoints before it stay",
    errno.EFBIG: "raise the limit on file sizes and run again; the checkpoints before it stay",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "give this user the right to write there or choose another folder",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
}

_DECODER = "decoder"
_WHAT = {"model": "model", "seed": "seed", "optimizer": "optimizer", "schedule": "schedule"}


class _OtherFormatError(StorageError):
    """Another version of tamis wrote a checkpoint."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that was found to be whole."""

    folder: Path
    record: dict[str, Any]

    @property
    def step(self) -> int:
        """How many steps were done."""
        return int(self.record["step"])

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of one of its files, on the CPU; none when it has no such file."""
        if name not in self.record["files"]:
            return {}
        with saying("read", self.folder):
            return read_tensors(self.folder / f"{name}.safetensors")


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint after so many steps is."""
    return folder / f"step-{step:08d}"


def write(folder: Path, step: int, files: Mapping[str, Mapping[str, Tensor]], record: Mapping[str, Any]) -> Path:
    """Write the checkpoint after `step` steps; gives its folder.

    files: name -> tensors; record: JSON values that `Saved.record` gives back.

    Raises:
        StorageError: it cannot be written; nothing of it stays.

    """
    target = path_of(folder, step)
    making = folder / f"{_MAKING}{uuid.uuid4().hex}"
    with saying("write", target):
        try:
            making.mkdir(parents=True)
            failpoint("trainer.checkpoint.begun")
            written = {}
            for name, tensors in files.items():
                written[name] = write_tensors(making / f"{name}.safetensors", tensors)
                failpoint("trainer.checkpoint.file_written")
            text = json.dumps({"format": FORMAT, "step": step, "files": written, **record}, allow_nan=False)
            (making / RECORD).write_text(text)
            failpoint("trainer.checkpoint.before_rename")
            making.rename(target)
            failpoint("trainer.checkpoint.after_rename")
        except OSError:
            shutil.rmtree(making, ignore_errors=True)
            raise
    return target


def read(folder: Path) -> Saved:
    """The checkpoint in a folder, after its files were compared with its record.

    Raises:
        StorageError: there is none, or it is not whole, or another version of tamis wrote it.

    """
    with saying("read", folder / RECORD):
        text = (folder / RECORD).read_bytes() if (folder / RECORD).exists() else None
    if text is None:
        raise StorageError(
            f"{folder} is no checkpoint: it has no {RECORD}; give a folder like step-00001000", path=str(folder)
        )
    try:
        record = json.loads(text)
        found = record["format"]
        expected = record["files"]
    except (ValueError, KeyError, TypeError):
        raise StorageError(_damaged(folder, f"{RECORD} cannot be read"), path=str(folder)) from None
    if found != FORMAT:
        raise _OtherFormatError(
            f"{folder} is a checkpoint of format {found}, and only {FORMAT} is known; use the version of tamis that wrote "
            "it, or another folder",
            path=str(folder),
        )
    for name, facts in expected.items():
        path = folder / f"{name}.safetensors"
        with saying("read", path):
            if not path.is_file() or fingerprint(path) != facts:
                raise StorageError(_damaged(folder, f"{path.name} is not what was written"), path=str(folder))
    return Saved(folder, record)


def newest(folder: Path) -> tuple[Saved | None, list[str]]:
    """The newest whole checkpoint of a run, and a sentence for each newer one that is damaged and was set aside.

    Raises:
        StorageError: there are checkpoints, but none is whole, or the newest is another version's.

    """
    notes: list[str] = []
    for _, path in reversed(listed(folder)):
        try:
            return read(path), notes
        except _OtherFormatError:
            raise  # it is whole, and somebody's work
        except StorageError as error:
            notes.append(error.message)
            with saying("write", path):
                aside = folder / f"{_DAMAGED}{path.name}"
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
    if notes:
        raise StorageError(f"no checkpoint in {folder} is whole; delete the folder to begin again", notes=notes)
    return None, notes


def listed(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run by name: steps done and folder, in order."""
    if not folder.is_dir():
        return []
    with saying("read", folder):
        matches = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted((int(match[1]), path) for match, path in matches if match)


def prune(folder: Path, keep: Collection[int], last: int = 2) -> None:
    """Delete all but the last checkpoints and those after the steps to keep."""
    for step, path in listed(folder)[:-last]:
        if step in keep:
            continue
        with saying("write", path):
            away = folder / f"{_DELETING}{uuid.uuid4().hex}"
            path.rename(away)
            for file in away.iterdir():
                failpoint("trainer.checkpoint.before_delete")
                file.unlink()
            away.rmdir()
    failpoint("trainer.checkpoint.pruned")


def discard(run: Path) -> None:
    """Delete a run's folder. A kill leaves it as it was, or none under its name: no checkpoint in it is ever torn."""
    with contextlib.suppress(OSError):  # gone already
        run.rename(run.with_name(f"{_DELETING}{uuid.uuid4().hex}"))
    for path in run.parent.glob(f"{_DELETING}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Make a run's folder and hold it for this process; sweep what a killed one left there.

    Raises:
        StorageError: another process trains there, or the folder cannot be written.

    """
    with saying("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another process trains in {folder}; wait for it or choose another folder", path=str(folder)
            ) from None
        with saying("write", folder):
            for path in folder.iterdir():
                if path.name.startswith((_MAKING, _DELETING)):
                    shutil.rmtree(path)
        yield


@contextlib.contextmanager
def saying(verb: str, path: Path) -> Iterator[None]:
    """Turn an OSError into one sentence that names the path."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        reason = os.strerror(number) if number else str(error)
        advice = _ADVICE.get(number, "check the disk and run again")
        raise StorageError(f"cannot {verb} {str(path)!r}: {reason}; {advice}", path=str(path)) from error


def refuse_others(saved: Saved, mine: Mapping[str, Any], *, free: tuple[str, ...] = ()) -> None:
    """Refuse a checkpoint of another run.

    mine: what decides this run's numbers (`trainer.job.identity`); free: sections of it that may differ.

    Raises:
        SpecError: one sentence says what differs.

    """
    theirs = saved.record["identity"]
    fields = [*mine, *(name for name in theirs if name not in mine)]
    for name in fields:
        if name.partition(".")[0] not in free and mine.get(name) != theirs.get(name):
            raise SpecError(
                f"{saved.folder} is a checkpoint of another {_WHAT.get(name.split('.')[0], 'training run')}: "
                f"{name} is {theirs.get(name)!r} there and {mine.get(name)!r} here; "
                "use another folder, or the settings that it was made with",
                field=name,
            )


def decoder_identity(settings: ModelSettings) -> dict[str, Any]:
    """What a checkpoint of our decoder says of its model."""
    return {"kind": _DECODER, **settings.model_dump(mode="json")}


def load_model(folder: Path, *, averaged: bool = False) -> Decoder:
    """Our decoder with the weights of a checkpoint, or with the averaged ones, ready to be evaluated.

    Raises:
        StorageError: the checkpoint is missing or damaged.
        SpecError: it is of another kind of model, or has no averaged weights.

    """
    saved = read(Path(folder))
    facts = dict(saved.record["model"])
    kind = facts.pop("kind")
    if kind != _DECODER:
        raise SpecError(f"{folder} is a checkpoint of a model of kind {kind}, not of our decoder; load it as that")
    model = Decoder(ModelSettings.model_validate(facts))
    load_weights(model, saved, averaged=averaged)
    return model.eval()


def load_weights(model: nn.Module, saved: Saved, *, averaged: bool = False) -> None:
    """Give a model's trainable parameters the values of a checkpoint.

    Raises:
        SpecError: it has no averaged weights.

    """
    found = saved.tensors("model")
    if averaged:
        settings = saved.record["settings"]["averaging"]
        taken = saved.record["state"]["averaged"]
        if not taken:
            raise SpecError(
                f"{saved.folder} has no averaged weights; train with `averaging`, to the end of the schedule"
            )
        found = corrected(saved.tensors("average"), Averaging.model_validate(settings), taken)
    own = weights(model)
    with torch.no_grad():
        for name, value in found.items():
            own[name].copy_(value)


def weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a checkpoint holds: those that are trained."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _damaged(folder: Path, why: str) -> str:
    return f"the checkpoint {folder} is damaged: {why}; use the one before it"
