"""The service from Python: submit specs, wait, look inside, download. `example.py` goes through all of it.

    from pipelines.client import Client

    with Client("http://127.0.0.1:8321", token="tamis_...") as tamis:
        run = tamis.submit("web-en.yaml")
        run = tamis.wait(run.id, hear=print).check()
        tamis.documents(run.id, fate="rejected", frame="pandas")
        tamis.what_if(run.id, ["stats.words>=60"])
        tamis.download(run.id, "./curated")

`AsyncClient` has the same calls to await, and `async for event in tamis.events(run.id)`. Without arguments both ask the service at
TAMIS_SERVER with the token in TAMIS_TOKEN. What goes wrong is raised as the error that it was there (`stages.errors`).
"""

from pipelines.client.client import AsyncClient, Client
from pipelines.client.errors import CancelledRunError, CrashedRunError, UnfinishedError, UnreachableError
from pipelines.client.models import Download, Event, Run
from pipelines.service.errors import GoneError, NotFoundError, TooManyError
from pipelines.service.history import ConflictError
from pipelines.service.states import State
from pipelines.service.tokens import ForbiddenError, UnauthorizedError
from stages.errors import DataError, SpecError, StageError, StorageError, TamisError

__all__ = [
    "AsyncClient",
    "CancelledRunError",
    "Client",
    "ConflictError",
    "CrashedRunError",
    "DataError",
    "Download",
    "Event",
    "ForbiddenError",
    "GoneError",
    "NotFoundError",
    "Run",
    "SpecError",
    "StageError",
    "State",
    "StorageError",
    "TamisError",
    "TooManyError",
    "UnauthorizedError",
    "UnfinishedError",
    "UnreachableError",
]
