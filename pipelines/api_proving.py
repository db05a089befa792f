"""Proving from Python: the calls of `tamis ablate` and `tamis scaling`, as `pipelines.api` gives them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.ablation.request import AblateRequest, sections
from pipelines.opening import open_store, view
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.scaling_points import read_points
from pipelines.store import Store
from stages.errors import DataError, SpecError


def ablate_request(fields: Mapping[str, Any]) -> AblateRequest:
    """What `ablate` is asked, from the fields of the section `ablate:`; relative paths are below the current folder.

    Raises:
        SpecError: an unknown field, or a value that is refused.
    """
    found = sections(dict(fields), Path.cwd())
    if len(found) > 1:
        raise SpecError(
            f"several schedules are {len(found)} ablations; ask for one schedule at a time", where="`ablate`"
        )
    return found[0]


def ablate(
    run: str,
    request: AblateRequest | Mapping[str, Any],
    *,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train arms of a run on equal terms and say what their losses prove; resumes, and finds what was trained before.

    Gives what `result.json` in the ablation's folder holds; its report is beside it.

    Raises:
        SpecError: no such run, an arm cannot be made of it, or there is no tokenizer.
        DataError: an arm or the panel is empty.
        StageError: training failed.
        StorageError: the store cannot be read or written.
    """
    from pipelines.ablation.ablate import ablate as train  # noqa: PLC0415 - training loads what it uses

    asked = request if isinstance(request, AblateRequest) else ablate_request(request)
    found = view(run, store=open_store(store))
    return train(found, asked, options or Options(engine="local"), watch or NullWatch())


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
