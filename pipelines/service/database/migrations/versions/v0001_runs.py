"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of runs."""
    op.create_table(
        "runs",
        sa.Column("id", sa.String(160), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("managed", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Float(53), nullable=False),
        sa.Column("updated", sa.Float(53), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("token", sa.String(12)),
        sa.Column("run", sa.String(160)),
        sa.Column("spec_digest", sa.String(64), nullable=False),
        sa.Column("restarts", sa.Integer, nullable=False),
        sa.Column("progress", sa.JSON),
        sa.Column("total", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("export", sa.Text),
        sa.Column("pinned", sa.Boolean, nullable=False),
    )
    op.create_index("runs_by_time", "runs", ["created", "id"])
    op.create_index("runs_by_state", "runs", ["state", "priority", "created"])
    op.create_index("runs_by_run", "runs", ["run"])
    op.create_index("ix_runs_name", "runs", ["name"])
    op.create_index("ix_runs_token", "runs", ["token"])


def downgrade() -> None:
    """Drop it: the store makes it again."""
    op.drop_table("runs")
