"""What the API says of the daemon as a whole: health, readiness, counts, voices."""

from __future__ import annotations

import pytest

from daemon.errors import BadRequest
from tests.api_door import Door

TASKS = "/api/tts/tasks"


@pytest.fixture
def door(tmp_path, empty_ledger):
    door = Door(tmp_path / "door", empty_ledger)
    yield door
    door.close()


def test_stats_have_exactly_their_keys(door):
    stats = door.get("/api/tts/stats").json
    assert list(stats) == ["tasks", "oldest_pending_seconds", "engine", "inbox", "version"]
    assert stats["oldest_pending_seconds"] is None
    assert (stats["engine"], stats["inbox"]) == ({"name": "tone", "state": "ready"}, {"waiting": 0})
    door.submit()
    assert door.get("/api/tts/stats").json["oldest_pending_seconds"] >= 0


def test_stats_say_what_is_wrong_while_it_is(door):
    door.not_ready = "the disk of /srv has 3 MB left"
    assert door.get("/api/tts/stats").json["trouble"] == "the disk of /srv has 3 MB left"
    door.not_ready = None
    assert "trouble" not in door.get("/api/tts/stats").json


def test_not_ready_is_503_with_the_reason_while_health_is_well(door):
    assert door.get("/ready").status == 200
    door.not_ready = "the engine is being loaded"
    answer = door.get("/ready")
    assert (answer.status, answer.detail) == (503, "the engine is being loaded")
    assert door.get("/health").json == door.get("/api/tts/health").json == {"status": "ok"}


def test_prompts_are_bare_names_sorted(door):
    for name in ("Zoe.MP3", "carol.ogg", "dave.flac", "notes.txt", ".hidden.wav"):
        (door.folder / "prompts" / name).write_bytes(b"x")
    (door.folder / "prompts" / "folder.wav").mkdir()
    assert door.get("/api/tts/prompts").json == {
        "prompts": ["Zoe.MP3", "alice.wav", "bob.wav", "carol.ogg", "dave.flac"]
    }


def test_without_prompts_the_original_sentence_is_the_answer(door):
    for file in (door.folder / "prompts").iterdir():
        file.unlink()
    assert door.get("/api/tts/prompts").json == {"prompts": []}
    answer = door.post(TASKS, {"text": "x", "output_path": "x"})
    assert (answer.status, answer.detail) == (400, "No prompt audio files found in the 'prompts' directory.")


def test_the_ledger_and_the_answer_agree_on_what_was_refused(door):
    """A refusal over HTTP is the same sentence that the other door writes."""
    body = b'{"text": "x", "output_path": "x", "prompt_nam": "alice.wav"}'
    with pytest.raises(BadRequest) as caught:
        door.intake.submit(body, batch=False, key=None)
    assert door.post(TASKS, body).detail == str(caught.value)
    assert "unknown key 'prompt_nam'; did you mean 'prompt_path'?" in str(caught.value)
