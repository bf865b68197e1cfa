"""The commands: what they print, what they do, and how they end."""

from __future__ import annotations

import io
import json
import sys

import pytest
import soundfile

from daemon.__main__ import main
from tests.live import LiveDaemon


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A daemon whose engine fails on demand."""
    made = LiveDaemon(tmp_path_factory.mktemp("daemon"), engine={"options": {"fail_on": "FAIL", "hang_on": "HANG"}})
    yield made.start()
    made.close()


@pytest.fixture
def run(live, monkeypatch, capfd):
    """Runs a command against the daemon's configuration: exit code, output, error."""

    def command(*words, given=None):
        monkeypatch.setattr(sys, "argv", ["indexttsd", *map(str, words), "--config", str(live.config)])
        if given is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return ended.value.code or 0, out, err

    return command


def task(text="A text.", **keys):
    return {"text": text, "output_path": "out"} | keys


# submit


def test_submit_posts_every_object_of_a_file(run, live, tmp_path):
    file = tmp_path / "tasks.json"
    batch = {"speeches": {"a.wav": "A"}, "output_directory": "cli-batch"}
    file.write_text(json.dumps([task("Grüße 你好"), batch], ensure_ascii=False), encoding="utf-16")
    code, out, _ = run("submit", file)
    first, second = out.split()
    assert (code, first[:5], second[:6]) == (0, "task_", "batch_")
    assert live.ended(first)["status"] == live.ended(second)["status"] == "completed"


def test_submit_reads_standard_input_and_prints_json(run, live):
    code, out, _ = run("submit", "-", "--json", given=json.dumps(task()).encode())
    receipt = json.loads(out)
    assert (code, sorted(receipt), receipt["status"]) == (0, ["status", "task_id"], "pending")


def test_submit_sends_the_idempotency_key_of_each_object(run):
    given = json.dumps([task(idempotency_key="cli"), task(idempotency_key="cli")]).encode()
    code, out, _ = run("submit", "-", given=given)
    first, second = out.split()
    assert (code, first) == (0, second)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (b"{", "line 1"),
        (b"", "empty"),
        (b"[]", "must hold one JSON object or an array"),
        (b"5", "must hold one JSON object or an array"),
        (b'[{"text": "a"}, 5]', "must hold one JSON object or an array"),
        (b'{"text": "a"}', "'output_path' is missing"),
        (b'{"text": "a", "output_path": "/etc"}', "output.roots"),
        (b'{"text": "a", "output_path": "out", "idempotency_key": 5}', "idempotency key"),
        ('{"text": "a", "output_path": "out", "idempotency_key": "é"}'.encode(), "idempotency key"),
    ],
)
def test_submit_says_what_was_refused(run, given, sentence):
    code, out, err = run("submit", "-", given=given)
    assert (code, out) == (1, "")
    assert sentence in err


def test_submit_names_the_refused_object_of_several(run):
    code, out, err = run("submit", "-", given=json.dumps([task(), task(" ")]).encode())
    assert (code, len(out.split())) == (1, 1)
    assert err.startswith("indexttsd: object 1: 'text' is blank")


# tasks, show, watch, cancel, retry


def test_tasks_lists_the_newest_first(run, live):
    ids = [live.submit(), live.submit("FAIL")]
    for task_id in ids:
        live.ended(task_id)
    code, out, _ = run("tasks", "--limit", 2)
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ids[::-1])
    _, out, _ = run("tasks", "--status", "failed", "--limit", 1, "--json")
    [view] = json.loads(out)["tasks"]
    assert view["task_id"] == ids[1]


def test_show_prints_what_the_daemon_says(run, live):
    task_id = live.submit("Grüße.")
    view = live.ended(task_id)
    code, out, _ = run("show", task_id, "--json")
    assert (code, json.loads(out)) == (0, view)
    code, out, _ = run("show", task_id)
    assert dict(line.split(maxsplit=1) for line in out.splitlines())["output_file"] == view["output_file"]


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "retry"])
@pytest.mark.parametrize("task_id", ["task_1_99999", "a/b?c#d", "你好", ".."])
def test_an_unknown_task_is_exit_1(run, command, task_id):
    code, out, err = run(command, task_id)
    assert (code, out) == (1, "")
    assert err.startswith("indexttsd: ")


@pytest.mark.parametrize(("text", "status", "code"), [("Fine.", "completed", 0), ("FAIL", "failed", 1)])
def test_watch_ends_with_the_task_and_its_exit_code(run, live, text, status, code):
    task_id = live.submit(text)
    ended, out, _ = run("watch", task_id, "--interval", 0.05)
    assert (ended, out.split()[:2]) == (code, [task_id, status])
    ended, out, _ = run("watch", task_id, "--json")
    assert (ended, json.loads(out.splitlines()[-1])["status"]) == (code, status)


def test_a_failed_task_can_be_retried_and_a_finished_one_not_cancelled(run, live):
    task_id = live.submit("FAIL again")
    live.ended(task_id)
    code, out, _ = run("retry", task_id, "--json")
    assert (code, json.loads(out)["task_id"]) == (0, task_id)
    live.ended(task_id)
    code, _, err = run("cancel", task_id)
    assert (code, "cannot be cancelled" in err) == (1, True)


def test_cancel_ends_a_waiting_task(run, live):
    live.submit("x" * 5000)
    task_id = live.submit("Never.", priority=0)
    code, out, _ = run("cancel", task_id, "--json")
    assert code == 0
    assert live.ended(task_id)["error"] == "cancelled"
    assert json.loads(out)["task_id"] == task_id


# Without a daemon


@pytest.mark.parametrize("name", ["WAV", "flac", "ogg", "mp3"])
def test_say_writes_every_format(run, tmp_path, name):
    target = tmp_path / f"said.{name}"
    code, out, _ = run("say", "One. Two.", "-o", target, "--seed", 7, "--prompt", "bob.wav", "--json")
    said = json.loads(out)
    assert (code, said["output_file"], said["seed"], said["prompt"]) == (0, str(target), 7, "bob.wav")
    assert soundfile.info(target).samplerate == 24_000
    assert soundfile.info(target).duration == pytest.approx(said["audio_seconds"], abs=0.1)
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


def test_say_does_not_overwrite_a_file_that_was_not_named(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speech.wav").write_bytes(b"precious")
    code, out, _ = run("say", "-", given="从标准输入".encode())
    assert (code, out.startswith(f"{tmp_path}/speech-2.wav: ")) == (0, True)
    assert (tmp_path / "speech.wav").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["FAIL"], "the engine failed: RuntimeError"),
        (["hi", "-o", "/nowhere/x.wav"], "/nowhere/x.wav cannot be written: No such file"),
        (["hi", "--prompt", "carol.wav"], "Specified prompt 'carol.wav' not found."),
        (["hi", "--prompt", "../alice.wav"], "Specified prompt '../alice.wav' not found."),
        (["hi", "--options", '{"speed": 1}'], "unknown key 'speed'"),
        (["hi", "--options", "[]"], "--options must be one JSON object"),
        (["hi", "--options", "speed=1"], "--options must be one JSON object: the JSON is broken at line 1, column 1"),
    ],
    ids=str,
)
def test_say_that_fails_says_why_and_leaves_nothing(run, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("say", *words)
    assert (code, sentence in err) == (1, True), err
    assert list(tmp_path.iterdir()) == []


def test_prompts_lists_the_names(run):
    assert run("prompts") == (0, "alice.wav\nbob.wav\n", "")
    assert json.loads(run("prompts", "--json")[1]) == {"prompts": ["alice.wav", "bob.wav"]}


def test_check_looks_at_configuration_folders_and_engine(run, live):
    code, out, _ = run("check", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    looked_at = [row["what"] for row in found if not row["what"].startswith("prompt ")]
    assert looked_at == ["configuration", "HTTP door", "folders", "prompts", "engine"]
    assert all(row["ok"] for row in found)
    assert str(live.config) in run("check")[1]


CHECKED = [
    ("good.json", json.dumps(task()), None),
    ("GOOD.JSON", json.dumps([{"text": "a"}, {"speeches": {"a.wav": "A", "b.wav": "B"}}]), None),
    ("bad.json", json.dumps([{"text": "a"}, {"text": ""}]), "object 1: 'text' is blank"),
    ("broken.json", '{\n"text": }', "line 2"),
    ("empty.json", "[]", "the array is empty"),
    ("typo.json", '{"txt": "a"}', "did you mean 'text'"),
    ("outside.json", '{"text": "a", "output_path": "/etc"}', "output.roots"),
    ("notes.txt", json.dumps(task()), "only names that end in .json"),
    (".hidden.json", json.dumps(task()), "only names that end in .json"),
]


@pytest.mark.parametrize(("name", "content", "fault"), CHECKED, ids=[row[0] for row in CHECKED])
def test_check_validates_a_file_as_the_daemon_would(run, live, tmp_path, name, content, fault):
    file = tmp_path / name
    file.write_text(content)
    before = live.get("/api/tts/stats").json["tasks"]
    code, out, _ = run("check", file, "--json")
    [found] = [json.loads(line) for line in out.splitlines()]
    assert (code, found["ok"], found["what"]) == (bool(fault), not fault, str(file))
    assert (fault or "tasks ") in found["detail"]
    assert live.get("/api/tts/stats").json["tasks"] == before


def test_check_looks_at_all_files_though_one_is_bad(run, tmp_path):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text(json.dumps({"text": "a"}))
    code, out, _ = run("check", tmp_path / "a.json", tmp_path / "b.json")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (1, ["PROBLEM", "ok"])
