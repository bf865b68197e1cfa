"""What the READMEs say to paste works when it is pasted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from daemon import config
from tests.live import PATIENCE, LiveDaemon, until

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "docs" / "README_zh.md"]
IDS = ["English", "Chinese"]


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def pasted(readme: Path) -> list[str]:
    """The shell blocks, but for the two make commands, which have tests of their own."""
    return [block for block in blocks(readme, "bash") if not block.startswith("make ")]


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A daemon with the shipped prompts, its folder the reader's current one."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "prompts", folder / "prompts")
    live = LiveDaemon(folder).start()
    yield live
    live.close()


def environment(folder: Path) -> dict[str, str]:
    """PATH with the command, as in an activated environment, wherever the tests' Python has its scripts."""
    scripts = folder / "bin"
    scripts.mkdir(exist_ok=True)
    command = scripts / "indexttsd"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m daemon "$@"\n')
    command.chmod(0o755)
    return os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("readme", READMES, ids=IDS)
def test_the_shell_blocks_run_one_after_another_and_do_what_they_say(live, readme):
    for name in ("done", "failed"):
        shutil.rmtree(live.inbox / name)
        (live.inbox / name).mkdir()
    script = "\n".join(pasted(readme)).replace("51046", str(live.port))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=live.folder, env=environment(live.folder), capture_output=True, text=True, timeout=2 * PATIENCE, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "detail" not in done.stdout.replace('"detail": "Task', "")  # cancel and retry of what is over are 409
    assert (live.folder / "hello.wav").stat().st_size > 1000
    assert (live.folder / "once.wav").stat().st_size > 1000
    assert json.loads((live.inbox / "done" / "story.json.result.json").read_text())[0]["status"] == "completed"


@pytest.mark.parametrize("readme", READMES, ids=IDS)
def test_the_dropped_example_is_accepted(live, readme):
    [example] = blocks(readme, "json")
    live.drop(f"example-{IDS[READMES.index(readme)]}.json", example.encode())
    views = live.note(f"done/example-{IDS[READMES.index(readme)]}.json.result.json")
    assert [view["status"] for view in views] == ["completed", "completed"]


@pytest.mark.parametrize("readme", READMES, ids=IDS)
def test_the_configuration_example_is_accepted(tmp_path, readme):
    [example] = blocks(readme, "yaml")
    (tmp_path / "config.yaml").write_text(example, encoding="utf-8")
    assert config.load(tmp_path / "config.yaml").prompts.default == "female_zh.wav"


def test_both_readmes_have_the_same_blocks_but_for_their_comments():
    def commands(readme: Path) -> list[str]:
        return [re.sub(r" +#.*", "", block) for block in blocks(readme, "bash") + blocks(readme, "json")]

    assert commands(READMES[0]) == commands(READMES[1])


@pytest.mark.parametrize("readme", READMES, ids=IDS)
def test_every_route_command_and_exit_code_is_named(readme):
    text = readme.read_text(encoding="utf-8")
    for command in (
        "serve",
        "say",
        "submit",
        "tasks",
        "show",
        "watch",
        "cancel",
        "retry",
        "prompts",
        "check",
        "db",
        "prune",
        "token new",
        "token list",
        "token revoke",
    ):
        assert re.search(rf"\b{command}\b", text) or command == "serve", command
    for word in ("/health", "/ready", "/prompts", "/tasks", "/batch_tasks", "/audio", "/retry", "/stats", "69", "78"):
        assert word in text, word


@pytest.mark.parametrize("readme", READMES, ids=IDS)
def test_every_link_into_the_project_leads_somewhere(readme):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme.read_text(encoding="utf-8")):
        assert (readme.parent / target).exists(), target


def in_an_environment() -> bool:
    return (ROOT / ".venv" / "dev.done").exists()


@pytest.mark.skipif(not in_an_environment(), reason="needs .venv as `make` sets it up")
def test_make_run_serves_until_it_is_stopped(tmp_path):
    live = LiveDaemon(tmp_path)
    command = ["make", "--old-file=pyproject.toml", "run", f"CONFIG={live.config}"]
    with live.log.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: "listening on" in live.log.read_text(), "make run")
        assert live.get("/health").json == {"status": "ok"}
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE)
    assert "stopping" in live.log.read_text()


@pytest.mark.listening
@pytest.mark.timeout(600)
@pytest.mark.skipif(not in_an_environment(), reason="needs .venv as `make` sets it up")
def test_make_demo_speaks_through_both_doors():
    done = subprocess.run(
        ["make", "--old-file=pyproject.toml", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = re.findall(r"file   (.*\.wav)", done.stdout)
    assert len(files) == 2
    assert all(Path(file).stat().st_size > 50_000 for file in files), done.stdout
    shutil.rmtree(Path(files[0]).parents[2])


def test_config_yaml_is_what_the_readme_calls_it():
    assert yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["server"]["port"] == 51046
