"""What the database holds. Every row can be made again from the store (`cache.py`)."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables."""


class RunRow(Base):
    """A job, or a run of the store that nobody submitted (managed = False), as lists show it."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_by_time", "created", "id"),
        Index("runs_by_state", "state", "priority", "created"),
        Index("runs_by_run", "run"),
    )

    id: Mapped[str] = mapped_column(String(160), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    managed: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer)
    number: Mapped[int] = mapped_column(BigInteger)  # of the last event known: the row's version
    created: Mapped[float] = mapped_column(Float(53))
    updated: Mapped[float] = mapped_column(Float(53))
    priority: Mapped[int] = mapped_column(Integer)
    token: Mapped[str | None] = mapped_column(String(12), index=True)
    run: Mapped[str | None] = mapped_column(String(160))
    spec_digest: Mapped[str] = mapped_column(String(64))
    restarts: Mapped[int] = mapped_column(Integer)  # crashes since it was queued last
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    total: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    export: Mapped[str | None] = mapped_column(Text)
    pinned: Mapped[bool] = mapped_column(Boolean)
