"""`indexttsd check`: what stands between a person and the first spoken word, in plain words."""

from __future__ import annotations

import array
import json
import math
import os
import re
import subprocess
import sys
import wave

import pytest

from daemon import config
from daemon.cli import checks
from daemon.engines.base import EngineSettings
from daemon.engines.indextts.files import WEIGHTS_15, WEIGHTS_25
from daemon.engines.indextts.survey import survey
from tests.live import free_port
from tests.tiny import v15
from tests.weight_files import fill

LOOKED_AT = ["weights", "licence", "python", "packages", "device"]


@pytest.fixture
def here(tmp_path):
    """A folder with one good prompt."""
    (tmp_path / "prompts").mkdir()
    record(tmp_path / "prompts" / "good.wav")
    return tmp_path


def record(file, seconds=4.0, level=0.5, rate=16_000):
    """A tone at that level; above 1 it is clipped."""
    count = round(seconds * rate)
    samples = array.array("h", (round(32767 * max(-1, min(1, level * math.sin(n / 9)))) for n in range(count)))
    with wave.open(str(file), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.tobytes())


def configure(here, engine):
    """A configuration with that engine."""
    (here / "config.yaml").write_text(f"server: {{port: {free_port()}}}\nengine: {json.dumps(engine)}\n")
    return here / "config.yaml"


def check(here, engine, **environment):
    """What `indexttsd check --json` says: exit code, findings by name, standard error."""
    ended = subprocess.run(
        [sys.executable, "-m", "daemon", "check", "--json", "--config", str(configure(here, engine))],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    return ended.returncode, {row["what"]: row for row in found}, ended.stderr


def test_where_nothing_is_missing_the_check_is_content_and_the_first_word_is_spoken_as_asked(here, tmp_path_factory):
    models = v15.folder(tmp_path_factory)
    code, found, _ = check(here, {"name": "indextts-1.5", "model_dir": str(models), "device": "cpu"})
    assert (code, [row for row in found.values() if not row["ok"]]) == (0, [])
    assert list(found) == ["configuration", "HTTP door", "folders", *LOOKED_AT, "prompts", "engine"]
    assert found["weights"]["detail"] == f"IndexTTS 1.5 in {models}"
    assert "non-commercial" in found["licence"]["detail"]
    assert re.match(r"torch 2\..*, indextts2-cli 1\.0", found["packages"]["detail"])
    assert found["device"]["detail"] == "cpu"
    assert found["device"]["advice"] == ["IndexTTS speaks many times slower than real time here: engine.device is cpu"]
    spoken = subprocess.run(
        [sys.executable, "-m", "daemon", "say", "Hello.", "--options", '{"max_mel_tokens": 3}', "--json"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert spoken.returncode == 0, spoken.stderr
    assert json.loads(spoken.stdout)["audio_seconds"] == pytest.approx(3 * 1024 / 24_000, abs=0.001)


def test_what_only_one_option_needs_is_advice(here):
    fill(here / "models", WEIGHTS_25, optional=False)
    file = configure(here, {"name": "indextts-2.5", "model_dir": "models"})
    weights = next(found for found in checks.of_installation(config.load(file)) if found.what == "weights")
    assert (weights.ok, weights.advice) == (
        True,
        ("the option 'emo_text' needs files that are not there; run: indexttsd models download indextts-2.5 --all",),
    )


def test_missing_weights_and_a_gpu_that_is_not_there_are_problems_with_advice(here):
    code, found, _ = check(here, {"name": "indextts-2", "model_dir": "none", "device": "cuda:99"})
    wrong = f"the folder {here / 'none'} (engine.model_dir) does not exist; run: indexttsd models download indextts-2"
    assert code == 1
    assert (found["weights"]["ok"], found["weights"]["detail"]) == (False, wrong)
    assert (found["engine"]["ok"], found["engine"]["detail"]) == (False, wrong)
    assert not found["device"]["ok"]
    assert "engine.device is 'cuda:99', but " in found["device"]["detail"]


def test_what_keeps_the_daemon_from_starting_is_exit_78_after_all_other_findings(here):
    code, found, err = check(here, {"name": "indextts-1.5"})
    assert (code, list(found)) == (
        78,
        ["configuration", "HTTP door", "folders", "python", "packages", "device", "prompts"],
    )
    assert "'engine.model_dir'" in err


def test_useless_and_poor_prompts_are_told(here):
    prompts = here / "prompts"
    record(prompts / "short.wav", seconds=0.025)
    record(prompts / "silent.wav", level=0)
    record(prompts / "clipped.wav", level=3)
    record(prompts / "brief.wav", seconds=1)
    (prompts / "text.wav").write_text("not a recording")
    request = {"name": "kokoro", "device": "cpu", "cache_dir": "", "prompts": sorted(map(str, prompts.iterdir()))}
    ended = subprocess.run(
        [sys.executable, "-m", "daemon.engines.checkup"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    said = {row["what"]: row for row in map(json.loads, ended.stdout.splitlines())}
    assert sorted(said) == [f"prompt {name}.wav" for name in ("brief", "clipped", "short", "silent", "text")]
    for name in ("short", "silent", "text"):
        assert not said[f"prompt {name}.wav"]["ok"]
        assert said[f"prompt {name}.wav"]["detail"].startswith("cannot be used: it ")
    for name, advice in (("clipped", "it is clipped"), ("brief", "it is 1.0 s long")):
        assert said[f"prompt {name}.wav"]["ok"]
        assert advice in said[f"prompt {name}.wav"]["advice"][0]


def test_a_torch_that_crashes_ends_neither_the_check_nor_in_a_traceback(here):
    fill(here / "models", WEIGHTS_15)
    broken = here / "site" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    code, found, _ = check(here, {"name": "indextts-1.5", "model_dir": "models"}, PYTHONPATH=str(here / "site"))
    assert code == 1
    assert not found["checkup"]["ok"]
    assert "looking at packages and prompts was killed by SIGSEGV" in found["checkup"]["detail"]
    assert "killed by SIGSEGV" in found["engine"]["detail"]


def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it(tmp_path):
    found = list(survey(["transformers", "no-such-package"], EngineSettings(None, "cpu", {}, tmp_path)))
    assert [finding.what for finding in found] == ["python", "packages"]
    assert found[0].ok == (sys.version_info[:2] == (3, 11))
    assert (found[1].ok, found[1].detail.partition(";")[0]) == (False, "not installed: no-such-package")
    assert "run `make setup-indextts`, or for the installed service `sudo make install INDEXTTS=1`" in found[1].detail


def test_another_python_is_told_with_the_command_that_takes_the_right_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    python = next(survey([], EngineSettings(None, "cpu", {}, tmp_path)))
    assert not python.ok
    assert (
        "`sudo make install INDEXTTS=1 PYTHON=/path/to/python3.11` (in a checkout `make clean` first)" in python.detail
    )


def test_a_person_reads_advice_on_lines_of_its_own(here):
    record(here / "prompts" / "clipped.wav", level=3)
    (here / "prompts" / "text.wav").write_text("not a recording")
    file = configure(here, {"name": "indextts-1.5", "model_dir": "none"})
    ended = subprocess.run(
        [sys.executable, "-m", "daemon", "check", "--config", str(file)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "PROBLEM  prompt text.wav: cannot be used: it cannot be read as audio" in ended.stdout
    assert "ok       prompt clipped.wav: can be used\nadvice   prompt clipped.wav: it is clipped" in ended.stdout


def test_an_engine_that_hears_no_recordings_has_nothing_against_any(here):
    (here / "prompts" / "text.wav").write_text("not a recording")
    code, found, _ = check(here, {"name": "tone"})
    assert (code, list(found)) == (0, ["configuration", "HTTP door", "folders", "prompts", "engine"])
