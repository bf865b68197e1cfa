"""`indexttsd models`: what there is, what is missing, and how it comes here from a hub."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.__main__ import main
from daemon.engines.indextts.files import WEIGHTS_2, WEIGHTS_15, WEIGHTS_25
from daemon.engines.weights import require
from tests.hub_server import serving
from tests.live import until
from tests.weight_files import checkpoint, fill

GPT = f"{WEIGHTS_15.repo}/gpt.pth"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to stand in, where IndexTTS 1.5 is configured."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("engine: {name: indextts-1.5, model_dir: models}\n")
    return tmp_path


@pytest.fixture
def run(here, monkeypatch, capfd):
    """Runs a command in this process: exit code, output, error."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["indexttsd", "models", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return ended.value.code or 0, out, err

    return command


# list and check


def test_list_names_every_model_its_licence_and_whether_the_configured_one_is_complete(run, here):
    code, out, _ = run("list")
    assert code == 0
    assert f"indextts-1.5  IndexTeam/IndexTTS-1.5  configured, 4 files missing or damaged in {here / 'models'}" in out
    assert "indextts-2.5  IndexTeam/IndexTTS-2.5  not configured" in out
    assert out.count("licence: ") == 3
    fill(here / "models", WEIGHTS_15)
    [first, *_] = json.loads(run("list", "--json")[1])["models"]
    assert (first["name"], first["state"]) == ("indextts-1.5", f"configured, complete in {here / 'models'}")


def test_check_shows_every_file_with_its_size_and_fault(run, here):
    fill(here / "models", WEIGHTS_15)
    code, out, _ = run("check")
    assert (code, out.splitlines()[-1]) == (0, f"{here / 'models'}: complete")
    (here / "models" / "gpt.pth").write_bytes(checkpoint(5_000_000)[:-30])
    (here / "models" / "bpe.model").unlink()
    code, out, _ = run("check", "indextts-1.5")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert code == 1
    assert lines["gpt.pth"] == ["5.0", "MB", "cut", "short:", "its", "end", "is", "missing"]
    assert lines["bpe.model"] == ["-", "missing"]
    assert lines["config.yaml"] == ["3", "B", "ok"]
    assert out.splitlines()[-1].endswith("not complete; run: indexttsd models download indextts-1.5")


def test_check_of_a_folder_that_is_named_advises_what_fills_that_folder(run, here):
    (here / "my models").mkdir()
    told = run("check", "indextts-1.5", "--dir", "my models")[1]
    assert told.endswith(f"not complete; run: indexttsd models download indextts-1.5 --dir '{here}/my models'\n")
    fill(here / "two", WEIGHTS_2, optional=False)
    code, out, _ = run("check", "indextts-2.5", "--dir", "two")
    told = f"{here}/two: holds the weights of indextts-2, not of indextts-2.5; name another folder with --dir"
    assert (code, out.splitlines()[-1]) == (1, told)


def test_check_of_another_engine_takes_the_folder_that_is_named(run, here):
    fill(here / "two", WEIGHTS_2, optional=False)
    code, out, _ = run("check", "indextts-2", "--dir", "two", "--json")
    found = json.loads(out)
    assert (code, found["complete"], found["folder"]) == (0, True, str(here / "two"))
    assert {"path": "glossary.yaml", "repo": "", "serves": "your own pronunciations, if you write it"}.items() <= (
        found["files"][-1].items()
    )
    (here / "two" / "qwen0.6bemo4-merge").mkdir()
    (here / "two" / "qwen0.6bemo4-merge" / "model.safetensors").write_bytes(b"\0")
    assert run("check", "indextts-2", "--dir", "two")[0] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["check", "kokoro"], "'kokoro' has no weights of its own to care for; these have: indextts-1.5, indextts-2,"),
        (["download", "indextts-3"], "'indextts-3' has no weights of its own"),
        (["download", "indextts-2"], "engine.model_dir belongs to indextts-1.5, which is configured: name a folder"),
        (["download"], "Missing argument 'NAME'"),
    ],
    ids=str,
)
def test_wrong_use_is_exit_2_and_a_sentence(run, words, sentence):
    code, out, err = run(*words)
    assert (code, out, sentence in err) == (2, "", True), err


def test_without_a_configured_folder_one_must_be_named(run, here):
    (here / "config.yaml").write_text("engine: {name: kokoro}\n")
    code, _, err = run("download", "indextts-2")
    assert (code, "engine.model_dir is not set: name the folder of the weights with --dir" in err) == (2, True)
    code, out, _ = run("check")
    assert (code, out) == (0, "the configured engine kokoro brings its own weights; name another to check\n")
    code, out, _ = run("check", "--json")
    assert (code, json.loads(out)) == (0, {"name": "kokoro", "folder": None, "complete": True, "files": []})


# download


@pytest.fixture
def hub():
    """A hub with IndexTTS 1.5."""
    made = serving(WEIGHTS_15)
    yield made
    made.close()


def command(*words):
    return [sys.executable, "-m", "daemon", "models", *map(str, words)]


def environment(hub, **settings):
    return os.environ | {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"} | settings


def download(hub, *words, **settings):
    """Runs `models download` against the hub, in a process of its own: the library reads its settings once."""
    ended = subprocess.run(
        command("download", *words), env=environment(hub, **settings), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in ended.stderr
    return ended


def test_a_download_fills_the_configured_folder_and_fetches_nothing_twice(here, hub):
    ended = download(hub, "indextts-1.5", TQDM_POSITION="-1")  # as if a person looked
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, f"{here / 'models'}: complete")
    assert "IndexTTS 1.5: the weights were published for non-commercial use" in ended.stdout
    require(WEIGHTS_15, here / "models")
    assert sorted(path.name for path in (here / "models").iterdir()) == sorted(file.path for file in WEIGHTS_15.files)
    assert "gpt.pth: 100%" in ended.stderr
    hub.asked.clear()
    again = download(hub, "indextts-1.5", "--json")
    assert json.loads(again.stdout) == {
        "name": "indextts-1.5",
        "folder": str(here / "models"),
        "downloaded": [],
        "bytes": 0,
    }
    assert hub.asked == []


@pytest.mark.parametrize("weights", [WEIGHTS_2, WEIGHTS_25], ids=["indextts-2", "indextts-2.5"])
def test_side_nets_come_from_their_own_repositories_under_the_names_that_the_engine_looks_for(here, weights):
    hub = serving(weights)
    ended = download(hub, weights.engine, "--dir", "new/model")
    assert ended.returncode == 0, ended.stderr
    require(weights, here / "new" / "model")
    assert not (here / "new" / "model" / "qwen0.6bemo4-merge").exists()
    assert "left out: what is only for the option 'emo_text'; --all fetches it too" in ended.stdout
    ended = download(hub, weights.engine, "--dir", "new/model", "--all", "--json")
    hub.close()
    assert json.loads(ended.stdout)["downloaded"] == [file.path for file in weights.files if file.serves and file.repo]
    assert (here / "new" / "model" / "qwen0.6bemo4-merge" / "model.safetensors").is_file()


def test_only_missing_and_damaged_files_are_fetched(here, hub):
    fill(here / "models", WEIGHTS_15)
    (here / "models" / "bpe.model").write_bytes(b"fine-tuned")
    (here / "models" / "gpt.pth").write_bytes(b"")
    (here / "models" / "config.yaml").unlink()
    ended = download(hub, "indextts-1.5", "--json")
    assert json.loads(ended.stdout)["downloaded"] == ["config.yaml", "gpt.pth"]
    assert (here / "models" / "bpe.model").read_bytes() == b"fine-tuned"


def test_verifying_finds_what_a_glance_cannot_and_fetches_only_that(here, hub):
    fill(here / "models", WEIGHTS_15)
    rotten = bytearray(hub.files[GPT])
    rotten[60] ^= 1
    (here / "models" / "gpt.pth").write_bytes(rotten)
    (here / "models" / "config.yaml").write_bytes(b"changed: 1")
    ended = download(hub, "indextts-1.5", "--json")
    assert json.loads(ended.stdout)["downloaded"] == []
    ended = download(hub, "indextts-1.5", "--json", "--verify")
    assert json.loads(ended.stdout)["downloaded"] == ["config.yaml", "gpt.pth"]
    assert (here / "models" / "gpt.pth").read_bytes() == hub.files[GPT]


def test_a_killed_download_goes_on_where_it_was(here, hub):
    hub.files[GPT] = checkpoint(24_000_000)
    hub.stalls[GPT] = 13_000_000
    process = subprocess.Popen(command("download", "indextts-1.5"), env=environment(hub), stderr=subprocess.DEVNULL)
    until(lambda: [part for part in here.glob("models/.download/*/*.part") if part.stat().st_size > 1_000_000])
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (here / "models" / "gpt.pth").exists()
    del hub.stalls[GPT]
    hub.asked.clear()
    assert download(hub, "indextts-1.5").returncode == 0
    [wanted] = hub.ranges(GPT)
    assert int(wanted.removeprefix("bytes=").rstrip("-")) > 1_000_000
    assert (here / "models" / "gpt.pth").read_bytes() == hub.files[GPT]
    assert not (here / "models" / ".download").exists()


def test_a_broken_connection_is_a_sentence_and_the_next_call_goes_on(here, hub):
    hub.files[GPT] = checkpoint(24_000_000)
    hub.breaks[GPT] = 13_000_000
    ended = download(hub, "indextts-1.5")
    assert (ended.returncode, ended.stderr.count("indexttsd: ")) == (1, 1)
    assert f"gpt.pth could not be fetched from {hub.address} (" in ended.stderr
    assert "run the same command again: what came in so far is kept" in ended.stderr
    del hub.breaks[GPT]
    hub.asked.clear()
    assert download(hub, "indextts-1.5").returncode == 0
    assert hub.ranges(GPT) != [None]
    assert (here / "models" / "gpt.pth").read_bytes() == hub.files[GPT]


REFUSALS = [
    (404, "has no gpt.pth of IndexTeam/IndexTTS-1.5 (404); is HF_ENDPOINT the right one?"),
    (403, "does not give out gpt.pth of IndexTeam/IndexTTS-1.5 (403); accept its terms on its page and set HF_TOKEN"),
    (401, "does not give out gpt.pth of IndexTeam/IndexTTS-1.5 (401)"),
    (418, "answered 418 for gpt.pth of IndexTeam/IndexTTS-1.5; run the same command again later"),
]


@pytest.mark.parametrize(("status", "sentence"), REFUSALS, ids=[str(row[0]) for row in REFUSALS])
def test_what_the_hub_refuses_is_named_before_anything_is_fetched(here, hub, status, sentence):
    hub.refusals[GPT] = status
    ended = download(hub, "indextts-1.5")
    assert (ended.returncode, f"{hub.address} {sentence}" in ended.stderr) == (1, True), ended.stderr
    assert not (here / "models").exists()


def test_offline_is_said(here, hub):
    ended = download(hub, "indextts-1.5", HF_HUB_OFFLINE="1")
    assert (ended.returncode, hub.asked) == (1, [])
    assert "config.yaml cannot be fetched while HF_HUB_OFFLINE is set; unset it" in ended.stderr


def test_what_the_library_warns_of_while_it_tries_again_is_not_shown(here, hub):
    hub.stumbles.add(GPT)
    ended = download(hub, "indextts-1.5")
    assert (ended.returncode, hub.stumbles, "Retrying" in ended.stderr) == (0, set(), False), ended.stderr


def test_content_that_is_not_what_the_hub_promised_is_thrown_away(here, hub):
    hub.lies.add(GPT)
    ended = download(hub, "indextts-1.5")
    assert "gpt.pth came in damaged and was thrown away; run the same command again" in ended.stderr
    assert not (here / "models" / "gpt.pth").exists()
    hub.lies.clear()
    assert download(hub, "indextts-1.5").returncode == 0


def test_two_versions_do_not_mix_in_one_folder(here, hub):
    fill(here / "models", WEIGHTS_25)
    ended = download(hub, "indextts-1.5")
    assert f"{here / 'models'} holds the weights of indextts-2.5; name another folder with --dir" in ended.stderr
    assert (ended.returncode, (here / "models" / "bigvgan_generator.pth").exists()) == (1, False)


def test_nor_does_one_land_in_the_unfinished_download_of_another(here, hub):
    (here / "models" / ".download" / "indextts-2").mkdir(parents=True)
    ended = download(hub, "indextts-1.5")
    assert f"{here / 'models'} holds an unfinished download of indextts-2" in ended.stderr
    assert ended.returncode == 1


def test_a_folder_that_cannot_be_made_is_said(here, hub):
    (here / "models").write_text("a file")
    ended = download(hub, "indextts-1.5")
    assert (ended.returncode, f"{here / 'models'} cannot be written: Not a directory" in ended.stderr) == (1, True)


def test_a_full_disk_is_foreseen(here, hub):
    hub.claims[GPT] = 10**18
    ended = download(hub, "indextts-1.5")
    assert f"1000000000.0 GB are to come and {here / 'models'} has room for " in ended.stderr
    assert list(Path(here / "models").glob("*.pth")) == []
    assert ended.returncode == 1


def test_without_the_library_the_command_that_installs_it_is_named(here, hub, tmp_path):
    (tmp_path / "empty" / "huggingface_hub.py").parent.mkdir()
    (tmp_path / "empty" / "huggingface_hub.py").write_text("raise ModuleNotFoundError('huggingface_hub')")
    ended = download(hub, "indextts-1.5", PYTHONPATH=f"{tmp_path / 'empty'}")
    assert (
        "needs the package huggingface_hub, which is not installed here: run `make setup-indextts`, or" in ended.stderr
    )
    assert "for the installed service `sudo make install INDEXTTS=1`" in ended.stderr
    assert ended.returncode == 1
