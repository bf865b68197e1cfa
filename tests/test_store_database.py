"""The ledger's file: its revisions, its settings, and files that are no ledger of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from daemon.errors import ConfigError
from daemon.store import Store, database, schema
from daemon.store.migrations.__main__ import upgrade
from tests.live import new_task
from tests.workshop import rows


def definitions(file):
    """Every table and index of a ledger, in SQLite's words with the blanks evened out."""
    found = rows(file, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
    return {name: " ".join(sql.split()) for name, sql in found}


def test_the_revisions_make_the_tables_that_the_code_knows(ledger_file, tmp_path):
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/made.db")
    schema.metadata.create_all(made)
    made.dispose()
    assert definitions(ledger_file) == definitions(tmp_path / "made.db")


def test_alembic_finds_no_difference_either(ledger_file):
    engine = database.writer(ledger_file)
    with engine.begin() as connection, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")
        # Alembic cannot read indexes of expressions; the test above compares them word by word.
        context = MigrationContext.configure(connection, opts={"include_object": lambda *one: one[2] != "index"})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_the_newest_revision_is_the_one_the_code_names():
    scripts = ScriptDirectory("daemon/store/migrations")
    assert scripts.get_current_head() == schema.REVISION


def test_the_ledger_opens_only_its_newest_revision(ledger_file):
    rows(ledger_file, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="newer indexttsd"):
        Store(ledger_file)
    assert rows(ledger_file, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_migrating_twice_changes_nothing(ledger_file):
    before = definitions(ledger_file)
    command = [sys.executable, "-m", "daemon.store.migrations", str(ledger_file), str(os.getpid())]
    assert subprocess.run(command, check=False).returncode == 0
    assert definitions(ledger_file) == before


def test_an_older_ledger_keeps_its_tasks_and_learns_who_may_share_calls(tmp_path):
    file = tmp_path / "indexttsd.db"
    upgrade(file, "0001")
    for task, mode in enumerate(("普通推理", "批次推理", "批次推理"), 1):
        rows(
            file,
            "INSERT INTO tasks (id, batch, state, priority, infer_mode, prompt, seed, format, options, overwrite, "
            f"output_path, directory, created_at) VALUES ({task}, 0, 'pending', 5, '{mode}', 'alice.wav', 7, 'wav', "
            "'{}', 0, '/out', '/out', 1.5)",
        )
        rows(
            file,
            "INSERT INTO speeches (id, task, position, file_name, state, priority, attempts) "
            f"VALUES ({task}, {task}, 0, '{task}.wav', 'pending', 5, {task // 3})",
        )
        rows(file, f"INSERT INTO texts VALUES ({task}, 'text {task}')")
    store = Store(file)
    assert rows(file, "SELECT batched, in_company FROM speeches") == [(0, 0), (1, 0), (1, 0)]
    assert [claim.text for claim in iter(lambda: store.claim_mate(5), None)] == ["text 2"], "3 was tried before"
    assert [claim.text for claim in iter(store.claim, None)] == ["text 1", "text 3"]
    store.close()


def test_commits_are_brought_to_the_disk(ledger_file):
    engine = database.writer(ledger_file)
    with engine.begin() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "foreign_keys")
        }
        assert asked == {"synchronous": 2, "foreign_keys": 1}
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_readers_cannot_write(ledger_file):
    engine = database.reader(ledger_file)
    with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly"), engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM tasks")
    engine.dispose()


def test_a_task_outlives_the_ledger_that_took_it(ledger_file):
    store = Store(ledger_file)
    [receipt] = store.submit([new_task()], None)
    store.close()
    assert not ledger_file.with_name("indexttsd.db-wal").exists()
    again = Store(ledger_file)
    assert again.task(receipt.task_id).task_id == receipt.task_id
    again.close()


def test_a_path_may_hold_the_signs_of_addresses(tmp_path, empty_ledger):
    folder = tmp_path / "a?b=c#d%20e 你好"
    folder.mkdir()
    shutil.copy(empty_ledger, folder / "indexttsd.db")
    store = Store(folder / "indexttsd.db")
    assert store.submit([new_task()], None)
    store.close()
    assert rows(folder / "indexttsd.db", "SELECT COUNT(*) FROM tasks") == [(1,)]
