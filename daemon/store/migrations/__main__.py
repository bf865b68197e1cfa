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
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    engine = config.attributes["engine"] = database.writer(file)
    try:
        command.upgrade(config, revision)
    finally:
        engine.dispose()  # the last checkpoint: a new ledger is one file when it gets its name


if __name__ == "__main__":
    upgrade(Path(sys.argv[1]))
