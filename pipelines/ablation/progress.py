"""How far the cells of an ablation are: read from the files that they leave, while the driver waits for them."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.ablation.cells import Cell
from pipelines.progress import Watch

NAME = "train"
SECONDS = 1.0


class Told:
    """A watch that two threads may call."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self._lock = watch, threading.Lock()

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> None:
        """See `Watch`."""
        with self._lock:
            self._watch.step(name, done, total, nbytes)

    def say(self, sentence: str) -> None:
        """See `Watch`."""
        with self._lock:
            self._watch.say(sentence)


class Standing:
    """Tokens done of tokens to do, over all cells of the ablation."""

    def __init__(self, cells: Sequence[Cell], watch: Watch) -> None:
        self._cells = {cell.key: cell for cell in cells}
        self._total = sum(map(_tokens, self._cells.values()))
        self._done: set[str] = set()
        self._watch = watch

    def finish(self, cell: Cell) -> None:
        """Count a cell as done."""
        self._done.add(cell.key)
        self.tell()

    def tell(self) -> None:
        """Tell the watch where the cells stand."""
        found = 0
        for cell in self._cells.values():
            whole = _tokens(cell)
            found += whole if cell.key in self._done else min(whole, _so_far(cell))
        self._watch.step(NAME, found, self._total)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Tell the watch every second, as long as the block runs."""
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(SECONDS):
                self.tell()

        thread = threading.Thread(target=follow, name="ablation-progress", daemon=True)
        self.tell()
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.tell()


def _tokens(cell: Cell) -> int:
    return cell.steps * cell.own.settings.batch_sequences * cell.own.model.context


def _so_far(cell: Cell) -> int:
    """Tokens of a running cell; 0 where it has not begun or its word is being replaced."""
    try:
        return int(json.loads((Path(cell.own.folder) / "progress.json").read_bytes())["tokens"])
    except (OSError, ValueError, KeyError):
        return 0
