"""Specs before they run: what is wrong with them, what they would do, what becomes of their first documents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.plan import plan
from pipelines.preview import preview as preview_plan
from pipelines.service.security.endpoints import check_endpoints
from pipelines.service.security.paths import check_paths
from pipelines.service.settings import Settings
from pipelines.service.trial import trial
from pipelines.spec import Spec, from_data
from pipelines.store import Store
from stages.artifacts import PREFIX, names
from stages.errors import TamisError


class Trying:
    """Looks at specs and runs nothing that stays."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings

    @property
    def folder(self) -> Path:
        """What relative paths of a spec are below: the first root that is a folder, else the store or the state."""
        local = [root for root in self._settings.readable if not root.startswith("s3://")]
        return Path(local[0]).absolute() if local else self._settings.state

    def checked(self, given: Mapping[str, Any]) -> Spec:
        """A spec that may run here.

        Raises:
            SpecError: it is wrong, or names what may not be read; that is said before anything is read.
            DataError: a rule file or an artifact cannot be read.
        """
        check_paths(given, self.folder, self._settings.readable)
        spec = from_data(given, self.folder)
        check_endpoints(spec, self._settings.endpoints)
        made = {*spec.learn, *(request.learner for request in spec.label)}
        waits = made.difference(names(self._store))
        unmade = {PREFIX + name for name in waits}
        plan(spec, files=None if unmade else self._store)
        return spec

    def validate(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """See `Service.validate`."""
        try:
            found = preview_plan(self.checked(given), self._store.url, self._settings.readable)
        except TamisError as error:
            return {"valid": False, "problem": error.problem(), "plan": None}
        return {"valid": True, "problem": None, "plan": found}

    def preview(self, given: Mapping[str, Any], n: int) -> dict[str, Any]:
        """See `Service.preview`."""
        spec = self.checked(given)
        return trial(spec, self._store, self._settings, n)
