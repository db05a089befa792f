"""A finished run's documents through its Explorer; through what reads sidecars where there is no Explorer."""

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.sample import FATES, sample
from pipelines.view import RunView
from pipelines.what_if import what_if
from stages.errors import SpecError

_EXPLORER = "pipelines.service.explorer.explorer"
#: Documents that may be looked through without an Explorer.
MOST = 10_000


def open_explorer(view: RunView, folder: Path) -> Any:
    """The Explorer of a run, built in `folder` at first use."""
    try:
        there = find_spec(_EXPLORER) is not None
    except ModuleNotFoundError:
        there = False
    return import_module(_EXPLORER).Explorer.open(view, folder) if there else Plain(view)


class Plain:
    """The calls of an Explorer that need no arrays, for small runs."""

    def __init__(self, view: RunView) -> None:
        self.view = view

    def what_if(self, rules: Sequence[str]) -> dict[str, Any]:
        """What other thresholds would keep."""
        return what_if(self.view, rules)

    def documents(  # noqa: D102 - see Explorer
        self, fate: str | None, reason: str | None, where: Sequence[str], *, offset: int, limit: int, **others: Any
    ) -> Any:
        if where or others.get("sort") or others.get("columns"):
            raise SpecError("this service cannot filter by columns; leave `where`, `sort` and `columns` out")
        wanted = [fate] if fate else list(FATES)
        found = [d for one in wanted for d in sample(self.view, one, reason, MOST, 0)]
        return _Found(len(found), tuple(found[offset : offset + limit]))

    def read(self, places: Sequence[Any], characters: int | None = None) -> list[dict[str, Any]]:
        """Nothing: documents have their texts already."""
        del places, characters
        return []

    def clusters(self, column: str, offset: int = 0, limit: int = 20, members: int = 10) -> dict[str, Any]:
        """The clusters of a column with more than one document, the largest first."""
        if column not in self.view.fields:
            raise SpecError(f"the run {self.view.run} has no column {column!r}", column=column)
        ids: dict[str, list[str]] = {}
        for shard in self.view.shards:
            table = self.view.read(shard, [column])
            for doc_id, cluster in zip(table["doc_id"].to_pylist(), table[column].to_pylist(), strict=True):
                if cluster is not None:
                    ids.setdefault(cluster, []).append(doc_id)
        sizes = Counter({cluster: len(found) for cluster, found in ids.items() if len(found) > 1})
        shown = [
            {"cluster": c, "size": n, "members": [{"doc_id": d} for d in ids[c][:members]]}
            for c, n in sizes.most_common()
        ]
        return {
            "column": column,
            "total": len(sizes),
            "documents": sizes.total(),
            "clusters": shown[offset : offset + limit],
        }


class _Found:
    def __init__(self, total: int, rows: tuple[dict[str, Any], ...]) -> None:
        self.total, self.rows, self.bytes, self.tokens = total, rows, None, None
        self.places = ()
