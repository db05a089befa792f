"""What came of a labelling: the artifact, the labels, the curve, what random picks would have needed."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from pipelines.quantities import count
from pipelines.terminal.parts import REJECTED, SOFT, plain, table


def show_labelled(page: Console, done: Mapping[str, Any]) -> None:
    """The screen."""
    page.print(Text.assemble(plain(f"artifact:{done['learner']}", "bold"), "  ", plain(done["artifact"], SOFT)))
    labels = ", ".join(f"{count(n)} {name}" for name, n in done["labels"].items())
    page.print(plain(f"{labels} in {count(done['rounds'])} rounds; {done['stopped']}"), soft_wrap=True)
    for metric in done["metrics"]:
        if metric["value"] is not None:
            page.print(plain(f"{metric['name']}: {_interval(metric)}"), soft_wrap=True)
    for curve in done["curves"][:1]:
        _curve(page, curve)
    for warning in done["warnings"]:
        page.print(plain(warning, REJECTED), soft_wrap=True)
    page.print(plain(f"score with it: {{kind: quality, model: artifact:{done['learner']}}}", SOFT), soft_wrap=True)


def _curve(page: Console, curve: Mapping[str, Any]) -> None:
    """The curve as a table: a row for each number of labels."""
    shown = table(f">{curve['x']}", *(f">{s['name']}" for s in curve["series"]), title=curve["title"])
    by_arm = [{p[0]: p for p in s["points"]} for s in curve["series"]]
    for labels in sorted(set().union(*by_arm)):
        cells = [
            _interval(dict(zip(("x", "value", "low", "high"), a[labels], strict=True))) if labels in a else ""
            for a in by_arm
        ]
        shown.add_row(count(labels), *cells)
    page.print(shown)


def _interval(figure: Mapping[str, Any]) -> str:
    if figure.get("low") is None or figure.get("high") is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
