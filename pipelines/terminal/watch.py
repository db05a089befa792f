"""Progress on a terminal: a bar for each step with its rate and the time left; elsewhere one line a finished step."""

import contextlib
import types
from collections.abc import Iterator, Mapping
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from pipelines.progress import Meter, NullWatch, Watch
from pipelines.progress import Progress as Standing
from pipelines.quantities import count, duration, size
from pipelines.terminal.parts import plain
from pipelines.visible import one_line

_NAME = 40


@contextlib.contextmanager
def watching(*, quiet: bool = False) -> Iterator[Watch]:
    """A watch for the length of some work: on the standard error, so that the standard output holds the answer alone."""
    if quiet:
        yield NullWatch()
        return
    with TerminalWatch(Console(stderr=True, highlight=False, markup=False, emoji=False)) as watch:
        yield watch


def bars(console: Console) -> Progress:
    """Bars with a name and where each stands (the field `standing`), on terminals alone."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[standing]}", markup=False, style="dim"),
        console=console,
        disable=not console.is_terminal,
    )


class TerminalWatch:
    """A watch that shows progress on a console. Use it in a `with` block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._meter = Meter()
        self._tasks: dict[str, TaskID] = {}
        self._said: set[str] = set()
        self._bars = bars(console)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._bars.stop()

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> None:
        """Show where a step stands."""
        now = self._meter.step(name, done, total, nbytes)
        if not self._console.is_terminal:
            if done >= total and name not in self._said:
                self._said.add(name)
                self._console.print(plain(f"{one_line(name, _NAME)}: {standing(now)}"), soft_wrap=True)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(one_line(name, _NAME), total=total or 1, standing="")
        shown = {"completed": done if total else 1, "total": total or 1, "standing": standing(now)}
        self._bars.update(self._tasks[name], **shown)  # type: ignore[arg-type]  # rich takes fields as keywords

    def say(self, sentence: str) -> None:
        """Print a sentence above the bars."""
        (self._bars.console if self._console.is_terminal else self._console).print(
            plain(sentence, "dim"), soft_wrap=True
        )


def standing(now: Standing) -> str:
    """`12/64 · 380 MB · 48.2 MB/s · 9.1 s left`; a finished step says how long it took."""
    parts = [f"{count(now.done)}/{count(now.total)}"]
    if now.nbytes:
        parts.append(size(now.nbytes))
    if now.bytes_per_second:
        parts.append(f"{size(now.bytes_per_second)}/s")
    if now.done >= now.total:
        parts.append(duration(now.seconds) if now.bytes_per_second or now.seconds > 1 else "done")
    elif now.seconds_left is not None:
        parts.append(f"{duration(now.seconds_left)} left")
    return " · ".join(parts)


def standing_of(event: Mapping[str, Any]) -> Text:
    """Where an unfinished run stood when it last said so."""
    if "step" not in event:
        return plain(str(event.get("state", "")))
    facts = f"{count(event['done'])}/{count(event['total'])}"
    return plain(f"{event['step']}: {facts}" + (f" · {size(event['bytes'])}" if event.get("bytes") else ""))
