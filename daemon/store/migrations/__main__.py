"""`python -m daemon.store.migrations FILE PARENT_PID`: bring one ledger to the newest revision."""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import exc

from daemon.offspring import die_with
from daemon.store import database, faults


def upgrade(file: Path, revision: str = "head") -> None:
    """Run all missing revisions up to `revision` in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    engine = config.attributes["engine"] = database.writer(file)
    try:
        command.upgrade(config, revision)
    finally:
        engine.dispose()  # the last checkpoint: a new ledger is one file when it gets its name


def main() -> None:
    """Upgrade; a fault that means something to the daemon ends in its sentence and status."""
    file, parent = Path(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    try:
        upgrade(file)
    except exc.DBAPIError as error:
        meaning = faults.meaning_of(error.orig, str(file))
        sys.stderr.write(f"{meaning or error.orig}\n")
        sys.exit(next((status for status, kind in faults.BY_STATUS.items() if isinstance(meaning, kind)), 1))


if __name__ == "__main__":
    main()
