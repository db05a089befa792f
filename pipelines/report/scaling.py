"""A scaling law as numbers (`text`) and as one self-contained page (`render`): the law, its intervals, what follows for budgets."""

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from pipelines import quantities
from pipelines.report.axis import written
from pipelines.report.curve_figure import class_of, curve_figure, legend
from pipelines.report.learned_card import Curve, Series
from pipelines.report.page import TEMPLATES, environment, policy
from pipelines.report.scale import Scale, digits, interval
from pipelines.report.whisker import whisker

#: Sizes whose curves are drawn, and places of a line.
_SIZES, _PLACES = 5, 40
#: Names of parameters as they are written, and what they are.
PARAMETERS = {
    "E": ("E", "irreducible loss"),
    "A": ("A", "what a model of one parameter would add"),
    "alpha": ("α", "exponent of parameters"),
    "B": ("B", "what a single token would add"),
    "beta": ("β", "exponent of tokens"),
    "repeats": ("R*", "repeats after which tokens are worth little"),
}
APPROACHES = {
    1: "the envelope of all sizes’ curves",
    2: "parabolas over budgets of equal compute",
    3: "the parametric law, β / (α + β)",
}
#: Nested fits in words.
FITS = {
    "shared": "one law for all arms",
    "offset": "each arm its own B (offset)",
    "exponent": "each arm its own β (exponent)",
    "both": "each arm its own B and β",
    "all": "each arm its own B, β and E",
}


def text(found: dict[str, Any]) -> str:
    """The numbers as JSON."""
    return json.dumps(found, ensure_ascii=False, indent=2)


def render(found: dict[str, Any]) -> str:
    """The page of a fit."""
    style = "".join((TEMPLATES / name).read_text("utf-8") for name in ("report.css", "learned.css", "proving.css"))
    fits = found["arms"] or [{**found, "arm": None}]
    return (
        environment()
        .get_template("scaling.html.j2")
        .render(
            found=found,
            fits=[(one, curves(found, one)) for one in fits],
            headline=headline(found),
            answers=answers(found),
            command=command(found),
            digits=digits,
            interval=interval,
            style=Markup(style),  # noqa: S704 - our own file
            policy=policy(style),
            words={"parameters": PARAMETERS, "approaches": APPROACHES, "fits": FITS},
            parted=parted,
            written=written,
            magnitude=quantities.magnitude,
            percent=percent,
            whisker=whisker,
            curve_figure=curve_figure,
            legend=legend,
            class_of=class_of,
        )
    )


def headline(found: dict[str, Any]) -> str:
    """The result in a sentence."""
    if found["quality"]:
        answer = found["quality"]["answer"]
        return f"{answer[0].upper()}{answer[1:]}."
    a = found["exponents"]["parameters"]
    return f"The best model grows as compute to the {estimate(a)}, and loss ends at {estimate(found['E'])}."


def command(found: dict[str, Any]) -> str:
    """What gives the same numbers again."""
    asked = found["asked"]
    parts = ["tamis", "scaling", "fit", "FILE.csv", "--seed", found["seed"], "--bootstrap", found["fit"]["resamples"]]
    if asked["budgets"]:
        parts += ["--budget", *(f"{budget:.15g}" for budget in asked["budgets"])]
    if asked["unique_tokens"]:
        parts += ["--unique-tokens", f"{asked['unique_tokens']:.15g}"]
    if found["quality"]:
        parts += ["--baseline", found["quality"]["baseline"]]
    return shlex.join(map(str, parts))


def answers(found: dict[str, Any]) -> dict[str, Any] | None:
    """What each arm moves, as marks on two common axes."""
    if found["quality"] is None:
        return None
    arms = found["quality"]["arms"]
    multipliers = Scale.of([arm["multiplier"] for arm in arms], 1.0, logarithmic=True)
    exponents = Scale.of([arm["exponent"] for arm in arms], 0.0, logarithmic=False)
    rows = [
        {
            "arm": arm,
            "multiplier": multipliers.mark(arm["multiplier"], f"{arm['arm']}, token multiplier"),
            "exponent": exponents.mark(arm["exponent"], f"{arm['arm']}, difference of beta"),
        }
        for arm in arms
    ]
    return {"rows": rows, "multipliers": multipliers.ruler(), "exponents": exponents.ruler()}


def estimate(one: dict[str, float | None], *, large: bool = False) -> str:
    """A value and its interval: `0.347 (0.317 to 0.373)`."""
    value, interval = parted(one, large=large)
    return f"{value} ({interval})" if interval else value


def parted(one: dict[str, float | None], *, large: bool = False) -> tuple[str, str]:
    """A value and its interval, empty where there is none."""
    written = quantities.magnitude if large else _digits
    value, low, high = (one[key] for key in ("value", "low", "high"))
    return written(value), "" if low is None or high is None else f"{written(low)} to {written(high)}"


def percent(number: float | None) -> str:
    """A part as a percentage with two digits."""
    return "–" if number is None else f"{100 * number:.2g}{quantities.NARROW}%"


def _digits(number: float | None) -> str:
    return quantities.value(None if number is None else float(f"{number:.4g}"))


def curves(found: dict[str, Any], one: dict[str, Any]) -> list[Curve]:
    """The drawings of one arm's fit."""
    points = [p for p in found["points"] if one["arm"] in {None, p["arm"]}]
    return [_by_tokens(points, one), _best(points, one), _errors(points)]


def law(one: dict[str, Any], parameters: float, tokens: float) -> float:
    """The loss that a fit predicts where nothing is repeated."""
    e, a, b, alpha, beta = (one[name]["value"] for name in ("E", "A", "B", "alpha", "beta"))
    return float(e + a * parameters**-alpha + b * tokens**-beta)


def _by_tokens(points: Sequence[dict[str, Any]], one: dict[str, Any]) -> Curve:
    """Loss against tokens of sizes that have most runs, among them the smallest and the largest such."""
    sizes: dict[str, list[dict[str, Any]]] = {}
    for point in sorted(points, key=lambda p: float(p["parameters"])):
        sizes.setdefault(f"{point['parameters']:.2g}", []).append(point)
    several = [own for own in sizes.values() if len(own) > 1] or list(sizes.values())
    count = min(_SIZES, len(several))
    chosen = [several[round(k * (len(several) - 1) / max(1, count - 1))] for k in range(count)]
    series = []
    for own in chosen:
        size, low, high = own[0]["parameters"], *_ends([p["tokens"] for p in own])
        line = [] if one["fit"]["repetition"] else [(d, law(one, size, d)) for d in _between(low, high)]
        dots = [(p["tokens"], p["loss"], None, None) for p in own]
        series.append(Series(name=f"{quantities.magnitude(size)} parameters", points=dots, through=line or None))
    return Curve(
        title="Loss against tokens: runs, and the law",
        x="tokens",
        y="loss",
        series=series,
        log_x=True,
        log_y=True,
        counted=True,
    )


def _best(points: Sequence[dict[str, Any]], one: dict[str, Any]) -> Curve:
    """The best size against compute by each approach."""
    flops = [6 * p["parameters"] * p["tokens"] for p in points] + [o["flops"] for o in one["optimal"]]
    a, b, alpha, beta = (one[name]["value"] for name in ("A", "B", "alpha", "beta"))
    series = []
    if alpha > 0 and beta > 0:
        ratio = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
        line = [(c, ratio * (c / 6) ** (beta / (alpha + beta))) for c in _between(min(flops), max(flops))]
        dots = [
            (o["flops"], o["parameters"]["value"], o["parameters"]["low"], o["parameters"]["high"])
            for o in one["optimal"]
            if o["epochs"] is None or o["epochs"] <= 1
        ]
        series.append(Series(name="approach 3, the law", points=dots, through=line))
    for row in one["approaches"]:
        if row["frontier"]:
            dots = [(c, n, None, None) for c, n in row["frontier"]]
            series.append(Series(name=f"approach {row['approach']}", points=dots, through=[]))
    if not series:
        series = [Series(name="none", points=[])]
    return Curve(
        title="The best size for a budget", x="training FLOPs", y="parameters", series=series, log_x=True, log_y=True
    )


def _errors(points: Sequence[dict[str, Any]]) -> Curve:
    dots = [(p["parameters"], 100 * (p["predicted"] / p["loss"] - 1), None, None) for p in points]
    return Curve(
        title="Where the law errs",
        x="parameters",
        y="predicted over observed loss, %",
        series=[Series(name="runs", points=dots, through=[])],
        log_x=True,
        counted=True,
        level=0.0,
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values) * (1 + 1e-9)


def _between(low: float, high: float) -> list[float]:
    step = math.log(high / low) / (_PLACES - 1) if high > low else 0.0
    return [low * math.exp(k * step) for k in range(_PLACES)]
