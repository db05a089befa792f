"""The log of a run: every step once, and one sentence where it cannot be written."""

import json
import resource

import pytest

from stages.errors import StorageError
from trainer.journal import entries, opened


@pytest.fixture
def small_files():
    """No file may be longer than 100 bytes; gives the limits before."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield before
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write(folder, begin, end):
    with opened(folder, begin, board=False) as log:
        for step in range(begin + 1, end + 1):
            log.write({"step": step, "loss": 1 / step})


def test_a_log_that_cannot_be_written_is_one_sentence_and_goes_on_when_there_is_room(tmp_path, small_files):
    with pytest.raises(StorageError) as caught:
        write(tmp_path, 0, 9)
    assert caught.value.message == (
        f"cannot write '{tmp_path}/log.jsonl': File too large; "
        "raise the limit on file sizes and run again; the checkpoints before it stay"
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, small_files)
    write(tmp_path, 2, 9)
    assert [entry["step"] for entry in entries(tmp_path)] == list(range(1, 10))


@pytest.mark.parametrize("left", [b'{"step": 3, "lo', b"\0" * 40 + b"\n", b"7\n", b'{"loss": 2}\n'])
def test_what_a_power_cut_left_in_a_log_is_cut_off_with_what_follows(tmp_path, left):
    write(tmp_path, 0, 2)
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(left + json.dumps({"step": 3}).encode() + b"\n")
    write(tmp_path, 4, 5)
    assert [entry["step"] for entry in entries(tmp_path)] == [1, 2, 5]
