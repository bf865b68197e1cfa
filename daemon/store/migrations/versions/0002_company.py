"""Batches over tasks: which speeches may share the engine's calls, and which are in one with others."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Mark the speeches of `批次推理`, none of them in company yet, and index those that may join."""
    for name in ("batched", "in_company"):
        op.add_column("speeches", sa.Column(name, sa.Boolean, nullable=False, server_default=sa.text("0")))
    op.execute("UPDATE speeches SET batched = 1 WHERE task IN (SELECT id FROM tasks WHERE infer_mode = '批次推理')")
    joinable = sa.text("state = 'pending' AND batched = 1 AND in_company = 0 AND attempts = 0")
    op.create_index("speeches_joinable", "speeches", ["priority", "task", "position"], sqlite_where=joinable)
