"""Users, items, interactions, the change log, forget requests and ingest checkpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_COUNTERS = ("epoch", "event", "interaction", "item", "scrub", "user")


def upgrade() -> None:
    """Create every table and the counters."""
    _create_catalogue()
    _create_interactions()
    _create_journal()


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _create_catalogue() -> None:
    op.create_table(
        "users",
        sa.Column("number", _number(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_users"),
        sa.UniqueConstraint("id", name="uq_users_id"),
    )
    op.create_table(
        "items",
        sa.Column("number", _number(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("provider", sa.Text),
        sa.PrimaryKeyConstraint("number", name="pk_items"),
        sa.UniqueConstraint("id", name="uq_items_id"),
    )
    op.create_table(
        "events",
        sa.Column("code", _number(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("code", name="pk_events"),
        sa.UniqueConstraint("name", name="uq_events_name"),
    )


def _create_interactions() -> None:
    op.create_table(
        "interactions",
        sa.Column("user_number", sa.BigInteger, sa.ForeignKey("users.number"), nullable=False),
        sa.Column("item_number", sa.BigInteger, sa.ForeignKey("items.number"), nullable=False),
        sa.Column("event_code", sa.SmallInteger, sa.ForeignKey("events.code"), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("text", sa.Text),
        sa.PrimaryKeyConstraint("user_number", "item_number", "event_code", "time", name="pk_interactions"),
        sqlite_with_rowid=False,
    )


def _create_journal() -> None:
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
        comment="Next numbers. They outlive the rows they numbered, so that no number is ever reused.",
    )
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in _COUNTERS])
    op.create_table(
        "changes",
        sa.Column("epoch", _number(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("epoch", name="pk_changes"),
    )
    op.create_table(
        "forget_requests",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch_before", sa.BigInteger, nullable=False),
        sa.Column("epoch_after", sa.BigInteger),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("completed", sa.BigInteger),
        sa.Column("removed", sa.Text, nullable=False),
        sa.Column("timings_ms", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_forget_requests"),
    )
    op.create_table(
        "ingest_checkpoints",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("duplicates", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_ingest_checkpoints"),
    )
