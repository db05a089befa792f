"""The few parts that every screen is made of: plain text, tables without boxes, bars."""

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pipelines.visible import one_line, visible

KEPT, REJECTED, QUARANTINED, SOFT = "green", "dark_orange3", "magenta", "dim"
FATE_STYLES = {"kept": KEPT, "exported": KEPT, "rejected": REJECTED, "quarantined": QUARANTINED}
_EIGHTHS = " ▏▎▍▌▋▊▉"


def plain(text: str, style: str = "", characters: int | None = None) -> Text:
    """Text from anywhere: no markup, no control characters; on one line when a length is given."""
    return Text(visible(text) if characters is None else one_line(text, characters), style=style)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table without boxes; a column whose name begins with '>' is aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style=SOFT, title=title, title_justify="left", title_style="bold")
    for name in columns:
        right = name.startswith(">")
        made.add_column(name.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    return made


class Bar:
    """A horizontal bar of parts (amount, style) of a whole, at most `width` cells; what is there is never invisible."""

    def __init__(self, parts: list[tuple[float, str]], whole: float, width: int = 24) -> None:
        self._parts, self._whole, self._width = parts, whole, width

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self._width, self._width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(self._width, options.max_width)
        used = 0
        for i, (amount, style) in enumerate(self._parts):
            whole_cells = (
                options.ascii_only or i < len(self._parts) - 1
            )  # a fraction would leave a gap to the next part
            text = _cells(amount, self._whole, width - used, of=width, whole_cells=whole_cells)
            text = text.replace("█", "#") if options.ascii_only else text
            used += len(text)
            yield Segment(text, Style.parse(style))
        yield Segment(" " * (width - used))


def _cells(amount: float, whole: float, room: int, *, of: int, whole_cells: bool) -> str:
    if amount <= 0 or whole <= 0 or room <= 0:
        return ""
    length = min(float(room), of * amount / whole)
    if whole_cells:
        return "█" * min(room, max(1, round(length)))
    full, rest = int(length), int((length - int(length)) * 8)
    text = "█" * full + (_EIGHTHS[rest] if rest else "")
    return (text or "▏")[:room]
