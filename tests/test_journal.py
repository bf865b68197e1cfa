"""journald's own protocol, spoken to a socket that stands in for it."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys

import pytest

from daemon import journal
from daemon.journal import Journal, encoded
from tests.live import PATIENCE

SCRIPT = """
import logging, os, sys
from pathlib import Path
from daemon import journal, logs
found = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
Journal = journal.Journal
logs.Journal = lambda: Journal(Path(sys.argv[1]))
logs.set_up("debug")
log = logging.getLogger("indexttsd.test")
"""


def decoded(record: bytes) -> list[tuple[str, bytes]]:
    """The fields of a record, read as journald reads them."""
    fields = []
    while record:
        name, _, rest = record.partition(b"\n")
        (length,) = struct.unpack("<Q", rest[:8])
        assert rest[8 + length : 9 + length] == b"\n"
        fields.append((name.decode(), rest[8 : 8 + length]))
        record = rest[9 + length :]
    return fields


@pytest.fixture
def journald(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(str(tmp_path / "socket"))
        yield listener


def logged(place, code):
    """What came out of standard error of a process that logs to the journal there."""
    command = [sys.executable, "-c", SCRIPT + code, str(place)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stderr


def received(journald):
    return {name: value.decode() for name, value in decoded(journald.recv(1 << 20))}


def test_a_record_comes_with_its_priority_its_task_and_what_happened(journald):
    said = logged(journald.getsockname(), "log.warning('it %s', 'failed', extra={'task': 'task_1_2', 'action': 'f'})")
    fields = received(journald)
    assert said == ""
    assert fields.pop("CODE_LINE").isdigit()
    assert fields == {
        "MESSAGE": "it failed",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "indexttsd",
        "LOGGER": "indexttsd.test",
        "CODE_FILE": "<string>",
        "CODE_FUNC": "<module>",
        "INDEXTTSD_ACTION": "f",
        "INDEXTTSD_TASK": "task_1_2",
    }


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", "7"), ("info", "6"), ("warning", "4"), ("error", "3"), ("critical", "2")]
)
def test_every_level_has_its_priority(journald, level, priority):
    logged(journald.getsockname(), f"log.{level}('x')")
    assert received(journald)["PRIORITY"] == priority


def test_a_record_of_several_tasks_is_found_by_each(journald):
    logged(journald.getsockname(), "log.info('taken', extra={'task': ['task_1', 'task_2']})")
    tasks = [value for name, value in decoded(journald.recv(1 << 20)) if name == "INDEXTTSD_TASK"]
    assert tasks == [b"task_1", b"task_2"]


def test_no_message_can_forge_a_field_or_a_line(journald):
    logged(journald.getsockname(), "log.info('%s', 'a\\nPRIORITY=0\\x1b[2J\\ud800\\0')")
    fields = decoded(journald.recv(1 << 20))
    assert dict(fields)["MESSAGE"] == b"a\\nPRIORITY=0\\x1b[2J\\ud800\\x00"
    assert [name for name, _ in fields].count("PRIORITY") == 1


def test_a_traceback_is_part_of_the_message_and_quotes_no_text(journald):
    code = "text = 'SECRET'\ntry:\n    int(text)\nexcept ValueError:\n    log.exception('it broke')"
    logged(journald.getsockname(), code)
    first, *rest = received(journald)["MESSAGE"].splitlines()
    assert first == "it broke"
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-1] == "  ValueError"


def test_a_message_that_no_datagram_holds_is_cut_between_characters(journald):
    said = logged(journald.getsockname(), "log.info('%s', '第' * 10**6, extra={'task': ['task'] * 10**5})")
    message = received(journald)["MESSAGE"]
    assert said == ""
    assert set(message) == {"第"}
    assert 10_000 < len(message) < 20_000


def test_where_nobody_takes_it_it_goes_to_standard_error_with_its_priority(tmp_path):
    assert logged(tmp_path / "gone", "log.error('one\\ntwo'); log.info('three')") == "<3>one\\ntwo\n<6>three\n"


def test_the_whole_record_fits_into_a_datagram():
    assert len(encoded(("INDEXTTSD_TASK", "x" * 100) for _ in range(10_000))) < 200_000


@pytest.mark.parametrize(("stream", "ours"), [("{dev}:{ino}", True), ("{dev}:1", False), ("", False), (None, False)])
def test_standard_error_is_the_journal_only_if_it_is_the_very_file_systemd_named(monkeypatch, tmp_path, stream, ours):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    found = os.fstat(2)
    if stream is not None:
        monkeypatch.setenv("JOURNAL_STREAM", stream.format(dev=found.st_dev, ino=found.st_ino))
    assert journal.is_our_stderr() is ours


def test_a_log_that_is_set_up_anew_leaves_no_descriptor_open(journald):
    held = "len(os.listdir('/proc/self/fd'))"
    logged(journald.getsockname(), f"held = {held}\nlogs.set_up('info')\nlog.info('%d more', {held} - held)")
    assert received(journald)["MESSAGE"] == "0 more"


def test_a_line_that_is_closed_takes_nothing(tmp_path):
    line = Journal(tmp_path / "socket")
    line.close()
    with pytest.raises(OSError, match="descriptor"):
        line.send([("MESSAGE", "x")])
