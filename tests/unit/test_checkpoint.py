"""Checkpoints appear whole or not at all."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch

from stages.errors import StorageError
from trainer.checkpoint import discard, listed, newest, owned, prune, read, write

FILES = {"model": {"w": torch.arange(6.0).reshape(2, 3)}, "history": {"losses_S": torch.ones(2, dtype=torch.float64)}}


def steps(folder):
    return [step for step, _ in listed(folder)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_gives_back_what_was_written(tmp_path):
    folder = write(tmp_path / "run", 7, FILES, {"identity": {"seed": 1}})
    assert names(folder) == ["history.safetensors", "model.safetensors", "record.json"]
    saved = read(folder)
    assert (saved.step, saved.record["identity"]) == (7, {"seed": 1})
    assert {name: t.tolist() for name, t in saved.tensors("model").items()} == {"w": [[0, 1, 2], [3, 4, 5]]}
    assert saved.tensors("average") == {}


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    assert newest(tmp_path / "nothing") == (None, [])
    for step in (9, 10, 100_000_000):
        write(tmp_path, step, FILES, {})
    saved, notes = newest(tmp_path)
    assert (saved.step, notes) == (100_000_000, [])


def cut(folder):
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)


def flip(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def lose(folder):
    (folder / "history.safetensors").unlink()


def tear(folder):
    path = folder / "record.json"
    path.write_bytes(path.read_bytes()[:20])


def blank(folder):
    path = folder / "record.json"
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut, "model.safetensors is not what was written"),
        (flip, "model.safetensors is not what was written"),
        (lose, "history.safetensors is not what was written"),
        (tear, "record.json cannot be read"),
        (blank, "record.json cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_read(tmp_path, damage, why):
    write(tmp_path, 1, FILES, {})
    damage(write(tmp_path, 2, FILES, {}))
    saved, notes = newest(tmp_path)
    assert saved.step == 1
    assert notes == [f"the checkpoint {tmp_path}/step-00000002 is damaged: {why}; use the one before it"]
    assert names(tmp_path) == ["damaged-step-00000002", "step-00000001"]
    assert newest(tmp_path)[1] == []


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(tmp_path):
    cut(write(tmp_path, 1, FILES, {}))
    with pytest.raises(StorageError, match=r"no checkpoint in .* is whole; delete the folder to begin again"):
        newest(tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(
            StorageError, match=r"is no checkpoint: it has no record.json; give a folder like step-00001000"
        ):
            read(path)


def test_a_checkpoint_of_a_later_format_is_refused_and_stays_where_it_is(tmp_path):
    folder = write(tmp_path, 1, FILES, {})
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "format": 2}))
    for asked in (lambda: read(folder), lambda: newest(tmp_path)):
        with pytest.raises(StorageError, match="is a checkpoint of format 2, and only 1 is known; use the version"):
            asked()
    assert names(tmp_path) == ["step-00000001"]


def test_a_record_that_may_not_be_read_is_one_sentence(tmp_path):
    (tmp_path / "record.json").mkdir()
    with pytest.raises(StorageError, match=r"cannot read '.*record.json': Is a directory; check the disk"):
        read(tmp_path)


def test_the_last_two_checkpoints_and_those_to_keep_stay(tmp_path):
    for step in range(1, 7):
        write(tmp_path, step, FILES, {})
    prune(tmp_path, keep={2, 5})
    assert steps(tmp_path) == [2, 5, 6]
    assert names(tmp_path) == ["step-00000002", "step-00000005", "step-00000006"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with room for one checkpoint and a half."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


LARGE = {"model": {"w": torch.ones(32_000)}}


def test_on_a_full_disk_a_checkpoint_is_one_sentence_and_the_one_before_it_stays(small_disk):
    write(small_disk, 1, LARGE, {})
    with pytest.raises(StorageError) as caught:
        write(small_disk, 2, LARGE, {})
    assert caught.value.message == (
        f"cannot write '{small_disk}/step-00000002': No space left on device; "
        "free space there and run again; the checkpoints before it stay"
    )
    assert names(small_disk) == ["step-00000001"]
    assert newest(small_disk)[0].step == 1


def test_a_limit_on_the_size_of_files_is_one_sentence_too(tmp_path):
    write(tmp_path, 1, LARGE, {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageError) as caught:
            write(tmp_path, 2, LARGE, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.message == (
        f"cannot write '{tmp_path}/step-00000002': File too large; "
        "raise the limit on file sizes and run again; the checkpoints before it stay"
    )
    assert names(tmp_path) == ["step-00000001"]


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    with (
        owned(tmp_path / "run"),
        pytest.raises(StorageError, match=r"another process trains in .*; wait for it or choose another folder"),
        owned(tmp_path / "run"),
    ):
        pass
    with owned(tmp_path / "run"):
        pass


KILLED = """
import os, signal, sys
from pathlib import Path
from trainer.checkpoint import discard
removals = []
def hook(event, _):
    if event == "os.remove":
        removals.append(event)
        if len(removals) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
discard(Path(sys.argv[1]))
"""


def test_a_run_whose_deletion_was_killed_is_gone_and_what_is_left_goes_with_the_next(tmp_path):
    for name in ("short", "long"):
        write(tmp_path / name, 1, FILES, {})
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "short"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert newest(tmp_path / "short") == (None, [])
    assert len(names(tmp_path)) == 2

    discard(tmp_path / "long")
    discard(tmp_path / "long")
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_swept(tmp_path):
    for name in (".making-1", ".deleting-2", "step-00000001", "tensorboard"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with owned(tmp_path):
        assert names(tmp_path) == [".lock", "step-00000001", "tensorboard"]
