"""Connections: SQLite in WAL beside the service by default, PostgreSQL by URL. Tables come from Alembic's migrations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from stages.errors import SpecError, StorageError

BUSY_MS = 5_000
#: Threads of the server that may ask at once.
THREADS = 40
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """A database with today's tables, for several threads.

    Raises:
        SpecError: the URL is none.
        StorageError: it cannot be reached, or is of a newer version of tamis.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            self.engine = _engine(str(url))
        except (SQLAlchemyError, ImportError) as error:
            raise SpecError(
                f"the database {url!r} is no URL that can be opened: {error}; write sqlite:///FILE or "
                "postgresql+pg8000://USER@HOST/NAME"
            ) from error
        self.shown = parsed.render_as_string(hide_password=True)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._readers = sessionmaker(self.engine.execution_options(writes=False), expire_on_commit=False)
        with self._errors():
            self._migrate()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with self._errors(), self._readers() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction."""
        with self._errors(), self._sessions.begin() as session:
            yield session

    def ping(self) -> None:
        """See whether it answers.

        Raises:
            StorageError: it does not.
        """
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            where = getattr(self, "shown", "the database")
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StorageError(
                f"the database {where} does not answer as it should: {reason}; see to it and try again"
            ) from error


def sqlite_url(state: Path) -> str:
    """The default database of a service whose state is in that folder."""
    state.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{state / 'service.db'}"


def _pool(url: str) -> dict[str, int]:
    """How many connections SQLite has; a database in memory has one for each thread, whatever is said."""
    return {} if make_url(url).database in {None, "", ":memory:"} else {"pool_size": 10, "max_overflow": THREADS}


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=THREADS)
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False}, **_pool(url))

    @event.listens_for(engine, "connect")
    def _opened(connection: Any, record: Any) -> None:
        del record
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_MS}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Any) -> None:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes", True) else "BEGIN"
        )

    return engine
