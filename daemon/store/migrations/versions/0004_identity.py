"""Identity: a ledger says in its file's header whose it is, so that no other program's file is taken for one."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Write "itts" where SQLite keeps the id of the application that a file belongs to."""
    op.execute(f"PRAGMA application_id = {int.from_bytes(b'itts', 'big')}")
