"""Jobs and runs as the database lists them, newest first, a page at a time."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from pipelines.service.database.engine import Database
from pipelines.service.database.tables import RunRow
from pipelines.service.errors import GoneError, NotFoundError
from pipelines.service.finding import Finder
from pipelines.service.folders import RETIRED
from pipelines.spec import RUN_NAME
from pipelines.store import Store
from stages.errors import SpecError

#: Of a prefix that is not unique, how many ids are told.
LISTED = 5


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the cursor from which the next ones come; None at the end."""

    rows: tuple[RunRow, ...]
    next: str | None


class Listing:
    """Looks rows up. What the database does not know yet is looked for in the store."""

    def __init__(self, store: Store, database: Database, finder: Finder) -> None:
        self._store, self._database, self._finder = store, database, finder

    def rows(self, state: Sequence[str], name: str | None, after: str | None, limit: int) -> Page:
        """A page of rows; see `Service.rows`."""
        query = select(RunRow).order_by(RunRow.created.desc(), RunRow.id.desc()).limit(limit + 1)
        if state:
            query = query.where(RunRow.state.in_(state))
        if name is not None:
            query = query.where(RunRow.name == name)
        if after is not None:
            query = query.where(tuple_(RunRow.created, RunRow.id) < tuple_(*_place(after)))
        with self._database.reading() as session:
            found = session.scalars(query).all()
        more = len(found) > limit
        return Page(tuple(found[:limit]), _cursor(found[limit - 1]) if more else None)

    def row(self, name: str) -> RunRow:
        """One row; see `Service.row`."""
        with self._database.reading() as session:
            row = _known(session, name)
        if row is None and RUN_NAME.match(name):
            if self._finder.run(name):
                return self.row(name)
            if name.isalnum() and self._store.find_json(f"{RETIRED}/{name}.json") is not None:
                raise GoneError(
                    f"the job {name} ended long ago, and retention took it away; its run is still there", job=name
                )
        if row is None:
            raise NotFoundError(f"there is no run {name!r}; `GET /v1/runs` lists them", run=name)
        return row


def _known(session: Session, name: str) -> RunRow | None:
    row = session.get(RunRow, name)
    newest = (RunRow.managed.desc(), RunRow.created.desc(), RunRow.id)
    for column in (RunRow.run, RunRow.name):
        row = row or session.scalars(select(RunRow).where(column == name).order_by(*newest).limit(1)).first()
    if row is not None or not RUN_NAME.match(name):
        return row
    begins = or_(RunRow.id.startswith(name, autoescape=True), RunRow.run.startswith(name, autoescape=True))
    found = session.scalars(select(RunRow).where(begins).order_by(*newest).limit(LISTED + 1)).all()
    if len({row.run or row.id for row in found}) > 1:
        listed = ", ".join(row.id for row in found[:LISTED]) + (" and more" if len(found) > LISTED else "")
        raise SpecError(f"{name!r} begins several runs: {listed}; write more of it", run=name)
    return found[0] if found else None


def _cursor(row: RunRow) -> str:
    return urlsafe_b64encode(json.dumps([row.created, row.id]).encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[float, str]:
    try:
        created, identity = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return float(created), str(RUN_NAME.match(identity)[0])  # type: ignore[index]  # no match: TypeError
    except (ValueError, TypeError) as error:
        raise SpecError(f"the cursor {cursor[:40]!r} is none of this service's; begin without `after`") from error
