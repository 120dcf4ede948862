"""Removals from an adapter that are not exact: of which requests, and what was measured of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; no row changes."""
    op.create_table(
        "measured_removals",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("adapter", sa.Text, nullable=False),
        sa.Column("measured", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "adapter", name="pk_measured_removals"),
        comment="What was measured of a removal that is not exact, as long as the adapter exists.",
    )
    op.create_index("ix_measured_removals_adapter", "measured_removals", ["adapter"])
