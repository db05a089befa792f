"""How a service was started. Nothing here changes a byte of a result."""

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.service.tokens import Quota
from stages.errors import SpecError
from stages.fingerprint import key

#: Names under which loopback is asked for.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Settings:
    """A service's own settings.

    state: a folder on this machine for the database, locks and logs of drivers; roots: folders and s3:// prefixes that specs
    may read and exports may be written to, beside the store; hosts: names under which it may be asked; jobs: how many run at once.
    """

    store: str
    state: Path
    host: str = "127.0.0.1"
    port: int = 8321
    database: str | None = None  # a URL of SQLAlchemy; None: SQLite in `state`
    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    jobs: int = 1
    engine: str = "auto"
    workers: int | None = None
    launcher: str = "subprocess"  # or "ray"
    address: str | None = None  # of the Ray that subprocesses use
    ray_address: str | None = None  # of the job server that the launcher `ray` uses; None: as the environment says
    quota: Quota = field(default_factory=lambda: Quota(queued=1_000))
    request_bytes: int = 4 << 20
    allow_public: bool = False
    start_seconds: float = 180.0  # that a driver has to say that it works
    cancel_seconds: float = 180.0  # that a cluster which does not answer has to end one
    keep_last: int | None = None  # ended jobs that retention leaves; None: all
    traces: str | None = None  # an OTLP endpoint
    endpoints: tuple[str, ...] = ()  # addresses of language models that specs may ask
    logs: str = "auto"  # or "json", "console"

    @property
    def url(self) -> str:
        """Where it is reached."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Names that a request's Host header may have, without port."""
        return tuple(dict.fromkeys([*LOOPBACK_NAMES, self.host, *self.hosts]))

    @property
    def readable(self) -> tuple[str, ...]:
        """Everything that specs may read: the roots and the store."""
        return (*self.roots, self.store)

    def check(self) -> None:
        """See whether this may be served at all.

        Raises:
            SpecError: it would be open to a network although nobody said so, or settings contradict each other.
        """
        if self.launcher == "ray" and (self.address is not None or self.engine == "local"):
            raise SpecError(
                "--launcher ray does all work on the cluster of --ray-address; leave --address and --engine local out, or "
                "the launcher"
            )
        if self.launcher != "ray" and self.ray_address is not None:
            raise SpecError("--ray-address is where --launcher ray submits; say --launcher ray, or leave it out")
        if not self.loopback and not self.allow_public:
            raise SpecError(
                f"the service would listen on {self.host}, which other machines reach; put a TLS proxy before it and "
                "say --allow-public with --allowed-host NAME, or leave --host out to serve this machine alone",
                host=self.host,
            )
        if not self.loopback and not self.hosts:
            raise SpecError(
                f"the service would listen on {self.host} under any name; name those that it may be asked under with "
                "--allowed-host",
                host=self.host,
            )


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own, for itself alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def absolute(address: str) -> str:
    """A store's or root's address as drivers in other folders know it."""
    return (
        address if address.startswith("s3://") else str(Path(address.removeprefix("file://")).expanduser().absolute())
    )


def state_folder(store: str) -> Path:
    """Where a service keeps what belongs to this machine: in a local store itself, else in the user's state folder."""
    if not store.startswith("s3://"):
        return Path(store) / "service" / "state"
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "tamis" / key(store)
