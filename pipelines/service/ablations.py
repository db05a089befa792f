"""The finished ablations of a store, and their reports."""

from typing import Any

from pipelines.ablation.folder import FINISHED, AblationFolder, find_ablation, finished
from pipelines.report.places import write_ablation_report
from pipelines.service.errors import NotFoundError
from pipelines.store import Store
from stages.errors import SpecError


def listed(store: Store) -> list[dict[str, Any]]:
    """Every finished ablation: its name, run, arms, budgets and seeds."""
    return [_summary(name, AblationFolder(store, name).find(FINISHED)) for name in finished(store)]


def result(store: Store, wanted: str) -> dict[str, Any]:
    """What came of an ablation, as data.

    Raises:
        NotFoundError: there is none of that name.
    """
    found: dict[str, Any] = _open(store, wanted).find(FINISHED)
    return found


def report(store: Store, wanted: str, kind: str) -> bytes:
    """The report of an ablation as `html` or `json`.

    Raises:
        NotFoundError: there is none of that name.
    """
    place = f"ablations/{_open(store, wanted).name}"
    write_ablation_report(store, place)
    return store.get(f"{place}/report.{kind}")


def _open(store: Store, wanted: str) -> AblationFolder:
    try:
        found = find_ablation(store, wanted)
    except SpecError as error:
        raise NotFoundError(error.message, **error.fields) from error
    if found is None:
        raise NotFoundError(
            f"the store has no finished ablation {wanted!r}; `GET /v1/ablations` lists them", ablation=wanted
        )
    return found


def _summary(name: str, found: dict[str, Any]) -> dict[str, Any]:
    arms = [arm["name"] for arm in found["arms"]]
    settings = {key: found["settings"][key] for key in ("budgets", "seeds")}
    return {"id": name, "run": found["run"], "baseline": found["baseline"], "arms": arms, **settings}
