"""The first schema: tasks, their speeches and texts, dropped files."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_STATES = "state IN ('pending', 'processing', 'completed', 'failed', 'cancelled')"


def upgrade() -> None:
    """Make all tables."""
    _tasks()
    _speeches()
    op.create_table(
        "texts",
        sa.Column("speech", sa.Integer, sa.ForeignKey("speeches.id"), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    _drops()


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("batch", sa.Boolean, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("infer_mode", sa.String, nullable=False),
        sa.Column("prompt", sa.String, nullable=False),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("format", sa.String, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("overwrite", sa.Boolean, nullable=False),
        sa.Column("output_path", sa.String, nullable=False),
        sa.Column("directory", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sa.Column("error", sa.Text),
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.text("0")),
        sa.Column("idempotency_key", sa.String, unique=True),
        sa.Column("body_hash", sa.String),
        sa.CheckConstraint(_STATES, name="task_state"),
        sqlite_autoincrement=True,
    )
    op.create_index("tasks_by_state", "tasks", ["state", "id"])
    waiting = sa.text("state = 'pending'")
    op.create_index("tasks_waiting", "tasks", [sa.text("priority DESC"), "id"], sqlite_where=waiting)
    op.create_index("tasks_by_directory", "tasks", ["directory"], sqlite_where=sa.text("finished_at IS NULL"))


def _speeches() -> None:
    op.create_table(
        "speeches",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("task", sa.Integer, sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("file_name", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("token", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("segments_done", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("segments_total", sa.Integer),
        sa.Column("audio_seconds", sa.Float, nullable=False, server_default=sa.text("0")),
        sa.Column("process_time", sa.Float, nullable=False, server_default=sa.text("0")),
        sa.Column("digest", sa.String),
        sa.Column("error", sa.Text),
        sa.CheckConstraint(_STATES, name="speech_state"),
    )
    op.create_index("speeches_of_task", "speeches", ["task", "position"], unique=True)
    columns: list[Any] = [sa.text("priority DESC"), "task", "position"]
    op.create_index("speeches_waiting", "speeches", columns, sqlite_where=sa.text("state = 'pending'"))
    op.create_index("speeches_in_work", "speeches", ["id"], sqlite_where=sa.text("state = 'processing'"))


def _drops() -> None:
    op.create_table(
        "drops",
        sa.Column("uid", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("kept_as", sa.String),
        sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.text("0")),
    )
    op.create_index("drops_open", "drops", ["created_at"], sqlite_where=sa.text("archived = 0"))
    op.create_table(
        "drop_tasks",
        sa.Column("uid", sa.String, sa.ForeignKey("drops.uid"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("task", sa.Integer, sa.ForeignKey("tasks.id"), nullable=False),
    )
