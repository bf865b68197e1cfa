"""Retention: a task that is forgotten is looked for among what dropped files stand for."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Index the dropped files by task: without it every forgotten task reads the whole table, twice."""
    op.create_index("drop_tasks_of_task", "drop_tasks", ["task"])
