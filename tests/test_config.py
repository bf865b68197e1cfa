"""config.yaml: the shipped file, the defaults, and every mistake an operator can make, with its line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from daemon import config, premises
from daemon.cli.options import find
from daemon.errors import ConfigError

SHIPPED = Path("config.yaml")


@pytest.fixture
def load(tmp_path):
    """Loads a configuration of these lines."""

    def write_and_load(text):
        file = tmp_path / "config.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return config.load(file)

    return write_and_load


def refusal(load, text):
    """The sentence after the file's name."""
    with pytest.raises(ConfigError) as refused:
        load(text)
    sentence = str(refused.value)
    assert "config.yaml" in sentence
    assert "\n" not in sentence
    return sentence.partition("config.yaml")[2].lstrip(", :")


def leaves(table, path=()):
    for key, value in table.items():
        yield from leaves(value, (*path, key)) if isinstance(value, dict) and value else [(*path, key)]


# The shipped file


def test_the_shipped_file_says_exactly_the_defaults(tmp_path):
    copy = tmp_path / "config.yaml"
    copy.write_bytes(SHIPPED.read_bytes())
    shipped = config.load(copy).model_dump()
    copy.write_bytes(b"")
    assert config.load(copy).model_dump() == shipped


def test_the_shipped_file_holds_every_key():
    written = set(leaves(yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))))
    known = set(leaves(config.Config().model_dump()))
    assert written == known


def test_every_key_of_the_shipped_file_has_a_comment():
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    keys = [line for line in lines if re.match(r"  \w+:", line)]
    assert keys
    assert [line for line in keys if not re.search(r" # \S", line)] == []


def test_the_defaults_are_those_of_the_contract(load, tmp_path):
    found = load("")
    assert (found.server.host, found.server.port, found.server.max_body_bytes) == ("127.0.0.1", 51046, 4 * 1024**2)
    assert found.paths.inbox == tmp_path / "inbox"
    assert (found.paths.prompts, found.paths.state) == (tmp_path / "prompts", tmp_path / "state")
    assert found.output.roots == [tmp_path / "outputs"]
    assert (found.engine.name, found.engine.model_dir, found.engine.device) == ("kokoro", None, "auto")
    lasting = (found.engine.unload_after, found.engine.recycle_rss_mb, found.engine.recycle_gpu_mb)
    assert lasting == (None, None, None)
    assert (found.worker.max_attempts, found.worker.segment_timeout) == (3, 600)
    assert (found.prompts.default, found.limits.text_chars) == ("random", 100_000)
    assert (found.inbox.settle_seconds, found.inbox.rescan_seconds) == (2, 30)


# Where it is looked for


def test_a_configuration_is_looked_for_here_and_then_in_etc(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"neither config\.yaml nor /etc/indexttsd/config\.yaml exists"):
        find()
    system = tmp_path / "etc.yaml"
    system.touch()
    assert find(system=system) == system
    Path("config.yaml").touch()
    assert find() == Path("config.yaml")
    assert capsys.readouterr().err == ""
    assert find(system=system) == Path("config.yaml")
    assert capsys.readouterr().err == f"indexttsd: {tmp_path}/config.yaml is used, and not {system}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("strangers", ["file", "folder"])
def test_a_strangers_configuration_is_not_found_where_the_system_has_one(tmp_path, monkeypatch, capsys, strangers):
    monkeypatch.chdir(tmp_path)
    here, system = tmp_path / "config.yaml", tmp_path / "etc.yaml"
    here.touch()
    system.touch()
    os.chown(here if strangers == "file" else tmp_path, 65534, 65534)
    assert find() == Path("config.yaml"), "there is nothing else"
    assert find(system=system) == system
    assert capsys.readouterr().err == f"indexttsd: {system} is used, and not {here}, which is somebody else's\n"


def test_paths_are_relative_to_the_file_not_to_the_caller(tmp_path, monkeypatch):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "config.yaml").write_text(
        "paths: {inbox: ../in, state: /var/x}\noutput: {roots: [out, /srv]}\nengine: {model_dir: m}"
    )
    monkeypatch.chdir(tmp_path)
    found = config.load(Path("etc/config.yaml"))
    assert (found.paths.inbox, found.paths.state) == (tmp_path / "in", Path("/var/x"))
    assert found.output.roots == [tmp_path / "etc" / "out", Path("/srv")]
    assert (found.engine.model_dir, found.file) == (tmp_path / "etc" / "m", tmp_path / "etc" / "config.yaml")


def test_an_empty_section_has_its_defaults(load):
    assert load("server:\npaths:\n").server.port == 51046


# Mistakes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\nserver:\n  prot: 1\n", "line 3: unknown key 'server.prot'; did you mean 'server.port'?"),
        ("log: {}\nsevrer: {}\n", "line 2: unknown key 'sevrer'; did you mean 'server'?"),
        ("server:\n  port: '1'\n", "line 2: 'server.port' must be a whole number"),
        ("server:\n  port: 1.0\n", "line 2: 'server.port' must be a whole number"),
        ("server:\n  port: true\n", "line 2: 'server.port' must be a whole number"),
        ("server:\n  port: null\n", "line 2: 'server.port' must be a whole number"),
        ("server:\n  port: 70000\n", "line 2: 'server.port'"),
        ("server: 5\n", "line 1: 'server' must be an object"),
        ("server:\n  hosts: ['https://tts.example']\n", "line 2: 'server.hosts.0': must be a host name"),
        ("server:\n  hosts: ['tts.example:80']\n", "line 2: 'server.hosts.0': must be a host name"),
        ("server:\n  hosts: [a, 5]\n", "line 2: 'server.hosts.1' must be a string"),
        ("server: {1: 2}\n", "line 1: 'server.1'"),
        ("paths: {inbox: ~}\n", "line 1: 'paths.inbox': must name a path"),
        ("paths: {inbox: ''}\n", "line 1: 'paths.inbox': must name a path"),
        ('paths: {inbox: "a\\0b"}\n', "line 1: 'paths.inbox': must name a path"),
        ("paths:\n  inbox: ~/inbox\n", "line 2: 'paths.inbox': must not begin with '~'"),
        ("output: {roots: []}\n", "line 1: 'output.roots'"),
        ("output: {roots: out}\n", "line 1: 'output.roots' must be a list"),
        ("engine: {name: espeak}\n", "line 1: 'engine.name' must be 'kokoro'"),
        ("engine: {unload_after: -1}\n", "line 1: 'engine.unload_after'"),
        ("engine: {unload_after: soon}\n", "line 1: 'engine.unload_after' must be a number"),
        ("engine:\n  recycle_rss_mb: 0\n", "line 2: 'engine.recycle_rss_mb'"),
        ("engine:\n  recycle_gpu_mb: 1.5\n", "line 2: 'engine.recycle_gpu_mb' must be a whole number"),
        ("log: {level: off}\n", "line 1: 'log.level' must be 'debug', 'info', 'warning' or 'error', not False"),
        ("worker: {max_attempts: 0}\n", "line 1: 'worker.max_attempts'"),
        ("worker: {segment_timeout: .inf}\n", "line 1: 'worker.segment_timeout'"),
        ("inbox: {rescan_seconds: .nan}\n", "line 1: 'inbox.rescan_seconds'"),
        ("inbox: {rescan_seconds: 0}\n", "line 1: 'inbox.rescan_seconds'"),
        ("inbox:\n  settle_seconds: 1e300\n", "line 2: 'inbox.settle_seconds'"),
        ("server:\n  port: 1\n  port: 2\n", "line 3: the key 'server.port' stands twice"),
        ("log: {}\nlog: {}\n", "line 2: the key 'log' stands twice"),
        ("server: {port: 1\n", "line 2: not valid YAML"),
        ("a: b: c\n", "line 1: not valid YAML"),
        ("--- {}\n--- {}\n", "line 2: not valid YAML"),
        ("? [a]\n: 1\n", "line 1: found unhashable key"),
        ("server: !!python/object:os.system {}\n", "line 1: could not determine a constructor"),
        ("a: &a {b: *a}\n", "line 1: aliases (*) are not read here; write the value itself"),
        ("[" * 1000, "is nested too deeply"),
        ("server: {host: \x00}\n", "not valid YAML"),
        (b"server: {host: \xff}\n", "is not UTF-8"),
        ("- a\n", "line 1: the configuration must be a table of keys"),
        ("just words", "line 1: the configuration must be a table of keys"),
    ],
)
def test_a_mistake_is_named_with_line_and_key(load, text, sentence):
    assert refusal(load, text).startswith(sentence)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(tmp_path)


@pytest.mark.parametrize(
    "root", ["inbox", "inbox/x", ".", "..", "/", "state/out", "prompts", "./inbox/../state", "link"]
)
def test_no_root_touches_what_is_the_daemons_own(load, tmp_path, root):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "inbox")
    assert refusal(load, f"output:\n  roots:\n    - good\n    - {root}\n").startswith("line 4: 'output.roots.1': ")


def test_no_root_holds_the_configuration(tmp_path):
    file = tmp_path / "out" / "config.yaml"
    file.parent.mkdir()
    file.write_text("paths: {inbox: /a/inbox, prompts: /a/prompts, state: /a/state}\noutput: {roots: [.]}\n")
    with pytest.raises(ConfigError, match=r"line 2: 'output.roots.0': .* may not contain the configuration file"):
        config.load(file)


def test_roots_beside_the_daemons_folders_are_good(load):
    assert len(load("output: {roots: [outputs, inbox2, /srv/speech, ../state]}").output.roots) == 4


@pytest.mark.parametrize("paths", ["state: inbox", "state: inbox/state", "prompts: inbox/prompts", "inbox: ."])
def test_nothing_of_ours_lies_in_the_inbox(load, paths):
    """What lies there is taken for a dropped file, and moved to failed/."""
    assert refusal(load, f"paths:\n  {paths}\n").startswith("line ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("engine:\n  name: tone\n  options:\n    delay: 1\n", "line 4: 'engine.options.delay': unknown key 'delay'"),
        ("engine:\n  name: tone\n  options: {delay_seconds: -1}\n", "line 3: 'engine.options.delay_seconds'"),
        ("engine:\n  name: tone\n  options: {1: 1}\n", "line 3: 'engine.options.1' must be a string"),
    ],
)
def test_a_wrong_engine_option_is_named_with_its_line(load, text, sentence):
    assert refusal(lambda text: premises.engine_spec(load(text)), text).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "title"),
    [("indextts-1.5", "IndexTTS 1.5"), ("indextts-2", "IndexTTS 2"), ("indextts-2.5", "IndexTTS 2.5")],
)
def test_an_engine_without_a_folder_for_its_weights_is_told_how_to_get_them(load, name, title):
    sentence = refusal(lambda text: premises.engine_spec(load(text)), f"engine:\n  name: {name}\n  model_dir: null\n")
    assert sentence.startswith(f"line 3: 'engine.model_dir': must name a folder for {title}'s weights; then run: ")
    assert f"indexttsd models download {name}" in sentence
    assert premises.engine_spec(load(f"engine: {{name: {name}, model_dir: weights}}\n")).name == name
