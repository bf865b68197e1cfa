"""What libraries print in the engine's process: in the log at debug level, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAD = """
import logging, sys
from daemon import logs
from daemon.engines import noise
logs.set_up({level!r}, texts={texts})
noise.to_log()
"""


def logged(code: str, level: str = "debug", *, texts: bool = True) -> list[str]:
    """What stands in the log after `code` ran in a process of its own, without times; nothing else may come out."""
    script = HEAD.format(level=level, texts=texts) + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return [line.split(" ", 2)[2] for line in done.stderr.splitlines()]


def test_what_is_printed_is_logged_by_lines():
    assert logged("print('one\\ntwo'); print('three', file=sys.stderr); print(); print('第四')") == [
        f"DEBUG   indexttsd.engine.noise: {word}" for word in ("one", "two", "three", "第四")
    ]


def test_at_another_level_nothing_of_it_is_shown():
    assert logged("print('one'); print('two', file=sys.stderr)", level="info") == []


def test_where_texts_may_not_be_shown_nothing_of_it_is():
    code = "print('one'); logging.getLogger('indextts').info('the text'); logging.getLogger('indexttsd').info('ours')"
    assert logged(code, texts=False) == ["INFO    indexttsd: ours"]


def test_a_progress_bar_is_a_line_each_time_it_is_drawn():
    lines = logged("for done in range(3): sys.stderr.write(f'\\r{done}%'); sys.stderr.flush()\nprint('\\r')")
    assert [line.rpartition(" ")[2] for line in lines] == ["0%", "1%", "2%"]


def test_a_line_that_never_ends_comes_in_pieces():
    lines = logged("for _ in range(10): sys.stdout.write('x' * 1000)")
    assert [len(line.rpartition(" ")[2]) for line in lines] == [5000, 5000]


@pytest.mark.parametrize("sign", ["\\ud800", "\\x1b[2J"])
def test_no_sign_can_break_what_prints_or_forge_a_line(sign):
    (line,) = logged(f"print('a{sign}b')")
    assert line.isprintable()


def test_bytes_and_what_asks_for_a_terminal_find_a_stream_of_the_usual_kind():
    code = (
        "sys.stdout.buffer.write(b'raw\\n'); print(sys.stdout.isatty(), sys.stdout.encoding); sys.stderr.reconfigure()"
    )
    assert [line.partition("noise: ")[2] for line in logged(code)] == ["raw", "False utf-8"]


def test_a_warning_is_logged_at_debug_level_too():
    (line, *_) = logged("import warnings; warnings.warn('careful')")
    assert line.startswith("DEBUG")
    assert "careful" in line


def test_what_libraries_log_below_info_is_not_shown_at_all_and_ours_is():
    code = "logging.getLogger('numba').debug('dispatch'); logging.getLogger('indexttsd.engine').debug('ours')"
    assert logged(code) == ["DEBUG   indexttsd.engine: ours"]


def test_what_libraries_have_to_tell_is_debugging_and_their_warnings_are_shown():
    code = "logging.getLogger('matplotlib').info('news'); logging.getLogger('matplotlib').warning('careful')"
    assert logged(code) == ["INFO    matplotlib: news", "WARNING matplotlib: careful"]
    assert logged(code, level="info") == ["WARNING matplotlib: careful"]
    assert logged(code, level="error") == []


def test_a_log_that_cannot_be_written_does_not_turn_in_circles():
    script = HEAD.format(level="debug", texts=True) + "import os; os.close(2); print('one'); os._exit(7)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (7, b"")
