"""The log of a run: one JSON object a line in `log.jsonl`, which is the truth; TensorBoard's event files on request.

A run that goes on after a kill cuts the log back to its checkpoint, so that every step is in it once.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from trainer.checkpoint import saying

LOG = "log.jsonl"
BOARD = "tensorboard"


class Journal:
    """An open log."""

    def __init__(self, folder: Path, file: IO[str], board: Any | None) -> None:
        self._path = folder / LOG
        self._file = file
        self._board = board

    def write(self, entry: dict[str, Any]) -> None:
        """Append a line.

        Raises:
            StorageError: it cannot be written.

        """
        with saying("write", self._path):
            self._file.write(json.dumps(entry, allow_nan=False) + "\n")
            self._file.flush()
        if self._board is not None:
            with saying("write", self._path.parent / BOARD):
                for name, value in entry.items():
                    if name not in ("step", "steps") and isinstance(value, int | float):
                        self._board.add_scalar(name, value, entry["step"])


@contextlib.contextmanager
def opened(folder: Path, step: int, *, board: bool) -> Iterator[Journal]:
    """The log of the run in a folder, with what is after `step` steps cut off."""
    path = folder / LOG
    with saying("write", path):
        cut(path, step)
        file = path.open("a", encoding="utf-8")
    with contextlib.ExitStack() as stack:
        stack.callback(_close, file, path)
        writer = None
        if board:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # heavy, and only on request

            with saying("write", folder / BOARD):
                writer = SummaryWriter(str(folder / BOARD), purge_step=step + 1)
            stack.callback(_close, writer, folder / BOARD)
        yield Journal(folder, file, writer)


def _close(file: Any, path: Path) -> None:
    """What could not be written is tried again here, and fails again on a full disk."""
    with saying("write", path):
        file.close()


def cut(path: Path, step: int) -> None:
    """Keep the lines up to `step` steps; a torn line, or what a power cut left of it, and what follows it goes too."""
    kept: list[bytes] = []
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n") or (done := _step(line)) is None or done > step:
                break
            kept.append(line)
        making = path.with_suffix(".making")
        making.write_bytes(b"".join(kept))
        making.replace(path)


def _step(line: bytes) -> int | None:
    """After how many steps a line was written; None where it is none of ours."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return None


def entries(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    with saying("read", folder / LOG):
        text = (folder / LOG).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
