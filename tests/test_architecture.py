"""The shape of the house: short files and functions, one place for each rule, a test module for each room."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "daemon").rglob("*.py"))
LONGEST_FILE = 320
LONGEST_FUNCTION = 50


def functions() -> Iterator[tuple[str, int]]:
    for file in PACKAGE:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                yield f"{file.name}:{node.name}", node.end_lineno - node.lineno + 1


def test_no_file_is_longer_than_a_head_can_hold():
    lengths = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8").count("\n") for file in PACKAGE}
    assert {name: count for name, count in lengths.items() if count > LONGEST_FILE} == {}


def test_functions_are_short():
    lengths = dict(functions())
    assert {name: count for name, count in lengths.items() if count > LONGEST_FUNCTION} == {}
    assert statistics.median(lengths.values()) < 10


def test_requests_are_validated_in_one_place():
    callers = [
        file.relative_to(ROOT / "daemon").parts[0]
        for file in PACKAGE
        if re.search(r"\b(TaskRequest|BatchRequest)\b", file.read_text(encoding="utf-8"))
    ]
    assert sorted(set(callers)) == ["intake.py", "tasks.py"]


@pytest.mark.parametrize("room", sorted(path.stem for path in (ROOT / "daemon").iterdir() if path.suffix == ".py"))
def test_every_room_has_a_test_module(room):
    room = {"__init__": "architecture", "__main__": "main"}.get(room, room)
    assert list((ROOT / "tests").glob(f"test_{room}*.py")), room


@pytest.mark.parametrize("room", sorted(path.name for path in (ROOT / "daemon").iterdir() if path.is_dir()))
def test_every_room_of_several_files_has_a_test_module(room):
    names = {"engines": "engine_"}
    if room != "__pycache__":
        assert list((ROOT / "tests").glob(f"test_{names.get(room, room)}*.py")), room


def test_the_project_stands_alone():
    """Nothing refers to what is outside of the repository."""
    for file in [*PACKAGE, *(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "Makefile", ROOT / "config.yaml"]:
        assert "../shared" not in file.read_text(encoding="utf-8"), file
