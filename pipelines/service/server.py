"""The server: listens, tells where, serves until it is told to end. Drivers go on after it."""

import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn

from pipelines.service import tokens
from pipelines.service.app import create_app
from pipelines.service.observe import logs
from pipelines.service.service import Service
from pipelines.service.settings import Settings
from pipelines.store import Store
from stages.errors import SpecError

#: Seconds that answers under way have to end.
GRACE_SECONDS = 5

#: Seconds that an idle connection is kept: longer than proxies and clients keep theirs, so that none is closed while it is used again.
IDLE_SECONDS = 75
#: Seconds after which a thread that computes lets another go on: looking through arrays takes turns with others hundreds of times.
SWITCH_SECONDS = 0.0005
#: Connections that may wait to be taken.
BACKLOG = 256

Say = Callable[[str], None]


class Server(uvicorn.Server):
    """A server that ends its streams when it is told to end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Close what would go on for ever, then end."""
        self._service.hub.close()
        super().handle_exit(sig, frame)


def serve(settings: Settings, say: Say, *, reindex: bool = False) -> None:
    """Serve until a signal.

    Raises:
        SpecError: the settings are wrong, or the address cannot be listened on.
        StorageError: the store or the database cannot be opened, or another service has them.
    """
    logs.configure(settings.logs)
    settings.check()
    listening = listen(settings)
    settings = replace(settings, port=listening.getsockname()[1])
    service = Service(settings)
    welcome(service.store, settings, say)
    if (remark := service.launcher.remark()) is not None:
        say(remark)
    sys.setswitchinterval(SWITCH_SECONDS)
    config = uvicorn.Config(
        create_app(service, reindex=reindex),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=IDLE_SECONDS,
        lifespan="on",
    )
    Server(config, service).run([listening])


def welcome(store: Store, settings: Settings, say: Say) -> None:
    """Say where it is, who may ask (the first time), and how a browser signs in."""
    say(f"tamis serves {store.url} at {settings.url}")
    if not any(token.kind == "token" for token in tokens.every(store)):
        secret, _ = tokens.create(store, "admin", name="first")
        say(f"the first admin token, shown this once: {secret}")
    link, _ = tokens.create(store, "admin", name="browser", seconds=tokens.LINK_SECONDS, kind="link")
    say(f"sign a browser in (once, within an hour): {settings.url}/sign-in?link={link}")


def listen(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        SpecError: that cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) on sockets that say that they are TCP; on others each waits 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise SpecError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}; choose another --port or --host"
        ) from error
    listening.listen(BACKLOG)  # who asks from now on waits for the answer
    return listening
