"""A hostile configuration ends the start with a sentence: nothing in it runs, and none of it grows."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

MEMORY = 1 << 30


def grown(first, line):
    """Twenty lines, each of which stands for many of the line before."""
    return first + "".join(line.format(name=f"a{turn}", of=f"a{turn - 1}") for turn in range(1, 20))


TABLES = grown("a0: &a0 {{x: 1}}\n".format(), "{name}: &{name} {{x: *{of}, y: *{of}, z: *{of}, w: *{of}}}\n")
LISTS = grown("a0: &a0 [lol]\n", "{name}: &{name} [" + ", ".join(["*{of}"] * 9) + "]\n")
MERGED = grown("a0: &a0 {{x: 1}}\n".format(), "{name}: &{name} {{{{<<: [" + ", ".join(["*{of}"] * 9) + "]}}}}\n")
ALIASES = "aliases (*) are not read here; write the value itself"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLES, ALIASES),
        (LISTS, ALIASES),
        (MERGED, ALIASES),
        ("engine:\n  options:\n    " + TABLES.replace("\n", "\n    "), ALIASES),
        ("a: &a [*a]\n", ALIASES),
        ("engine: {options: !!python/object/apply:os.system ['touch ran']}\n", "could not determine a constructor"),
        ("server: {host: !!python/name:os.system }\n", "could not determine a constructor"),
        ("server: {host: !!python/object/new:type {}}\n", "could not determine a constructor"),
        ("server: {host: !ruby/object:Gem::Installer {}}\n", "could not determine a constructor"),
        ("a: " + "[" * 100_000, "is nested too deeply"),
        ("a: " + "{a: " * 100_000, "is nested too deeply"),
        ("server: {port: " + "9" * 100_000 + "}\n", "a value is none of its kind"),
    ],
    ids=["tables", "lists", "merged", "options", "itself", "call", "name", "new", "ruby", "deep", "deeper", "digits"],
)
def test_a_hostile_configuration_ends_the_start_with_a_sentence(tmp_path, text, said):
    (tmp_path / "config.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "serve", "--config", "config.yaml"],
        cwd=tmp_path,
        env={"PYTHONPATH": "/".join(__file__.split("/")[:-3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (78, True, False), done.stderr[-2000:]
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
