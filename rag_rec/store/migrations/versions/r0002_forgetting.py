"""Forget requests with receipts, the ledger, the suppression list, legal holds, live replicas and adapters' lineage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of the forget protocol and keep what is known of earlier requests."""
    _add_counters()
    op.add_column("ingest_checkpoints", sa.Column("suppressed", sa.BigInteger, nullable=False, server_default="0"))
    _renew_requests()
    _create_suppressions()
    _create_ledger()
    _create_holds_and_replicas()
    _create_lineage()


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _add_counters() -> None:
    newest = sa.text("SELECT max(epoch) FROM changes WHERE kind = 'forget'")
    erasure = op.get_bind().execute(newest).scalar() or 0
    counters = sa.table("counters", sa.column("name", sa.Text), sa.column("value", sa.BigInteger))
    op.bulk_insert(counters, [{"name": "erasure", "value": erasure}, {"name": "suppressed", "value": 0}])


def _renew_requests() -> None:
    # A request that had been interrupted said nowhere whom it meant: nothing could take it up, and it has to be made
    # again. The complete ones are kept; they have no receipt.
    complete = op.get_bind().execute(sa.text("SELECT * FROM forget_requests WHERE state = 'complete'")).mappings().all()
    op.drop_table("forget_requests")
    requests = op.create_table(
        "forget_requests",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("batch_id", sa.Text),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("user_number", sa.BigInteger),
        sa.Column("epoch_before", sa.BigInteger, nullable=False),
        sa.Column("epoch_after", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("deadline", sa.BigInteger, nullable=False),
        sa.Column("times", sa.Text, nullable=False),
        sa.Column("removed", sa.Text, nullable=False),
        sa.Column("timings_ms", sa.Text, nullable=False),
        sa.Column("receipt", sa.Text),
        sa.PrimaryKeyConstraint("request_id", name="pk_forget_requests"),
    )
    op.bulk_insert(requests, _without_receipt(complete))
    for column in ("plan", "batch_id", "state"):
        op.create_index(f"ix_forget_requests_{column}", "forget_requests", [column])


def _without_receipt(rows: Sequence[Any]) -> list[dict[str, Any]]:
    kept = ("request_id", "scope", "state", "epoch_before", "epoch_after", "created", "removed", "timings_ms")
    absent = {"batch_id": None, "subject": "", "plan": "", "user_number": None, "receipt": None}
    return [
        {name: row[name] for name in kept} | absent | {"deadline": row["completed"], "times": _times(row)}
        for row in rows
    ]


def _times(row: Any) -> str:
    return orjson.dumps({"accepted": row["created"], "complete": row["completed"]}).decode()


def _create_suppressions() -> None:
    op.create_table(
        "suppressions",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("identity", sa.BigInteger, nullable=False),
        sa.Column("consented", sa.BigInteger),
        sa.PrimaryKeyConstraint("digest", name="pk_suppressions"),
    )
    op.create_index("ix_suppressions_subject", "suppressions", ["subject"])
    op.create_table(
        "seals",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_seals"),
        comment="Which key the pseudonyms of this store were made with.",
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("sequence", _number(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_ledger"),
    )


def _create_holds_and_replicas() -> None:
    op.create_table(
        "holds",
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_holds"),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("process", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("adapters", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )


def _create_lineage() -> None:
    op.create_table(
        "lineage",
        sa.Column("adapter", sa.Text, nullable=False),
        sa.Column("user_number", sa.BigInteger, nullable=False),
        sa.Column("interactions", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("adapter", "user_number", name="pk_lineage"),
    )
    op.create_index("ix_lineage_user_number", "lineage", ["user_number"])
    op.create_table(
        "debts",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("adapter", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "adapter", name="pk_debts"),
    )
    op.create_index("ix_debts_adapter", "debts", ["adapter"])
