"""Tasks as values: requests, states, ids and views."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from daemon.schema import first_complaint
from daemon.tasks import (
    MAX_SEED,
    OVER,
    STATUS_OF,
    STATUS_WORDS,
    TRANSITIONS,
    BatchRequest,
    Receipt,
    State,
    Task,
    TaskRequest,
    file_name_fault,
    format_id,
    parse_id,
    segment_seed,
    sources,
    timestamp,
    view,
)

SINGLE = Task(
    n=7,
    batch=False,
    state=State.PENDING,
    priority=5,
    infer_mode="普通推理",
    prompt="alice.wav",
    seed=42,
    format="wav",
    output_path="/out//x",
    directory="/out/x",
    created_at=1_709_123_456.789,
    started_at=None,
    finished_at=None,
    error=None,
    cancel_requested=False,
    total_files=1,
    completed_files=0,
    segments_done=0,
    segments_total=None,
    progress=0.0,
    attempts=0,
    process_time=0.0,
    audio_seconds=0.0,
    queue_position=0,
    failures=(),
)
ALWAYS = {"task_id", "status", "infer_mode", "prompt", "seed", "priority", "attempt", "progress", "segments_done"} | {
    "created_at",
    "audio_seconds",
}


def shown(task: Task = SINGLE, **changes: object) -> dict[str, object]:
    return view(dataclasses.replace(task, **changes))


def fault(model: type[TaskRequest | BatchRequest], body: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    return first_complaint(caught.value, model).sentence


# Requests

TASK = {"text": "Hello.", "output_path": "out"}
BATCH = {"output_directory": "out", "speeches": {"a.wav": "Hello."}}


def test_a_request_has_the_documented_defaults():
    request = TaskRequest.model_validate(TASK)
    assert (request.infer_mode, request.priority, request.seed, request.format) == ("普通推理", 5, None, "wav")
    assert (request.prompt, request.options) == (None, {})
    assert BatchRequest.model_validate(BATCH).overwrite is False


@pytest.mark.parametrize(("key", "value"), [("priority", 0), ("priority", 9), ("seed", 0), ("seed", MAX_SEED)])
def test_bounds_belong_to_the_range(key, value):
    assert getattr(TaskRequest.model_validate(TASK | {key: value}), key) == value


@pytest.mark.parametrize("key", ["prompt_path", "prompt_name"])
def test_both_names_of_the_prompt_mean_the_same(key):
    assert TaskRequest.model_validate(TASK | {key: "alice.wav"}).prompt == "alice.wav"


@pytest.mark.parametrize(
    ("model", "extra", "words"),
    [
        (TaskRequest, {"text": " \n\t\u3000"}, "'text' is blank"),
        (TaskRequest, {"prompt_path": "a.wav", "prompt_name": "a.wav"}, "'prompt_path' and 'prompt_name'"),
        (TaskRequest, {"priority": 10}, "'priority' must be at most 9"),
        (TaskRequest, {"priority": -1}, "'priority' must be at least 0"),
        (TaskRequest, {"seed": MAX_SEED + 1}, "'seed' must be at most 4294967295"),
        (TaskRequest, {"infer_mode": "fast"}, "'infer_mode' must be '普通推理' or '批次推理', not 'fast'"),
        (TaskRequest, {"format": "aac"}, "'format' must be 'wav', 'flac', 'ogg' or 'mp3'"),
        (TaskRequest, {"speeches": {}}, "unknown key 'speeches'"),
        (TaskRequest, {"overwrite": True}, "unknown key 'overwrite'"),
        (BatchRequest, {"format": "wav"}, "unknown key 'format'"),
        (BatchRequest, {"text": "x"}, "unknown key 'text'"),
        (BatchRequest, {"speeches": {}}, "'speeches' must not be empty"),
        (BatchRequest, {"speeches": ["a.wav"]}, "'speeches' must be an object"),
        (BatchRequest, {"speeches": {"a.wav": None}}, "'speeches.a.wav' must be a string"),
        (BatchRequest, {"speeches": {"a.wav": " "}}, "the text of 'a.wav' is blank"),
        (BatchRequest, {"speeches": {"../a.wav": "x"}}, "'../a.wav' must not contain a path"),
        (BatchRequest, {"overwrite": "yes"}, "'overwrite' must be true or false"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(model, extra, words):
    assert words in fault(model, (TASK if model is TaskRequest else BATCH) | extra)


def test_names_without_wav_are_listed_as_they_always_were():
    names = {"a": "x", "b.mp3": "x", "c.wav": "x", "D.WAV": "x"}
    words = "All filenames must end with .wav extension. Invalid filenames: a, b.mp3"
    assert fault(BatchRequest, BATCH | {"speeches": names}) == words


@pytest.mark.parametrize("name", ["a.wav", "第一章.wav", "a b.wav", "a..wav", "-.wav", "é" * 125 + ".wav"])
def test_a_plain_file_name_is_taken(name):
    assert file_name_fault(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("/a.wav", "a/b.wav", "..\\a.wav", "../a.wav", ".a.wav", "~a.wav"),
        *("a\0.wav", "a\n.wav", "\x7f.wav", "\x85.wav", "é" * 126 + ".wav"),
    ],
)
def test_what_is_no_plain_file_name_is_refused(name):
    assert file_name_fault(name)


# States


def test_every_state_has_one_of_the_four_words():
    assert set(STATUS_WORDS) == {"pending", "processing", "completed", "failed"}
    assert set(STATUS_OF) == set(State)
    assert STATUS_OF[State.CANCELLED] == "failed"


def test_nothing_but_a_retry_leads_out_of_an_end():
    assert all(TRANSITIONS[state] == {State.PENDING} for state in OVER)
    assert State.COMPLETED not in TRANSITIONS[State.PENDING]


def test_sources_are_the_transitions_backwards():
    pairs = {(source, target) for target in State for source in sources(target)}
    assert pairs == {(source, target) for source, targets in TRANSITIONS.items() for target in targets}


# Ids


@settings(deadline=None, max_examples=50)
@given(st.booleans(), st.floats(0, 10**14), st.integers(0, 10**14))
def test_an_id_names_its_number(batch, created_at, n):
    task_id = format_id(batch, created_at, n)
    assert parse_id(task_id) == n
    assert task_id == f"{'batch' if batch else 'task'}_{int(created_at)}_{n}"


@pytest.mark.parametrize(
    "text",
    ["", "task_1", "task__1", "task_1_-1", "job_1_2", "task_1_2 ", "task_1_2\n", "task_1_٢", "task_1_" + "9" * 30],
)
def test_what_is_no_id_has_no_number(text):
    assert parse_id(text) is None


@settings(deadline=None, max_examples=50)
@given(st.integers(0, MAX_SEED), st.integers(0, 10_000))
def test_a_segment_has_a_seed_of_its_own_that_never_changes(seed, index):
    assert 0 <= segment_seed(seed, index) <= MAX_SEED
    assert segment_seed(seed, index) == segment_seed(seed, index) != segment_seed(seed, index + 1)


def test_a_segments_seed_is_the_same_in_every_version():
    # Shelves of an interrupted task outlive an update of the program.
    assert segment_seed(42, 3) == 2_571_351_228


# Views


def test_receipts_have_exactly_the_documents_keys():
    single, batch = (Receipt(task_id="x", batch=batch, total_files=3) for batch in (False, True))
    assert single.answer() == {"task_id": "x", "status": "pending"}
    assert batch.answer() == {"task_id": "x", "status": "pending", "total_files": 3}


def test_a_waiting_task_shows_its_place_and_no_result():
    assert set(shown()) == ALWAYS | {"output_path", "queue_position"}
    assert shown()["task_id"] == "task_1709123456_7"
    assert shown()["output_path"] == "/out//x"
    assert shown()["created_at"] == "2024-02-28T12:30:56.789Z"


def test_a_task_in_work_shows_its_progress():
    found = shown(
        state=State.PROCESSING, started_at=1.0, queue_position=None, segments_total=3, segments_done=1, progress=1 / 3
    )
    assert set(found) == ALWAYS | {"output_path", "started_at", "segments_total"}
    assert (found["progress"], found["attempt"]) == (0.3333, 1)


def test_a_completed_task_shows_its_file_and_time():
    over = {"started_at": 1.0, "finished_at": 2.0, "queue_position": None, "process_time": 1.23456}
    found = shown(state=State.COMPLETED, **over)
    assert set(found) == ALWAYS | {"output_path", "output_file", "process_time", "started_at", "finished_at"}
    assert (found["output_file"], found["process_time"]) == ("/out/x/task_1709123456_7.wav", 1.23)
    assert found["progress"] == 1.0


@pytest.mark.parametrize(("state", "error"), [(State.FAILED, "why"), (State.CANCELLED, "cancelled")])
def test_a_failed_or_cancelled_task_shows_why(state, error):
    found = shown(state=state, error=error, finished_at=2.0, queue_position=None)
    assert set(found) == ALWAYS | {"output_path", "error", "process_time", "finished_at"}
    assert (found["status"], found["error"], found["process_time"]) == ("failed", error, 0.0)


def test_a_batch_shows_successes_and_only_real_errors():
    batch = dataclasses.replace(SINGLE, batch=True, total_files=3, queue_position=None, started_at=1.0)
    assert set(shown(batch, state=State.PROCESSING)) == ALWAYS | {
        "output_directory",
        "total_files",
        "processed_files",
        "started_at",
    }
    found = shown(
        batch, state=State.COMPLETED, finished_at=2.0, completed_files=2, failures=(("b.wav", "why"),), process_time=3.0
    )
    assert found["task_id"] == "batch_1709123456_7"
    assert (found["processed_files"], found["total_files"], found["process_time"]) == (2, 3, 3.0)
    assert found["errors"] == [{"filename": "b.wav", "error": "why"}]
    assert "output_path" not in found
    assert "error" not in found


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, None), (0.0, "1970-01-01T00:00:00.000Z"), (1e9, "2001-09-09T01:46:40.000Z")]
)
def test_times_are_rfc_3339_in_utc(seconds, text):
    assert timestamp(seconds) == text
