"""The job server of a Ray cluster, over HTTP: what Ray documents as its Jobs REST API.

Plain HTTP, because Ray's own client waits for ever, needs packages that only clusters have, and imports Ray. Every call ends
within its time, and while the cluster does not answer only one call in a while finds that out: the others fail at once.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from pipelines.secret_values import redact
from pipelines.service.settings import is_loopback
from stages.errors import SpecError, StorageError

#: Where a cluster's job server is when nobody says.
DEFAULT_ADDRESS = "http://127.0.0.1:8265"
#: Variables that say where it is, as Ray's own tools read them.
VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
#: Seconds for a connection, for an answer, and for the answer to a submission, which starts processes.
CONNECT_SECONDS, ANSWER_SECONDS, SUBMIT_SECONDS = 2.0, 5.0, 15.0
#: Bytes that an answer may have; only logs are long.
ANSWER_BYTES = 32 << 20
#: Seconds until something that failed is tried again: at first, and at most.
SOONEST, LATEST = 1.0, 30.0
#: States of a Ray job after which it does nothing any more.
ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
#: Characters of what a Ray job printed last that are told.
SHOWN = 300


class ClusterError(StorageError):
    """A Ray cluster does not do what it is asked; it is asked again later."""


class Backoff:
    """Since when something fails, and when it is worth trying again: after 1 s, then ever later, up to 30 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause, self._until = 0.0, 0.0
        self.trouble: ClusterError | None = None

    def waiting(self) -> ClusterError | None:
        """Why it is not worth trying yet; None when it is."""
        return self.trouble if self._clock() < self._until else None

    def failed(self, error: ClusterError) -> None:
        """Take note of a failure."""
        self._pause = min(max(SOONEST, 2 * self._pause), LATEST)
        self.trouble, self._until = error, self._clock() + self._pause

    def worked(self) -> None:
        """Take note that it works."""
        self._pause, self._until, self.trouble = 0.0, 0.0, None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a Ray job stands; `message` is Ray's own."""

    status: str
    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether it does nothing any more."""
        return self.status in ENDED

    @property
    def last_words(self) -> str:
        """What Ray says of its end, with the last line that it printed."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        if not lines:
            return ""
        first = lines[0].partition(", last available logs")[0].rstrip(".:")
        return first if len(lines) == 1 else f"{first}: {lines[-1][:SHOWN]}"


class Cluster:
    """A Ray cluster's job server. Calls may come from several threads.

    Raises:
        SpecError: the address is none.
    """

    def __init__(self, address: str | None = None, seconds: float = ANSWER_SECONDS) -> None:
        self.address = job_server(address)
        self.backoff = Backoff()
        self._seconds = seconds
        once = httpx.Limits(max_keepalive_connections=0)  # a connection that was kept may have died meanwhile
        self._http = httpx.Client(base_url=self.address, headers=_authorization(), trust_env=False, limits=once)

    @property
    def local(self) -> bool:
        """Whether it is reached on this machine."""
        return is_loopback(urlsplit(self.address).hostname or "")

    def check(self) -> None:
        """See whether it answers.

        Raises:
            ClusterError: it does not. So all calls below.
        """
        answer = self._ask("GET", "/api/version")
        if answer.status_code != httpx.codes.OK or "ray_version" not in _object(answer):
            raise self._strange(answer)

    def submit(
        self, submission: str, entrypoint: str, environment: Mapping[str, str], metadata: Mapping[str, str]
    ) -> bool:
        """Start a job; False where one of that name was started before, whatever became of it."""
        body = {
            "submission_id": submission,
            "entrypoint": entrypoint,
            "runtime_env": {"env_vars": dict(environment)},
            "metadata": dict(metadata),
        }
        answer = self._ask("POST", "/api/jobs/", body, SUBMIT_SECONDS)
        if answer.status_code == httpx.codes.OK:
            return True
        if f"{submission} already exists" in answer.text:
            return False
        raise self._strange(answer)

    def standing(self, submission: str) -> Standing | None:
        """Where a job stands; None where the cluster knows none of that name."""
        answer = self._ask("GET", f"/api/jobs/{submission}")
        if self._unknown(answer):
            return None
        found = _object(answer)
        if answer.status_code != httpx.codes.OK or not isinstance(found.get("status"), str):
            raise self._strange(answer)
        return Standing(found["status"], str(found.get("message") or ""))

    def stop(self, submission: str) -> None:
        """Ask a job to end; Ray kills it when it takes too long. One that is unknown or has ended is left alone."""
        answer = self._ask("POST", f"/api/jobs/{submission}/stop")
        if answer.status_code != httpx.codes.OK and not self._unknown(answer):
            raise self._strange(answer)

    def log(self, submission: str) -> str:
        """What a job printed; nothing where the cluster knows none of that name."""
        answer = self._ask("GET", f"/api/jobs/{submission}/logs")
        if self._unknown(answer):
            return ""
        found = _object(answer)
        if answer.status_code != httpx.codes.OK or not isinstance(found.get("logs"), str):
            raise self._strange(answer)
        return str(found["logs"])

    def _ask(self, method: str, path: str, body: Any = None, seconds: float | None = None) -> httpx.Response:
        if (waiting := self.backoff.waiting()) is not None:
            raise ClusterError(waiting.message, **waiting.fields)
        try:
            answer = self._answer(method, path, body, seconds or self._seconds)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error).strip() or type(error).__name__
            raise self._away(f"does not answer ({why}); start it, or give its address with --ray-address") from error
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise self._away("wants a token; start the service with RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH")
        self.backoff.worked()
        return answer

    def _answer(self, method: str, path: str, body: Any, seconds: float) -> httpx.Response:
        """An answer in full. One that trickles in ends after twice the time."""
        until = time.monotonic() + seconds
        limits = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        with self._http.stream(method, path, json=body, timeout=limits) as stream:
            content = bytearray()
            for chunk in stream.iter_bytes():
                content += chunk
                if len(content) > ANSWER_BYTES or time.monotonic() > until:
                    raise httpx.ReadTimeout("the answer does not end")
        return httpx.Response(stream.status_code, content=bytes(content))

    def _away(self, what: str) -> ClusterError:
        error = ClusterError(f"the Ray cluster at {self.address} {what}", address=self.address)
        self.backoff.failed(error)
        return error

    def _unknown(self, answer: httpx.Response) -> bool:
        """Whether an answer says, in Ray's words, that there is no such job: others say 404 too."""
        return answer.status_code == httpx.codes.NOT_FOUND and "does not exist" in answer.text

    def _strange(self, answer: httpx.Response) -> ClusterError:
        lines = [line.strip() for line in answer.text.splitlines() if line.strip()]
        why = f": {lines[-1][:SHOWN]}" if lines else ""
        return ClusterError(
            f"what answers at {self.address} refuses with {answer.status_code}{why}; see whether it is the job server of a Ray "
            "cluster, and to the cluster's logs",
            address=self.address,
        )


def job_server(given: str | None) -> str:
    """The address of a cluster's job server: as given, else as the environment says, else Ray's default on this machine.

    Raises:
        SpecError: it is not an http address.
    """
    said = [("--ray-address", given), *((name, os.environ.get(name)) for name in VARIABLES)]
    name, address = next(((n, a) for n, a in said if a), ("", DEFAULT_ADDRESS))
    try:
        parts = urlsplit(address)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        parts, fits = urlsplit(""), None
    if not fits or parts.username is not None or parts.query or parts.fragment:
        raise SpecError(
            f"{name} is {redact(address)!r}, which is not the address of a Ray cluster's job server; write "
            "--ray-address http://HEAD:8265",
            address=redact(address),
        )
    return address.rstrip("/")


def _authorization() -> dict[str, str]:
    """The header that a cluster with tokens wants: the token is where Ray's own tools look for it."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return {}
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not token and path.is_file():
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"the token of Ray in {path} cannot be read: {error}; see to the file") from error
    return {"Authorization": f"Bearer {token.strip()}"} if token.strip() else {}


def _object(answer: httpx.Response) -> dict[str, Any]:
    """An answer's JSON object; an empty one where it is none."""
    try:
        found = json.loads(answer.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
