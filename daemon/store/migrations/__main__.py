"""`python -m daemon.store.migrations FILE`: bring one ledger to the newest revision."""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from daemon.store import database


def upgrade(file: Path, revision: str = "head") -> None:
    """Run all missing revisions up to `revision` in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["engine"] = database.writer(file)
    command.upgrade(config, revision)


if __name__ == "__main__":
    upgrade(Path(sys.argv[1]))
