"""The store's identity, and the data folders that hold files made from its people."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the identity, which never changes again."""
    identity = op.create_table(
        "identity",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_identity"),
        comment="The random id by which a data folder knows the store that it belongs to.",
    )
    op.bulk_insert(identity, [{"name": "store", "value": secrets.token_hex(16)}])
    op.create_table(
        "places",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("adapters", sa.Text, nullable=False),
        sa.Column("retired", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_places"),
    )
