"""What a page of documents was asked for, as its address says it: the same question has the same address."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import pyarrow as pa
from fastapi import Depends, Query

from pipelines.service.explorer.finding import Where
from pipelines.view import RunView
from stages.rule_binding import kind_of_column

PAGE = 50
MAX_PAGE = 200
MAX_OFFSET = 2**53
#: A test of `where` that rules do not have.
UNKNOWN, KNOWN = " is unknown", " is known"
#: Columns of no use to who looks for documents: texts, and names that nearly every document has for itself.
_OWN = {"text", "doc_id", "id", "meta", "nearest", "signature", "cluster", "stays", "url"}
#: Every column that can be shown.
EVERY = "*"
Fate = Literal["kept", "rejected", "quarantined"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which documents, in which order, from where on, with which columns."""

    fate: str | None = None
    reason: str | None = None
    where: tuple[str, ...] = ()
    sort: str | None = None
    columns: tuple[str, ...] = ()
    offset: int = 0
    limit: int = PAGE

    def query(self, **changes: Any) -> str:
        """The query string, in a fixed order and without what is usual."""
        asked, usual = replace(self, **changes), Asked()
        pairs = [
            (name, value)
            for name in self.__dataclass_fields__
            if getattr(asked, name) != getattr(usual, name)
            for value in _several(getattr(asked, name))
        ]
        return urlencode(pairs, quote_via=quote, safe="*,.:/<>=")

    def less(self, test: str) -> str:
        """The query string without one of the tests, from the first page on."""
        return self.query(where=tuple(w for w in self.where if w != test), offset=0)

    def tests(self) -> tuple[Where, ...]:
        """The tests as the explorer takes them."""
        return tuple(map(_test, self.where))

    def sorted_by(self, column: str) -> str:
        """The query string after a click on a column's name: least first, largest first, as the corpus has them."""
        turns = {column: f"-{column}", f"-{column}": None}
        return self.query(sort=turns.get(self.sort or "", column), offset=0)


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)


def _test(text: str) -> Where:
    for ending, unknown in ((UNKNOWN, True), (KNOWN, False)):
        if text.endswith(ending):
            return text.removesuffix(ending), "null", unknown
    return text


def asked(
    fate: Fate | None = None,
    reason: Annotated[str | None, Query(max_length=200)] = None,
    where: Annotated[list[str] | None, Query(max_length=20)] = None,
    sort: Annotated[str | None, Query(max_length=200)] = None,
    columns: Annotated[list[str] | None, Query(max_length=200)] = None,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
) -> Asked:
    """What an address asks for."""
    return Asked(
        fate,
        reason or None,
        tuple(dict.fromkeys(w for w in where or () if w)),
        sort or None,
        tuple(dict.fromkeys(c for c in columns or () if c)),
        offset,
        limit,
    )


AskedFor = Annotated[Asked, Depends(asked)]


def shown_columns(view: RunView) -> dict[str, str]:
    """The columns that documents can be found and sorted by, with what each holds: number, text or truth."""
    found: dict[str, str] = {}
    for name, field in view.fields.items():
        kind = kind_of_column(field)
        leaf = name.rpartition(".")[2]
        hidden = name.startswith(("verdict.", "choice-")) and name != "verdict.text_bytes"
        if kind is not None and leaf not in _OWN and not hidden and not pa.types.is_binary(field.type):
            found[name] = kind
    return found


def cluster_columns(view: RunView) -> list[str]:
    """The columns that name clusters: those of choices, and those called so."""
    choices = [choice.cluster for choice in view.policy.one_of]
    return list(dict.fromkeys([*choices, *(n for n in view.fields if n.endswith(".cluster"))]))
