"""A fitted scaling law as lines of text."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.quantities import magnitude
from pipelines.report.scaling import APPROACHES, PARAMETERS, estimate, percent


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The law with its intervals, how it was checked, what follows for budgets, and the warnings."""
    for one in found["arms"] or [found]:
        yield from _arm(one, named=found["arms"] is not None)
    if found["quality"]:
        yield found["quality"]["answer"]
        for arm in found["quality"]["arms"]:
            yield (
                f"  {arm['arm']}: tokens × {estimate(arm['multiplier'])} at {magnitude(found['quality']['center_tokens'])} "
                f"tokens, β {estimate(arm['exponent'])} more"
            )
    for sentence in found["warnings"]:
        yield f"warning: {sentence}"


def _arm(one: Mapping[str, Any], *, named: bool) -> Iterator[str]:
    fit = one["fit"]
    head = f"{one['arm']}: " if named else ""
    yield f"{head}L = E + A/N^α + B/D^β of {fit['runs']} runs in {fit['sizes']} sizes, {percent(fit['error'])} off on average"
    for name, (symbol, what) in PARAMETERS.items():
        if name in one:
            yield f"  {symbol} {estimate(one[name])}  {what}"
    yield "best parameters grow as compute to the"
    for row in one["approaches"]:
        told = estimate(row["parameters"]) if row["why"] is None else f"unknown: {row['why']}"
        yield f"  {told}  by approach {row['approach']}, {APPROACHES[row['approach']]}"
    held = one["holdout"]
    models = f"{held['runs']} runs from {magnitude(held['from_parameters'])} parameters on"
    if held["why"] is None:
        yield f"held out, {models}: {percent(held['error'])} off on average, {percent(held['worst'])} at worst"
    else:
        yield f"held out, {models}: unknown, {held['why']}"
    for best in one["optimal"]:
        beyond = " (beyond the runs)" if best["extrapolated"] else ""
        repeats = f", {best['epochs']:.3g} epochs" if best["epochs"] else ""
        yield (
            f"{best['flops']:.3g} FLOPs: {estimate(best['parameters'], large=True)} parameters, "
            f"{estimate(best['tokens'], large=True)} tokens{repeats}, loss {estimate(best['loss'])}{beyond}"
        )
