"""An ablation as one self-contained page (`render`) and as data (`numbers`), and both in its folder (`write_ablation`).

The result is what `pipelines.ablation.result` makes; its evidence is described in `trainer.evidence.study`.
"""

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipelines import quantities
from pipelines.report import ablation_limits
from pipelines.report.ablation_curves import MOST, arms_of, curves
from pipelines.report.ablation_tables import (
    attribution,
    comparisons,
    contamination,
    cost,
    domains,
    endpoints,
    on_terms,
    panel,
    probes,
    settings,
    stages,
)
from pipelines.report.axis import written
from pipelines.report.curve_figure import class_of, curve_figure, legend
from pipelines.report.groups import groups
from pipelines.report.page import TEMPLATES, environment, policy
from pipelines.report.scale import digits, interval
from pipelines.store import Store
from trainer.evidence.verdict import more_tokens

FILES = ("report.html", "report.json")


def write_ablation(store: Store, folder: str, result: Mapping[str, Any]) -> dict[str, str]:
    """Put `report.html` and `report.json` into a folder of the store, where they are not yet; gives their paths.

    Raises:
        StorageError: the store cannot be written.
    """
    paths = {name: f"{folder.rstrip('/')}/{name}" for name in FILES}
    for name, path in paths.items():
        if store.find(path) is None:
            made = (
                render(result) if name.endswith(".html") else json.dumps(numbers(result), ensure_ascii=False, indent=2)
            )
            store.create(path, made.encode())
    return paths


def numbers(result: Mapping[str, Any]) -> dict[str, Any]:
    """The report as data: the verdict, what to know about it, the cost by arm, and the whole result."""
    return {
        "format": 1,
        "verdict": result["evidence"]["verdict"],
        **ablation_limits.sentences(result),
        "cost": cost(result),
        "result": dict(result),
    }


def render(result: Mapping[str, Any]) -> str:
    """The page of an ablation; it needs no script."""
    style = "".join((TEMPLATES / name).read_text("utf-8") for name in ("report.css", "learned.css", "proving.css"))
    return (
        environment()
        .get_template("ablation.html.j2")
        .render(
            result=result,
            evidence=result["evidence"],
            clean=result["evidence_clean"],
            arms={arm["name"]: arm for arm in result["arms"]},
            order=arms_of(result),
            lead=lead(result),
            limits=ablation_limits.sentences(result),
            tables={
                "comparisons": comparisons(result),
                "on_terms": on_terms(result),
                "attribution": attribution(result),
                "stages": stages(result),
                "domains": domains(result),
                "probes": probes(result),
                "contamination": contamination(result),
                "cost": cost(result),
                "endpoints": endpoints(result),
                "panel": panel(result),
                "settings": settings(result),
            },
            curves=curves(result),
            most=MOST,
            style=Markup(style),  # noqa: S704 - our own file
            policy=policy(style),
            magnitude=quantities.magnitude,
            interval=interval,
            digits=digits,
            three=three,
            more_tokens=more_tokens,
            written=written,
            groups=groups,
            curve_figure=curve_figure,
            legend=legend,
            class_of=class_of,
        )
    )


def lead(result: Mapping[str, Any]) -> str:
    """What was done, in a sentence."""
    own, evidence = result["settings"], result["evidence"]
    budgets = [quantities.magnitude(b) for b in own["budgets"]]
    equal = {"tokens": "trained tokens", "pool": "raw documents", "compute": "total compute, curation charged"}
    many = ", ".join(budgets[:-1]) + (" and " if budgets[:-1] else "") + budgets[-1]
    return (
        f"{_several(len(result['arms']), 'arm')}, {_several(len(own['seeds']), 'seed')} and budgets of {many} tokens, each a "
        f"fully decayed run of a decoder with {quantities.magnitude(own['parameters']['total'])} parameters; measured on "
        f"{quantities.count(evidence['documents'])} held-out documents ({quantities.size(evidence['bytes'])}) of "
        f"{_several(len(own['panel']), 'domain')} that no arm trained on; arms have equal {equal.get(own['equal'], own['equal'])}."
    )


def three(number: float | None) -> str:
    """A number with at most three digits."""
    return quantities.value(None if number is None else float(f"{number:.3g}"))


def _several(number: int, what: str) -> str:
    return f"{quantities.count(number)} {what}{'' if number == 1 else 's'}"
