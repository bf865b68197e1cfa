"""The ledger's write-ahead log: who may bring it into the ledger, and how large it becomes."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
import threading

import pytest
import sqlalchemy

from daemon.store import Store, connections, database, looking
from daemon.store.examination import examine
from tests.live import new_task, until
from tests.workshop import rows


@pytest.fixture
def store(ledger_file, monkeypatch):
    """A ledger whose log counts as large soon."""
    monkeypatch.setattr(connections, "LOG_BOUND", 1 << 18)
    opened = Store(ledger_file)
    yield opened
    opened.close()


def log_size(file):
    return looking.log_of(file).stat().st_size


@contextlib.contextmanager
def overlapping_polls(file, count=3):
    """Readers of whom there is always one within a transaction."""
    engine, stop, looks = database.reader(file), threading.Event(), itertools.count()
    second_look = threading.Barrier(count)

    def poll():
        while not stop.is_set():
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM tasks").scalar()
                with contextlib.suppress(threading.BrokenBarrierError):
                    second_look.wait(0.002)
                connection.exec_driver_sql("SELECT max(id) FROM speeches").scalar()
            next(looks)

    threads = [threading.Thread(target=poll) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield looks
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        engine.dispose()


def test_the_log_stays_bounded_while_polls_overlap_without_end(ledger_file, store):
    largest = 0
    with overlapping_polls(ledger_file) as looks:
        for _ in range(100):
            store.submit([new_task("word " * 2000)], None)
            largest = max(largest, log_size(ledger_file))
    assert next(looks) > 20
    written = rows(ledger_file, "SELECT count(*) * 10000 FROM tasks")[0][0]
    assert largest < 1 << 20, f"{written} bytes of text were written"


def test_a_long_look_lets_the_log_grow_and_its_end_lets_it_shrink(ledger_file, store, monkeypatch):
    monkeypatch.setattr(database, "_LOG_PATIENCE", 1)
    reader = database.reader(ledger_file)
    with reader.begin() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM tasks").scalar()
        for _ in range(40):
            store.submit([new_task("word " * 20_000)], None)
        grown = log_size(ledger_file)
        assert connection.exec_driver_sql("SELECT count(*) FROM tasks").scalar() == 0
    reader.dispose()
    assert grown > 4 << 20
    until(
        lambda: store.submit([new_task("word " * 20_000)], None) and log_size(ledger_file) <= 4 << 20, "the log's end"
    )
    assert store.accepted() > 40


def test_a_reader_that_closes_last_leaves_the_log_as_it_is(ledger_file):
    writer, reader = database.writer(ledger_file), database.reader(ledger_file)
    with writer.begin() as connection:
        connection.exec_driver_sql("INSERT INTO drops (uid, name, created_at) VALUES ('u', 'x.json', 1)")
    with reader.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM drops").scalar() == 1
    before = ledger_file.read_bytes(), looking.log_of(ledger_file).read_bytes()
    writer.dispose()
    reader.dispose()
    assert (ledger_file.read_bytes(), looking.log_of(ledger_file).read_bytes()) == before


def test_a_reader_can_neither_write_nor_checkpoint(ledger_file, store):
    store.submit([new_task()], None)
    reader = database.reader(ledger_file)
    for order in ("DELETE FROM tasks", "PRAGMA application_id = 7"):
        with pytest.raises(sqlalchemy.exc.OperationalError, match="readonly"), reader.begin() as connection:
            connection.exec_driver_sql(order)
    before = ledger_file.read_bytes(), looking.log_of(ledger_file).read_bytes()
    connection = reader.raw_connection()
    with contextlib.suppress(Exception):
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    reader.dispose()
    assert (ledger_file.read_bytes(), looking.log_of(ledger_file).read_bytes()) == before


def test_looking_leaves_the_log_of_a_killed_daemon_to_the_next(ledger_file, tmp_path):
    store = Store(ledger_file)
    store.submit([new_task()], None)
    left = {suffix: (ledger_file.parent / f"indexttsd.db{suffix}").read_bytes() for suffix in ("", "-wal")}
    store.close()
    copy = tmp_path / "killed.db"
    for suffix, data in left.items():
        (tmp_path / f"killed.db{suffix}").write_bytes(data)
    assert examine(copy).tasks == {"pending": 1}
    assert {suffix: (tmp_path / f"killed.db{suffix}").read_bytes() for suffix in left} == left


def test_what_a_dead_daemon_left_in_the_log_is_in_the_ledger_before_anything_comes_after_it(
    ledger_file, store, tmp_path_factory
):
    store.submit([new_task()], None)
    left = tmp_path_factory.mktemp("left") / "state"
    shutil.copytree(ledger_file.parent, left)  # as a kill leaves it
    file = left / ledger_file.name
    with contextlib.closing(Store(file)), contextlib.closing(_without_log(file)) as connection:
        assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (1,)


def _without_log(file):
    return sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)
