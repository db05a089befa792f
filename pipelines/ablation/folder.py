"""The folder of an ablation in its store, and finding it again."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.store import Store
from stages.catalog import did_you_mean
from stages.errors import SpecError

if TYPE_CHECKING:
    from pipelines.ablation.prepare import Prepared

ROOT = "ablations"
FINISHED = "result.json"


@dataclass(frozen=True, slots=True)
class AblationFolder:
    """One ablation's folder. Everything in it is created once and never changed."""

    store: Store
    name: str

    @classmethod
    def of(cls, prepared: "Prepared", experiment: str) -> "AblationFolder":
        """The folder of an experiment."""
        return cls(prepared.store, f"{prepared.run.spec.name}-{prepared.request.name}-{experiment[:8]}")

    def path(self, file: str) -> str:
        """A path in the folder."""
        return f"{ROOT}/{self.name}/{file}"

    def find(self, file: str) -> Any:
        """A JSON file of the folder, or None."""
        return self.store.find_json(self.path(file))

    def put(self, file: str, value: Any) -> Any:
        """Create a JSON file if absent; gives what is there then."""
        self.store.create_json(self.path(file), value)
        return self.store.get_json(self.path(file))

    def put_csv(self, file: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Create a CSV file of rows with the same fields, if absent."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
        self.store.create(self.path(file), text.getvalue().encode())


def find_ablation(store: Store, wanted: str) -> AblationFolder | None:
    """The finished ablation of that name or unique prefix, or None where there is none.

    Raises:
        SpecError: the prefix is of several.
    """
    names = finished(store)
    found = [n for n in names if n == wanted] or [n for n in names if n.startswith(wanted)]
    if len(found) > 1:
        raise SpecError(
            f"{wanted!r} could be any of the ablations {', '.join(found)}; write more of the name", ablation=wanted
        )
    return AblationFolder(store, found[0]) if found else None


def open_ablation(store: Store, wanted: str) -> AblationFolder:
    """The finished ablation of that name or unique prefix.

    Raises:
        SpecError: there is none, or there are several.
    """
    found = find_ablation(store, wanted)
    if found is None:
        names = finished(store)
        hint = did_you_mean(wanted, names) if names else "; train one with: tamis ablate"
        raise SpecError(f"the store has no finished ablation {wanted!r}{hint}", ablation=wanted)
    return found


def finished(store: Store) -> list[str]:
    """The names of the ablations that are done."""
    return sorted(p.split("/")[1] for p in store.files.list(ROOT) if p.endswith(f"/{FINISHED}"))
