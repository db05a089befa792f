"""Logs as lines of JSON (for machines) or of plain text (for a terminal), each with the request, job, run and step that it is about.

Everything that is logged passes here, also what libraries log; secrets, tokens and passwords are taken out last.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pipelines.secret_values import redacted

KINDS = ("auto", "json", "console")
#: Libraries that tell at INFO what nobody asked.
QUIET = ("uvicorn.error", "alembic", "httpx", "httpcore", "opentelemetry", "ray")
#: Whether lines are JSON, for the service and, inherited, for its drivers.
VARIABLE = "TAMIS_LOGS"

bind = structlog.contextvars.bind_contextvars
bound = structlog.contextvars.bound_contextvars


def configure(kind: str = "auto", stream: TextIO | None = None) -> None:
    """Log to a stream (default: standard error). `auto` is plain text on a terminal and JSON elsewhere."""
    out = sys.stderr if stream is None else stream
    plain = kind == "console" or (kind == "auto" and out.isatty())
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if plain
        else structlog.processors.JSONRenderer(default=str, ensure_ascii=True)
    )
    structlog.configure(
        processors=[*first, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=first,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _redacted,
            last,
        ],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of that name."""
    found: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return found


def _redacted(log: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del log, method
    return {str(key): redacted(value) for key, value in event.items()}
