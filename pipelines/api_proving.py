"""Proving from Python: what training runs say, as `pipelines.api` gives it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.scaling_points import read_points
from stages.errors import DataError, SpecError


def scaling_fit(
    path: str | Path,
    *,
    budgets: Sequence[float] = (),
    unique_tokens: float | None = None,
    resamples: int = 1000,
    baseline: str | None = None,
    seed: int,
) -> dict[str, Any]:
    """Fit a scaling law to the runs of a CSV file (see `trainer.scaling.study` for what comes back).

    budgets: in FLOPs, to be spent best; unique_tokens: how many distinct tokens there are for that; resamples: of the bootstrap
    over runs, 0 for no intervals; baseline: the arm that others are compared with, by default the first.

    Raises:
        DataError: the file cannot be read, has a wrong line, or too few runs to be fitted.
        SpecError: a budget is not a positive number, or the baseline is none of the arms.
    """
    from trainer.scaling.study import Question, study  # noqa: PLC0415 - scipy is only needed where something is fitted

    for what, number in (*(("budget", b) for b in budgets), ("number of unique tokens", unique_tokens)):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise SpecError(f"a {what} of {number:g} makes no sense; give a positive number")
    points = read_points(Path(path), baseline)
    try:
        return study(points, Question(tuple(budgets), unique_tokens, resamples), seed=seed)
    except ValueError as error:
        raise DataError(f"{path} cannot be fitted: {error}", path=str(path)) from error
