"""The document and the API say the same: every route, every status, and the shape of every answer."""

from __future__ import annotations

import re

import jsonschema_rs
import pytest
import waitress.utilities

from daemon.api import Api
from daemon.api.answers import STATUS
from daemon.api.openapi import Document
from daemon.config import LimitsConfig
from daemon.engines import SPECS
from daemon.intake import Intake
from daemon.tasks import STATUS_WORDS

TASKS = "/api/tts/tasks"
BATCHES = "/api/tts/batch_tasks"


@pytest.fixture(scope="module")
def document(door):
    return door.get("/openapi.json").json


@pytest.fixture
def conform(door, document):
    """Asks, and holds the answer against the document; `path` is the document's, `at` what stands in its braces."""

    def ask(method, path, status, *, at="", body=None, headers=None):
        answer = door.ask(method.upper(), path.replace("{task_id}", at), body, headers)
        assert answer.status == status, answer.body
        promised = document["paths"][path][method]["responses"][str(status)]
        promised = resolved(document, promised)
        for name, header in promised.get("headers", {}).items():
            assert validator(document, header["schema"]).is_valid(known(answer.headers[name.lower()])), name
        content = promised.get("content", {})
        if content:
            kind = answer.headers["content-type"]
            assert kind in content
            if kind == "application/json":
                validator(document, content[kind]["schema"]).validate(answer.json)
        return answer

    return ask


def resolved(document, value):
    while "$ref" in value:
        name, kind = value["$ref"].split("/")[-1], value["$ref"].split("/")[-2]
        value = document["components"][kind][name]
    return value


def validator(document, schema):
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}, validate_formats=True)


def known(header):
    return int(header) if header.isdigit() else header


def routes(app):
    return {(route.method.lower(), re.sub(r"<(\w+)>", r"{\1}", route.rule)) for route in app.routes}


def test_every_route_is_in_the_document_and_the_other_way_round(door, document):
    rooms = (door.store, door.intake, None, None, None, None, 0)
    described = {(method, path) for path, item in document["paths"].items() for method in item}
    assert described == routes(Api(*rooms).wsgi())


def test_every_error_has_a_status_that_the_document_tells(document):
    told = {int(status) for item in document["paths"].values() for op in item.values() for status in op["responses"]}
    raised = set(STATUS.values())
    servers = {
        kind.code for kind in vars(waitress.utilities).values() if isinstance(kind, type) and hasattr(kind, "code")
    }
    assert raised | servers | {200, 206, 304, 401, 416, 500} == told


def test_the_document_is_whole(document):
    assert document["openapi"] == "3.1.0"
    names = {op["operationId"] for item in document["paths"].values() for op in item.values()}
    assert len(names) == sum(map(len, document["paths"].values()))
    used = set(re.findall(r"#/components/(\w+/\w+)", str(document)))
    there = {f"{kind}/{name}" for kind in ("schemas", "responses") for name in document["components"][kind]}
    assert used == there
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})  # refuses a wrong schema
        assert schema["type"] != "object" or schema["additionalProperties"] is False
    for model in ("TaskBody", "BatchBody"):
        assert all("description" in key for key in document["components"]["schemas"][model]["properties"].values())


@pytest.mark.parametrize("engine", SPECS)
def test_options_are_those_of_the_configured_engine(engine):
    spec = SPECS[engine]
    bodies = Intake(None, None, None, spec, LimitsConfig()).bodies()
    document = Document(bodies).for_limits(LimitsConfig(), False)
    for model in ("TaskBody", "BatchBody"):
        options = document["components"]["schemas"][model]["properties"]["options"]
        assert options["properties"].keys() == spec.request_options.model_fields.keys()
        assert options["additionalProperties"] is False


def test_blank_is_the_same_to_the_document_and_to_us(document):
    schema = validator(document, {"type": "string", "pattern": text_of(document)["pattern"]})
    signs = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    assert [sign for sign in signs if schema.is_valid(sign) != bool(sign.strip())] == []


def text_of(document):
    return document["components"]["schemas"]["TaskBody"]["properties"]["text"]


def test_limits_are_those_that_hold_now(door):
    before = door.intake.limits
    door.intake.limits = LimitsConfig(text_chars=7, batch_files=3)
    try:
        schemas = door.get("/openapi.json").json["components"]["schemas"]
    finally:
        door.intake.limits = before
    speeches = schemas["BatchBody"]["properties"]["speeches"]
    assert schemas["TaskBody"]["properties"]["text"]["maxLength"] == 7
    assert (speeches["maxProperties"], speeches["additionalProperties"]["maxLength"]) == (3, 7)


def test_a_token_is_asked_for_only_where_one_is_needed(door):
    document = Document(door.intake.bodies()).for_limits(LimitsConfig(), True)
    open_paths = {path for path, item in document["paths"].items() for op in item.values() if not op["security"]}
    assert open_paths == {"/health", "/api/tts/health"}
    assert not any(op["security"] for item in door.get("/openapi.json").json["paths"].values() for op in item.values())


def test_the_daemon_as_a_whole_answers_in_the_documents_shapes(door, conform):
    for path in ("/health", "/api/tts/health", "/ready", "/openapi.json", "/api/tts/prompts", "/api/tts/stats"):
        conform("get", path, 200)
    door.not_ready = "the engine is being loaded"
    try:
        conform("get", "/ready", 503)
        conform("get", "/api/tts/stats", 200)
    finally:
        door.not_ready = None


def test_a_task_is_shown_in_the_documents_shape_in_every_state(door, conform):
    door.clear()
    task = f"{TASKS}/{{task_id}}"
    ids = [conform("post", TASKS, 200, body={"text": "x", "output_path": "o"}).json["task_id"] for _ in range(4)]
    seen = [conform("get", task, 200, at=one).json for one in ids]
    door.complete(door.claim())
    door.store.fail(door.claim(), "it cannot be spoken")
    door.claim()
    seen += [conform("get", task, 200, at=one).json for one in ids]
    seen += [conform("delete", task, 200, at=one).json for one in ids[2:]]
    seen += [conform("get", task, 200, at=one).json for one in ids]
    assert {view["status"] for view in seen} == set(STATUS_WORDS)
    assert any(view.get("cancel_requested") for view in seen)
    assert "cancelled" in {view.get("error") for view in seen}
    conform("delete", task, 409, at=ids[0])
    conform("get", task, 404, at="task_1_999")
    conform("post", f"{task}/retry", 200, at=ids[1])
    conform("post", f"{task}/retry", 409, at=ids[0])
    page = conform("get", TASKS, 200).json
    assert len(page["tasks"]) >= 4
    door.clear()


def test_a_batch_is_shown_in_the_documents_shape_in_every_state(door, conform):
    door.clear()
    task = f"{TASKS}/{{task_id}}"
    body = {"speeches": {"a.wav": "a", "b.wav": "b"}, "output_directory": "batch"}
    batch = conform("post", BATCHES, 200, body=body).json["task_id"]
    seen = [conform("get", task, 200, at=batch).json]
    door.complete(door.claim())
    seen += [conform("get", task, 200, at=batch).json]
    door.store.fail(door.claim(), "it cannot be spoken")
    seen += [conform("get", task, 200, at=batch).json]
    assert [view["status"] for view in seen] == ["pending", "processing", "completed"]
    assert seen[-1]["errors"]
    conform("get", f"{task}/audio", 409, at=batch)
    conform("get", TASKS, 200)


def test_audio_is_answered_as_the_document_says(door, conform):
    door.clear()
    audio = f"{TASKS}/{{task_id}}/audio"
    made = door.submit()
    conform("get", audio, 409, at=made)
    door.complete(door.claim())
    tag = conform("get", audio, 200, at=made).headers["etag"]
    conform("get", audio, 206, at=made, headers={"Range": "bytes=0-9"})
    conform("get", audio, 304, at=made, headers={"If-None-Match": tag})
    conform("get", audio, 416, at=made, headers={"Range": "bytes=900-"})
    conform("get", audio, 404, at="task_1_999")


def test_refusals_have_the_documents_shape(door, conform):
    door.clear()
    conform("post", TASKS, 400, body={"text": "x"})
    conform("post", TASKS, 413, body=b"x" * (5 * 1024**2))
    conform("get", TASKS, 403, headers={"Host": "elsewhere.example"})
    conform("get", TASKS, 431, headers={"X-Long": "x" * 20_000})
    conform("get", "/health", 501, headers={"Transfer-Encoding": "gzip"})
    before = door.intake.limits
    door.intake.limits = LimitsConfig(queue=1)
    try:
        door.submit()
        conform("post", TASKS, 429, body={"text": "x", "output_path": "o"})
    finally:
        door.intake.limits = before
        door.clear()
