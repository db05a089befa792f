"""What a run did, as numbers (`collect`), as one page (`render`), and both in the run's folder (`write`)."""

from typing import Any

from pipelines.report.collect import collect
from pipelines.view import RunView

__all__ = ["collect", "render", "write"]


def render(report: dict[str, Any]) -> str:
    """The report as one self-contained HTML page."""
    from pipelines.report.page import page  # noqa: PLC0415 - Jinja is only needed where a page is made

    return page(report)


def write(view: RunView) -> None:
    """Put `report.json` and `report.html` into the run's folder; a run that has them keeps them."""
    import orjson  # noqa: PLC0415 - not needed to import the package

    paths = f"runs/{view.run}/report.json", f"runs/{view.run}/report.html"
    if all(view.store.find(path) is not None for path in paths):
        return
    report = collect(view)
    view.store.create(paths[0], orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    view.store.create(paths[1], render(report).encode())
