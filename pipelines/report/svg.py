"""Small pieces of SVG. Everything that comes from outside is made visible and escaped here."""

from typing import Any

from markupsafe import Markup, escape

from pipelines.visible import visible


def tag(name: str, *content: str | Markup, **attributes: Any) -> Markup:
    """An element. Underscores in attribute names become hyphens, a trailing one is dropped; None leaves one out."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _number(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(part if isinstance(part, Markup) else escape(visible(part)) for part in content)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, inside)


def drawing(width: float, height: float, label: str, *content: Markup, class_: str) -> Markup:
    """A drawing of a natural size that scales down with the page; `label` says in words what it shows."""
    return tag(
        "svg",
        *content,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        aria_label=visible(label),
        class_=class_,
    )


def bar(parts: list[tuple[float, str]], whole: float, label: str) -> Markup:
    """A horizontal bar of parts (amount, class) of a whole; an amount that is there is never invisible."""
    rects, x = [], 0.0
    for amount, name in parts:
        width = max(100 * amount / whole, 0.4) if whole and amount else 0.0
        rects.append(tag("rect", x=f"{x:.3f}%", y="0", width=f"{width:.3f}%", height="100%", class_=name))
        x += width
    return tag("svg", *rects, role="img", aria_label=visible(label), class_="bar", width="100%", height="8")


def _number(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
