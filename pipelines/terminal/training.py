"""Training on a terminal: a bar for each run with its loss, throughput and the time left; elsewhere one line a finished run.

with TrainingScreen(console) as screen:
    train(job, progress=screen.listener("curated, seed 1"))
"""

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from rich.console import Console

from pipelines.quantities import NARROW, count, duration, share
from pipelines.terminal.parts import plain
from pipelines.terminal.watch import bars
from pipelines.visible import one_line
from trainer.job import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID

_NAME = 40


class TrainingScreen:
    """Shows runs under way, however many there are side by side. Use it in a `with` block."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._bars = bars(console)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._bars.stop()

    def listener(self, name: str) -> Callable[[Progress], None]:
        """What `train` calls with the progress of one run."""
        return lambda now: self.show(name, now)

    def show(self, name: str, now: Progress) -> None:
        """Show where the run of that name stands."""
        if not self._console.is_terminal:
            if now.step >= now.steps:
                self._console.print(plain(f"{one_line(name, _NAME)}: {standing(now)}"), soft_wrap=True)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(one_line(name, _NAME), total=now.steps, standing="")
        self._bars.update(self._tasks[name], completed=now.step, total=now.steps, standing=standing(now))


def standing(now: Progress) -> str:
    """`120/600 · 3.482 nats · 491,520 tokens · 5,871 tokens/s · 41 % MFU · 2 steps left out · 1 min 05 s left`."""
    parts = [f"{count(now.step)}/{count(now.steps)}"]
    parts.append("no loss yet" if now.smoothed is None else f"{now.smoothed:.3f}{NARROW}nats")
    parts += [f"{count(now.tokens)} tokens", f"{count(round(now.tokens_per_second))} tokens/s"]
    if now.mfu is not None:
        parts.append(f"{share(now.mfu, 1)} MFU")
    if now.skipped:
        parts.append(f"{count(now.skipped)} step{'s' if now.skipped > 1 else ''} left out")
    if now.spikes:
        parts.append(f"{count(now.spikes)} spike{'s' if now.spikes > 1 else ''}")
    parts.append("done" if now.step >= now.steps else f"{duration(now.seconds_left)} left")
    return " · ".join(parts)
