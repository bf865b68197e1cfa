"""Where the command line begins: exit codes, one line for every error, and a quick --help."""

from __future__ import annotations

import subprocess
import sys

import pytest

from daemon.__main__ import EXIT_CODES, exit_code, main
from daemon.errors import ConfigError, DaemonUnreachable, InUse, LedgerBroken, LedgerDamaged, LedgerUnavailable
from tests.live import free_port


def run(monkeypatch, capfd, *words):
    """Run a command in this process: its exit code, output and error."""
    monkeypatch.setattr(sys, "argv", ["indexttsd", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return ended.value.code or 0, out, err


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to stand in, with a quick engine's configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(f"server: {{port: {free_port()}}}\nengine: {{name: tone}}\n")
    return tmp_path


def test_the_exit_codes_are_those_of_the_contract():
    assert {ConfigError: 78, DaemonUnreachable: 69} == EXIT_CODES


@pytest.mark.parametrize(
    ("error", "code"), [(InUse, 78), (LedgerDamaged, 78), (LedgerBroken, 1), (LedgerUnavailable, 1)]
)
def test_an_error_exits_as_the_one_above_it_in_the_tree(error, code):
    assert exit_code(error("why")) == code


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--help"], 0, "Exit codes: 0 done, 1 the task failed or was refused, 2 wrong usage"),
        (["--version"], 0, "indexttsd"),
        ([], 2, "Usage: indexttsd"),
        (["sing"], 2, "No such command 'sing'"),
        (["show"], 2, "Missing argument 'ID'"),
        (["tasks", "--status", "dead"], 2, "'dead' is not one of"),
        (["tasks", "--limit", "0"], 2, "0 is not in the range"),
        (["submit", "none.json"], 2, "none.json"),
        (["say", "hi", "--seed", "-1"], 2, "-1 is not in the range"),
        (["tasks"], 69, "no daemon answers at 127.0.0.1:"),
        (["show", "task_1_0"], 69, "start it with: indexttsd serve"),
        (["tasks", "--config", "none.yaml"], 78, "none.yaml cannot be read: No such file"),
        (["say", "  "], 1, "the text is blank"),
        (["say", "hi", "-o", "x.aiff"], 1, "must end in .wav, .flac, .ogg, .mp3"),
        (["say", "hi"], 1, "No prompt audio files found in the 'prompts' directory."),
        (["check", "none.json"], 1, "No such file"),
        (["check"], 1, "there is no recording in"),
        (["prompts"], 0, ""),
    ],
    ids=str,
)
def test_a_command_ends_with_its_code_and_a_sentence(here, monkeypatch, capfd, words, code, sentence):
    ended, out, err = run(monkeypatch, capfd, *words)
    assert (ended, sentence in out + err) == (code, True), out + err


def test_a_wrong_configuration_is_exit_78_for_every_command(here, monkeypatch, capfd):
    (here / "config.yaml").write_text("server: {prot: 1}")
    (here / "x.json").write_text("{}")
    commands = ("serve", "say hi", "submit x.json", "tasks", "show x", "watch x", "cancel x", "retry x", "prompts")
    for command in (*commands, "check"):
        code, _, err = run(monkeypatch, capfd, *command.split())
        assert (code, err.count("\n")) == (78, 1), command
        assert "line 1: unknown key 'server.prot'" in err


def test_without_any_configuration_the_places_are_named(here, monkeypatch, capfd):
    (here / "config.yaml").unlink()
    code, _, err = run(monkeypatch, capfd, "tasks")
    assert code == 78
    assert "neither config.yaml nor /etc/indexttsd/config.yaml exists; name one with --config FILE" in err


def test_what_nobody_foresaw_is_one_line_too(here, monkeypatch, capfd):
    (here / "out.wav").mkdir()
    (here / "state").write_text("a file where a folder belongs")
    code, _, err = run(monkeypatch, capfd, "check")
    assert code == 78
    assert err.count("\n") == 1


def test_a_bug_is_one_line_with_its_name(here, monkeypatch, capfd):
    monkeypatch.setattr("daemon.__main__.cli", lambda prog_name: 1 // 0)
    code, _, err = run(monkeypatch, capfd)
    assert (code, err) == (1, "indexttsd: ZeroDivisionError: integer division or modulo by zero\n")


def test_help_loads_no_library_that_takes_time():
    program = (
        "import sys; sys.argv = ['indexttsd', '--help']\n"
        "from daemon.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'pydantic', 'sqlalchemy', 'yaml', 'rich', 'bottle', 'watchdog'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
    about_tasks = ("submit", "tasks", "show", "watch", "cancel", "retry")
    names = (*about_tasks, "serve", "say", "prompts", "check", "models", "db", "prune")
    for command in names:
        assert f"\n  {command} " in shown.stdout


def test_a_reader_that_leaves_is_no_error(here):
    (here / "prompts").mkdir()
    for n in range(3000):
        (here / "prompts" / f"{n:05d}-{'x' * 40}.wav").touch()
    command = f"{sys.executable} -m daemon prompts | head -1"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (ended.stderr, ended.stdout.startswith("00000-")) == ("", True)
