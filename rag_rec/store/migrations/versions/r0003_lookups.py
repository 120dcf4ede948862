"""Indexes by which forget requests are found: about a person, and the newest."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes; no row changes."""
    op.create_index("ix_forget_requests_subject", "forget_requests", ["subject"])
    op.create_index("ix_forget_requests_created", "forget_requests", ["created", "epoch_after"])
