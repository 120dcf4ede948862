"""Service processes, for what a receipt says of memory that was freed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; no row changes."""
    op.create_table(
        "service_processes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("process", sa.BigInteger, nullable=False),
        sa.Column("born", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_service_processes"),
        comment="Which processes ran since which epoch. One that has ended stays until receipts say so.",
    )
