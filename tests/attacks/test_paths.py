"""Nobody reads or writes outside the roots: not by a path, not by a link, not by being quick. Over real HTTP."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import random
import shutil
import threading
from pathlib import Path

import pytest

from daemon import beneath
from daemon.errors import BadRequest, SpeechFailed
from tests.api_door import Door
from tests.output_files import names, publish

TASKS, BATCHES = "/api/tts/tasks", "/api/tts/batch_tasks"
NOWHERE = "must lie in one of the folders that output.roots allows"
NO_NAME = "holds a control character, a backslash or a sign that is not UTF-8"
A_LINK = "a part of it is not a directory, or is a symbolic link"
SECRET = b"nobody's business"


@pytest.fixture
def house(door):
    """Folders and links below the root and beside it; everything else that lies there is told by `outside`."""
    for folder in ("outputs/real/deep", "outputs2", "secret"):
        (door.folder / folder).mkdir(parents=True)
    (door.folder / "secret/file.wav").write_bytes(SECRET)
    for link, target in LINKS.items():
        (door.outputs / link).symlink_to(target.format(folder=door.folder))
    yield door
    for folder in ("outputs", "outputs2", "secret"):
        shutil.rmtree(door.folder / folder)
    door.outputs.mkdir()


LINKS = {"inner": "real", "outer": "{folder}/secret", "up": "..", "gone": "{folder}/no/such", "round": "round"}


def outside(door):
    """Whatever lies in the daemon's folder and not below its root, without what the ledger writes."""
    found = {path for path in door.folder.rglob("*") if not path.is_relative_to(door.outputs)}
    return {path: path.stat().st_mtime_ns for path in found if door.folder / "state" not in (path, path.parent)}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        *((path, NOWHERE) for path in ("..", "../x", "x/../../x", "a/b/../../../c", "./..", "/", "/etc", "//etc")),
        *((path, NOWHERE) for path in ("///etc", "{root}2", "{root}2/x", "{root}x", "{root}/..", "{root}/../secret")),
        *((path, NOWHERE) for path in ("//{root}2", "{root}/x/../../secret", "{folder}", "/proc/self/root/tmp")),
        *((path, A_LINK) for path in ("inner", "outer", "up", "gone", "round")),
        *((path, A_LINK) for path in ("outer/x", "up/secret", "up/outputs/x", "gone/x", "round/x", "{root}/outer/x")),
        *((path, NO_NAME) for path in ("x\0", "x\0/../../y", "a\nb", "a\x1b[2Jb", "\x7f", "..\\x", "a\\..\\..\\x")),
        ("a\ud800", "half a character"),
        *((path, "'~' is not expanded here") for path in ("~", "~/x", "~root/.ssh", "x/~")),
        ("n" * 256, "longer than 255 bytes"),
        ("语" * 86, "longer than 255 bytes"),
        ("x/" * 3000, "longer than"),
        (" ", "blank"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("batch", [False, True], ids=["task", "batch"])
def test_a_way_out_is_refused_with_a_sentence_and_leaves_no_trace(house, path, said, batch):
    before, accepted = outside(house), house.store.accepted()
    sent = path.format(root=house.outputs, folder=house.folder)
    if batch:
        answer = house.post(BATCHES, {"output_directory": sent, "speeches": {"file.wav": "Hello."}})
    else:
        answer = house.post(TASKS, {"output_path": sent, "text": "Hello."})
    assert (answer.status, said in answer.detail) == (400, True), answer.body
    assert (outside(house), house.store.accepted()) == (before, accepted)


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ("/etc/ssl", "/etc/sls"),
        ("{folder}/secret", "{folder}/secert"),
        ("outer/x", "gone/x"),
        ("../secret", "../secert"),
    ],
)
def test_the_answer_does_not_tell_what_exists(house, there, missing):
    told = set()
    for path in (there, missing):
        sent = path.format(folder=house.folder)
        told.add(house.post(TASKS, {"output_path": sent, "text": "Hello."}).detail.replace(sent, "PATH"))
    assert len(told) == 1


@pytest.mark.parametrize("what", ["a pipe", "a file", "a socket"])
def test_what_is_no_folder_is_refused_and_does_not_make_anybody_wait(house, what):
    make = {"a pipe": os.mkfifo, "a file": Path.touch, "a socket": lambda path: os.mknod(path, 0o140600)}[what]
    make(house.outputs / "thing")
    for path in ("thing", "thing/x"):
        assert A_LINK in house.post(TASKS, {"output_path": path, "text": "Hello."}).detail


@pytest.mark.parametrize(
    "name",
    [
        *("../x.wav", "/etc/x.wav", "a/b.wav", "..\\x.wav", "C:\\x.wav", "x\0.wav", "x\n.wav", "x\x1b.wav", "\x85.wav"),
        *(".wav", ".x.wav", "..wav", "~.wav", "~root.wav", "x\ud800.wav", "n" * 252 + ".wav", "语" * 84 + ".wav"),
        *("x.wav ", "x.wav.", "x.wav/", "x.wav\0", "x.mp3", "", "wav", "x.wav/..", "／etc.wav/../y.wav"),
    ],
    ids=ascii,
)
def test_a_batch_may_name_plain_files_only(house, name):
    before = outside(house)
    answer = house.post(BATCHES, {"output_directory": "batch", "speeches": {name: "Hello."}})
    assert answer.status == 400
    assert ("speeches" in answer.detail) or (".wav" in answer.detail) or ("half a character" in answer.detail)
    assert outside(house) == before
    assert not (house.outputs / "batch").exists()


@pytest.mark.parametrize("name", ["X.WAV", " x.wav", "a..b.wav", "．．／x.wav", "x.wav.wav", "语 音.wav"])
def test_what_only_looks_like_a_path_is_a_name_like_any_other(house, name):
    """No file system of Linux takes a full-width slash for a slash, and nothing here folds signs together."""
    task = house.post(BATCHES, {"output_directory": "batch", "speeches": {name: "Hello."}}).json["task_id"]
    claimed = house.claim()
    house.complete(claimed)
    assert names(house.outputs / "batch") == [name]
    assert house.view(task)["status"] == "completed"


# The write


def swap(folder, link, times):
    """Exchange a folder with a link that leads outside, each time in one step."""
    libc = ctypes.CDLL(None)
    for _ in range(times):
        assert libc.renameat2(-100, os.fsencode(folder), -100, os.fsencode(link), 2) == 0  # RENAME_EXCHANGE
        sum(range(random.randrange(3000)))  # or the two threads fall into step, and the link is always met at one place


def attempt(outputs, folder, turn):
    """Write a file as a task does, and do all else that is done in a folder; whether it was published."""
    place = folder if turn % 2 else folder / f"new{turn % 100}"
    with contextlib.suppress(BadRequest):
        outputs.existing(str(place), ["x.wav"])
    outputs.sweep(str(place), "task_1_0-1")
    try:
        outputs.make(str(place))
        publish(outputs, place, f"{turn}.wav")
    except (BadRequest, SpeechFailed):
        return False
    return True


@pytest.mark.parametrize("way", ["openat2", "walked"])
def test_a_folder_that_is_swapped_for_a_link_ten_thousand_times_lets_nothing_out(
    outputs, root, tmp_path, monkeypatch, way
):
    if way == "walked":
        monkeypatch.setattr(beneath, "in_one_call", refused)
    elsewhere, folder, link = tmp_path / "elsewhere", root / "a", root / "b"
    elsewhere.mkdir()
    folder.mkdir()
    link.symlink_to(elsewhere)
    swapper, published, turn = threading.Thread(target=swap, args=(folder, link, 10_000)), [], 0
    swapper.start()
    while swapper.is_alive():
        turn += 1
        published.append(attempt(outputs, folder, turn))
    assert names(elsewhere) == []
    assert set(published) == {True, False}, turn


def refused(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def test_the_final_name_is_checked_again_where_it_is_written(outputs, root, tmp_path):
    """Should a ledger ever hold another."""
    for name in ("../x.wav", "/tmp/x.wav", "a/x.wav", "..", ""):
        for overwrite in (False, True):
            with pytest.raises(SpeechFailed, match="is no file name"):
                publish(outputs, root, name, overwrite=overwrite)
    assert names(root) == []
    assert names(tmp_path) == ["root"]


def test_a_folder_that_became_a_link_after_the_door_is_not_written_into(outputs, root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    outputs.make(str(root / "a/b"))
    shutil.rmtree(root / "a")
    (root / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpeechFailed, match=A_LINK):
        publish(outputs, root / "a/b", "x.wav")
    assert names(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_under_the_temporary_name_is_not_written_through(outputs, root, tmp_path, overwrite):
    (tmp_path / "target").write_bytes(SECRET)
    (root / ".indexttsd-task_1_0-1.part").symlink_to(tmp_path / "target")
    publish(outputs, root, "x.wav", overwrite=overwrite)
    assert (tmp_path / "target").read_bytes() == SECRET
    assert names(root) == ["x.wav"]


def test_results_are_for_the_group_as_well_under_the_umask_of_the_service(outputs, root):
    before = os.umask(0o027)
    try:
        publish(outputs, root / "new/folder", "x.wav")
    finally:
        os.umask(before)
    assert oct((root / "new/folder/x.wav").stat().st_mode & 0o777) == "0o640"
    assert oct((root / "new/folder").stat().st_mode & 0o777) == "0o750"


# The reading


@pytest.fixture
def heard(house):
    """A finished task: its address, and its file."""
    task = house.submit(output_path="real/deep")
    claimed = house.claim()
    house.complete(claimed)
    file = Path(claimed.directory, claimed.file_name)
    assert house.get(f"{TASKS}/{task}/audio").body == file.read_bytes()
    return f"{TASKS}/{task}/audio", file


def replaced_by(house, file, what):
    """Puts something else where a finished file was."""
    file.unlink()
    secret = house.folder / "secret" / file.name
    secret.write_bytes(SECRET)
    {
        "a link": lambda: file.symlink_to(secret),
        "a pipe": lambda: os.mkfifo(file),
        "a folder": file.mkdir,
        "a link to its folder": lambda: (file.parent.rmdir(), file.parent.symlink_to(secret.parent)),
        "a device": lambda: os.mknod(file, 0o20600, os.makedev(1, 5)),  # /dev/zero
        "nothing, nor its folders": lambda: shutil.rmtree(file.parent.parent),
    }[what]()


@pytest.mark.parametrize(
    "what", ["a link", "a pipe", "a folder", "a link to its folder", "a device", "nothing, nor its folders"]
)
def test_only_a_plain_file_below_the_root_is_served(house, heard, what):
    address, file = heard
    replaced_by(house, file, what)
    for method in ("GET", "HEAD"):
        answer = house.ask(method, address, headers={"Range": "bytes=0-3"})
        assert answer.status == 404
        assert SECRET not in answer.body
    assert "is no longer in" in house.get(address).detail


def test_a_root_that_was_taken_out_of_the_configuration_is_not_read(tmp_path, empty_ledger):
    first = Door(tmp_path, empty_ledger, output={"roots": ["one", "two"]})
    task = first.submit(output_path=str(tmp_path / "two"))
    first.complete(first.claim())
    assert first.get(f"{TASKS}/{task}/audio").status == 200
    first.close()
    kept = shutil.move(tmp_path / "state/indexttsd.db", tmp_path / "kept.db")
    second = Door(tmp_path, kept, output={"roots": ["one"]})
    try:
        assert "is no longer in" in second.get(f"{TASKS}/{task}/audio").detail
    finally:
        second.close()
