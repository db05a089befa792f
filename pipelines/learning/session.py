"""An engine for a command that learns: started when the first work needs it, closed at the end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pipelines.engine import Engine, open_engine
from pipelines.progress import Watch
from pipelines.run import Options


@contextmanager
def engine_of(
    options: Options, watch: Watch, input_bytes: int | None = None, preload: Sequence[str] = ()
) -> Iterator[Callable[[], Engine]]:
    """Gives a function that gives the engine; `input_bytes` helps `auto` choose. preload: see `open_engine`."""
    opened: list[Engine] = []

    def engine() -> Engine:
        if not opened:
            watch.say(f"starting the {options.engine} engine")
            opened.append(open_engine(options.engine, options.workers, options.address, input_bytes, preload))
        return opened[0]

    try:
        yield engine
    finally:
        for one in opened:
            one.close()
