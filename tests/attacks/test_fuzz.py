"""Whatever comes, the counter says yes or one sentence, a path leads below a root, and a Host is ours or refused."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from daemon import strict_json
from daemon.api.guard import Guard
from daemon.errors import BadRequest
from daemon.outputs import Outputs
from daemon.tasks import BatchRequest, NewTask, TaskRequest, file_name_fault
from tests.intake_room import Counter

#: Bounded by a count, so that a run takes the same seconds everywhere.
thorough = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

# The drop folder's parser

VALID = [
    {"text": "Hello.", "output_path": "x", "priority": 3, "seed": 7, "options": {"speed": 1.5}, "format": "flac"},
    {"speeches": {"a.wav": "Hello.", "b.wav": "你好。"}, "output_directory": "x", "overwrite": True},
    [{"text": "one", "prompt_path": "alice.wav", "idempotency_key": "k"}, {"text": "two", "infer_mode": "批次推理"}],
]
odd_text = some.text() | some.sampled_from(["", "..", "/etc", "~", "\0", "\ud800", "a\\b", "x" * 300, ".wav", "x.wav"])
scalars = some.none() | some.booleans() | some.integers() | some.floats() | odd_text
keys = some.sampled_from(sorted({*TaskRequest.model_fields, *BatchRequest.model_fields, "idempotency_key"}))
values = some.recursive(scalars, lambda inner: some.lists(inner) | some.dictionaries(odd_text, inner), max_leaves=8)
requests = some.dictionaries(keys, values) | some.dictionaries(keys | odd_text, values)
encodings = some.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "gbk", "latin-1"])


@some.composite
def mutated(draw):
    """The bytes of a good request with some of them changed, taken out, doubled or moved."""
    data = bytearray(json.dumps(draw(some.sampled_from(VALID)), ensure_ascii=False).encode())
    for _ in range(draw(some.integers(1, 6))):
        start, end = sorted(draw(some.tuples(*[some.integers(0, len(data))] * 2)))
        data[start:end] = draw(some.binary(max_size=8) | some.just(bytes(data[start:end]) * 2))
    return bytes(data)


@some.composite
def written(draw):
    """Almost a request, in any encoding; json.dumps writes NaN and lone surrogates as well."""
    content = draw(requests | some.lists(requests, max_size=3) | values)
    text = json.dumps(content, ensure_ascii=draw(some.booleans()))
    encoding = draw(encodings)
    return text.encode(
        encoding, draw(some.sampled_from(["replace", "surrogatepass"] if "utf" in encoding else ["replace"]))
    )


@pytest.fixture(scope="module")
def counter(tmp_path_factory, empty_ledger):
    counter = Counter(tmp_path_factory.mktemp("fuzz"), empty_ledger)
    yield counter
    counter.store.close()


@thorough
@given(data=some.binary(max_size=200) | mutated() | written(), name=odd_text.map(lambda text: f"{text}.json"))
@example(data=b"[" * 100_000, name="x.json")
@example(data=b'{"a":' * 100_000, name="x.json")
@example(data=b'{"text": ' + b"9" * 100_000 + b"}", name="x.json")
@example(data=b'{"text": 1e' + b"9" * 100_000 + b"}", name="x.json")
@example(data=b'"' + b"\\ud800" * 10_000 + b'"', name="x.json")
@example(data=b"\xff\xfe\0\0", name="x.json")
def test_a_dropped_file_becomes_tasks_or_one_sentence(counter, data, name):
    before = sorted(counter.root.iterdir())
    try:
        tasks = counter.intake.check(data, name)
    except BadRequest as refused:
        told = str(refused)
        assert told
        assert len(told) < 20_000
        strict_json.dumps({"detail": told}).encode()
        return
    assert tasks
    assert all(isinstance(task, NewTask) for task in tasks)
    for task in tasks:
        assert Path(task.directory).is_relative_to(counter.root)
        assert all(Path(name).name == name for name in task.speeches)
    assert before == sorted(counter.root.iterdir())


@thorough
@given(data=some.binary(max_size=200) | mutated() | written(), batch=some.booleans())
def test_a_posted_body_is_accepted_or_refused_with_one_sentence(counter, data, batch):
    try:
        receipt = counter.intake.submit(data, batch=batch, key=None)
    except BadRequest as refused:
        assert str(refused)
    else:
        assert counter.store.task(receipt.task_id).batch is batch
    beside = {path.name for path in counter.folder.iterdir() if not path.name.startswith("ledger.db")}
    assert beside == {"out", "prompts"}


# Paths

parts = some.sampled_from(
    ["..", ".", "", "a", "b", "a b", "link", "up", "gone", "file", "~", "...", "root", "..a", "\0"]
)
paths = (
    some.lists(parts | odd_text, max_size=8).map("/".join)
    | some.tuples(some.sampled_from(["{root}", "{root}2", "{root}/..", "/{root}", "//"]), some.lists(parts)).map(
        lambda found: "/".join((found[0], *found[1]))
    )
    | some.text()
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A root with links in it that lead everywhere, and what lies beside it."""
    folder = tmp_path_factory.mktemp("roots")
    for made in ("root/a/b", "root2/a", "secret/a"):
        (folder / made).mkdir(parents=True)
    for where in ("root", "root/a"):
        (folder / where / "link").symlink_to(folder / "secret")
        (folder / where / "up").symlink_to("..")
        (folder / where / "gone").symlink_to(folder / "nowhere")
        (folder / where / "file").touch()
    return folder


@thorough
@given(path=paths)
@example(path="a/../link/../../secret")
@example(path="{root}/up/secret/new")
@example(path="//{root}/../root2/a")
def test_what_a_path_leads_to_lies_below_a_root_whatever_it_is(place, path):
    outputs = Outputs([place / "root"])
    before = sorted(place.glob("*")) + sorted(place.glob("secret/**")) + sorted(place.glob("root2/**"))
    try:
        _, used = outputs.resolve(path.replace("{root}", str(place / "root")))
        outputs.make(used)
    except BadRequest as refused:
        assert str(refused)
    else:
        assert Path(used).resolve() == Path(used)
        assert Path(used).is_relative_to(place / "root")
        assert Path(used).is_dir()
    assert before == sorted(place.glob("*")) + sorted(place.glob("secret/**")) + sorted(place.glob("root2/**"))


@thorough
@given(name=some.text() | odd_text | some.lists(parts).map("/".join))
def test_a_file_name_that_is_let_in_is_one_name_in_its_folder(place, name):
    try:
        fault = file_name_fault(name)
    except UnicodeEncodeError:  # a lone surrogate: no door lets it get here
        assert not name.isprintable()
        return
    if fault is None:
        assert os.path.normpath(place / name).startswith(f"{place}/") or not name
        assert not any(unicodedata.category(sign) == "Cc" for sign in name)
        assert "/" not in name
        assert not name.startswith(".")


# Host

signs = some.text(alphabet="0123456789abcdef:.[]@%/\\,localhost \t-_é\0", max_size=24)
OURS = {"localhost", "127.0.0.1", "[::1]", "speech.example"}
CASES = ("", ":80", ":", ":65536", ".", ".:80")


@thorough
@given(host=signs | some.sampled_from([f"{name}{end}" for name in OURS for end in CASES]) | some.text(max_size=20))
@example(host="localhost.evil.example")
@example(host="evil.example/localhost")
@example(host="localhost@evil.example")
@example(host="[::1].evil.example")
@example(host="127.0.0.1, evil")
def test_a_host_is_one_of_ours_to_the_letter_or_refused(host):
    passed = []
    guard = Guard(lambda *_: passed.append(host) or [], ["speech.example"], [])
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": host}
    told = []
    guard(environ, lambda status, *_: told.append(status))
    if passed:
        name = host.strip().lower()
        name = name[: name.rindex(":")] if ":" in name.rpartition("]")[2] and name != "::1" else name
        assert f"[{name}]" in OURS or name.removesuffix(".") in OURS, host
    else:
        assert told[0].split()[0] in ("400", "403", "421")
