"""Pages and parts of pages from templates. Every string that a template prints is made visible and escaped.

A page's template extends `base.html.j2` (blocks: title, head, main) and is given `here`, its entry in the navigation. Nothing of
a page is inline: no script, no style, no event attribute. The policy that goes with every answer would refuse it.
"""

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from markupsafe import Markup

from pipelines import quantities
from pipelines.report.page import templates_of
from pipelines.report.svg import bar
from pipelines.service.pages.assets import address
from pipelines.visible import one_line, preview

TEMPLATES = Path(__file__).parent / "templates"
#: What a page may load and do. Plotly draws some figures from data: images; nothing else comes from anywhere but here.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
#: `same-origin`: with `no-referrer` a browser would send `Origin: null` with our own forms, which are refused then.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie, HX-Request",
}
#: Entries of the navigation: what it is called here, where it is, what it is called there.
NAVIGATION = (
    ("runs", "/runs", "Runs"),
    ("new", "/new", "New"),
    ("labels", "/labels", "Labels"),
    ("ablations", "/ablations", "Ablations"),
    ("artifacts", "/artifacts", "Artifacts"),
)
UNKNOWN = "–"


def page(
    request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """A whole page, or a part of one, as an answer. `token` (who is signed in) comes from the request."""
    token = getattr(request.state, "token", None)
    text = environment().get_template(template).render(request=request, token=token, **values)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), status, HEADERS | (headers or {}))


def known(write: Callable[..., str]) -> Callable[..., str]:
    """The same way of writing, with a dash for what is not known."""

    @functools.wraps(write)
    def written(value: Any, *more: Any) -> str:
        return UNKNOWN if value is None else write(value, *more)

    return written


def time(at: float | None) -> str | Markup:
    """A time in seconds since 1970, in UTC; the page's script adds the reader's own time to it."""
    if at is None:
        return UNKNOWN
    moment = datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"), moment.strftime("%Y-%m-%d %H:%M:%S")
    )


@functools.cache
def environment() -> Environment:
    """The templates of all pages, with their filters and drawings."""
    made = templates_of(TEMPLATES)
    made.filters |= {
        "count": known(quantities.count),
        "size": known(quantities.size),
        "duration": known(quantities.duration),
        "magnitude": quantities.magnitude,
        "value": quantities.value,
        "time": time,
        "preview": known(preview),
        "one_line": known(one_line),
        "yaml": lambda v: yaml.safe_dump(v, sort_keys=False, allow_unicode=True, width=100),
    }
    made.globals |= {
        "share": quantities.share,
        "rate": quantities.rate,
        "bar": bar,
        "static": address,
        "navigation": NAVIGATION,
        "version": version("tamis"),
    }
    return made
