"""Where the reports of runs and ablations are, and whose a name is."""

from pipelines.ablation.folder import FINISHED, ROOT, AblationFolder, find_ablation, finished
from pipelines.runs import find_run
from pipelines.store import Store
from stages.errors import SpecError


def report_place(store: Store, name: str) -> str:
    """The folder of the run with that id, prefix or spec name; where there is none, of the ablation with that id or prefix.

    Raises:
        SpecError: neither is there, or the prefix is not unique.
    """
    if store.find(AblationFolder(store, name).path(FINISHED)) is not None:
        return f"{ROOT}/{name}"
    try:
        return f"runs/{find_run(store, name, finished=True)}"
    except SpecError as error:
        found = find_ablation(store, name)
        if found is not None:
            return f"{ROOT}/{found.name}"
        known = finished(store)
        if not known:
            raise
        raise SpecError(f"{error.message}; its ablations are {', '.join(known)}", **error.fields) from error


def write_ablation_report(store: Store, place: str) -> None:
    """Make the report of a finished ablation, unless it is there."""
    from pipelines.report.ablation import write_ablation  # noqa: PLC0415 - Jinja is only needed where a page is made

    write_ablation(store, place, store.get_json(f"{place}/{FINISHED}"))
