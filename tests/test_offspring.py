"""A child of a process that is killed does not outlive it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from daemon.offspring import how_it_ended

CHILD = "import os, sys; from daemon.offspring import die_with; die_with(int(sys.argv[1])); print('up', flush=True); "
PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
child.wait()
"""


def test_a_child_is_killed_with_its_parent():
    words = [sys.executable, "-c", PARENT, f"{CHILD} sys.stdin.read()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        assert parent.stdout.read() == b"", "the child held the other end until it died"


def test_a_child_whose_parent_is_dead_already_ends_at_once():
    ended = subprocess.run([sys.executable, "-c", CHILD, "1"], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.parametrize(
    ("status", "words"), [(3, "ended with status 3"), (-9, "was killed by SIGKILL"), (-40, "was killed by signal 40")]
)
def test_every_end_has_words(status, words):
    assert how_it_ended(status) == words
