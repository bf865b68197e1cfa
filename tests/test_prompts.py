"""The catalogue of voices."""

from __future__ import annotations

import hashlib
import os
import shutil

import pytest

from daemon import prompts as catalogues
from daemon.errors import BadRequest, SpeechFailed, StorageUnavailable
from daemon.prompts import Prompts, content_hash
from tests.disks import no_more_files
from tests.live import until


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "prompts"
    made.mkdir()
    return made


def catalogue(folder, *names, default="random", turn=0, settle=0):
    for name in names:
        (folder / name).write_bytes(name.encode())
    return Prompts(folder, default, turn, settle=settle)


def test_names_are_sorted_recordings_in_any_case(folder):
    prompts = catalogue(
        folder, "b.WAV", "a.wav", "C.Flac", "女声 1.ogg", "d.mp3", "notes.txt", "wav", "e.wave", "f.m4a"
    )
    assert prompts.names() == ["C.Flac", "a.wav", "b.WAV", "d.mp3", "女声 1.ogg"]


def test_hidden_files_folders_and_what_lies_deeper_are_no_prompts(folder):
    prompts = catalogue(folder, "a.wav", ".hidden.wav", ".wav")
    (folder / "folder.wav").mkdir()
    (folder / "folder.wav/deeper.wav").touch()
    os.mkfifo(folder / "pipe.wav")
    (folder / "dangling.wav").symlink_to("nowhere")
    (folder / "circle.wav").symlink_to("circle.wav")
    assert prompts.names() == ["a.wav"]


def test_a_link_to_a_recording_is_a_prompt(folder, tmp_path):
    (tmp_path / "far.wav").touch()
    (folder / "near.wav").symlink_to(tmp_path / "far.wav")
    assert catalogue(folder).names() == ["near.wav"]


def test_a_name_that_is_not_utf8_is_no_prompt(folder):
    (folder / b"\xff.wav".decode(errors="surrogateescape")).touch()
    assert catalogue(folder, "a.wav").names() == ["a.wav"]


def test_a_new_recording_is_a_voice_at_once(folder):
    prompts = catalogue(folder, "a.wav")
    (folder / "b.wav").touch()
    assert prompts.names() == ["a.wav", "b.wav"]
    assert prompts.choose("b.wav") == "b.wav"


@pytest.mark.parametrize(
    "wanted",
    ["nobody.wav", "", "a", "A.WAV", "./a.wav", "../prompts/a.wav", "/etc/passwd", ".hidden.wav", "a.wav\0", "a.wav/"],
)
def test_only_a_listed_name_is_found(folder, wanted):
    prompts = catalogue(folder, "a.wav", ".hidden.wav")
    with pytest.raises(BadRequest) as caught:
        prompts.choose(wanted)
    assert str(caught.value) == f"Specified prompt '{wanted}' not found."


@pytest.mark.parametrize("wanted", [None, "a.wav"])
@pytest.mark.parametrize("default", ["random", "round_robin", "a.wav"])
@pytest.mark.parametrize("removed", [False, True], ids=["empty", "removed"])
def test_without_any_prompt_the_original_sentence_is_told(folder, wanted, default, removed):
    prompts = catalogue(folder, "notes.txt", default=default)
    if removed:
        shutil.rmtree(folder)
    assert prompts.names() == []
    with pytest.raises(BadRequest) as caught:
        prompts.choose(wanted)
    assert str(caught.value) == "No prompt audio files found in the 'prompts' directory."


def test_random_takes_every_voice_sooner_or_later(folder):
    prompts = catalogue(folder, "a.wav", "b.wav", "c.wav")
    assert {prompts.choose(None) for _ in range(200)} == {"a.wav", "b.wav", "c.wav"}


def test_round_robin_takes_the_voices_in_turn(folder):
    prompts = catalogue(folder, "b.wav", "a.wav", "c.wav", default="round_robin")
    assert [prompts.choose(None) for _ in range(5)] == ["a.wav", "b.wav", "c.wav", "a.wav", "b.wav"]


def test_round_robin_goes_on_where_it_was(folder):
    prompts = catalogue(folder, "a.wav", "b.wav", default="round_robin", turn=7)
    assert prompts.choose(None) == "b.wav"


def test_a_named_voice_costs_no_turn(folder):
    prompts = catalogue(folder, "a.wav", "b.wav", default="round_robin")
    assert prompts.choose("b.wav") == "b.wav"
    assert prompts.choose(None) == "a.wav"


def test_a_configured_name_speaks_when_none_is_named(folder):
    prompts = catalogue(folder, "a.wav", "b.wav", default="b.wav")
    assert prompts.choose(None) == "b.wav"
    assert prompts.choose("a.wav") == "a.wav"


def test_a_configured_name_that_is_missing_is_told(folder):
    with pytest.raises(BadRequest, match=r"Specified prompt 'gone\.wav' not found\."):
        catalogue(folder, "a.wav", default="gone.wav").choose(None)


def test_a_chosen_prompt_becomes_its_file(folder):
    assert catalogue(folder, "a.wav").file("a.wav") == folder / "a.wav"


@pytest.mark.parametrize("name", ["gone.wav", "../a.wav"])
def test_a_prompt_that_is_gone_when_it_is_spoken_fails_the_speech_with_a_sentence(folder, name):
    with pytest.raises(SpeechFailed) as caught:
        catalogue(folder, "a.wav").file(name)
    assert str(caught.value) == f"the prompt '{name}' is no longer in the prompts folder"


def test_the_hash_is_of_the_content(folder):
    catalogue(folder, "a.wav")
    assert content_hash(folder / "a.wav") == hashlib.sha256(b"a.wav").hexdigest()


@pytest.mark.timeout(60)
def test_what_is_no_file_or_without_end_is_not_read(folder):
    os.mkfifo(folder / "pipe.wav")
    with (folder / "endless.wav").open("wb") as endless:
        endless.truncate(8 << 40)
    for name in ("pipe.wav", "endless.wav"):
        with pytest.raises(SpeechFailed, match=f"'{name}' cannot be used: it is no file, or larger than 1 GB"):
            content_hash(folder / name)


def test_a_prompt_that_goes_before_it_is_read_fails_the_speech_with_a_sentence(folder):
    with pytest.raises(SpeechFailed, match=r"'a\.wav' cannot be read: No such file"):
        content_hash(folder / "a.wav")


def test_a_prompt_that_cannot_be_read_for_now_fails_nobody(folder):
    catalogue(folder, "a.wav")
    with no_more_files(), pytest.raises(StorageUnavailable) as trouble:
        content_hash(folder / "a.wav")
    assert str(trouble.value) == "the prompt 'a.wav' cannot be read for now: Too many open files"


def test_a_folder_that_cannot_be_looked_into_for_now_is_not_taken_for_an_empty_one(folder):
    catalogue(folder, "a.wav")
    for wanted in ("a.wav", None):
        with no_more_files(), pytest.raises(StorageUnavailable) as trouble:
            Prompts(folder, "random").choose(wanted)
        assert str(trouble.value) == f"the prompts folder {folder} cannot be looked into for now: Too many open files"


# What was found in a recording


def judged(prompts, **faults):
    """Judges all that nobody listened to yet; `a="it hums"` is a fault of a.wav. Their names, in order."""
    seen = []
    while found := prompts.uninspected():
        file, stamp = found
        seen.append(file.name)
        prompts.judge(file, stamp, faults.get(file.stem))
    return seen


def test_every_recording_is_inspected_once(folder):
    prompts = catalogue(folder, "b.wav", "a.wav", "notes.txt")
    assert judged(prompts, a="it hums") == ["a.wav", "b.wav"]
    assert judged(prompts) == []
    (folder / "c.wav").touch()
    assert judged(prompts) == ["c.wav"]


def test_a_recording_nobody_listened_to_yet_is_taken(folder):
    assert catalogue(folder, "a.wav").choose("a.wav") == "a.wav"


@pytest.mark.parametrize("wanted", [None, "a.wav"])
def test_a_useless_recording_is_refused_and_still_listed(folder, wanted):
    prompts = catalogue(folder, "a.wav", "b.wav", default="a.wav")
    judged(prompts, a="it hums; give another")
    with pytest.raises(BadRequest) as caught:
        prompts.choose(wanted)
    assert str(caught.value) == "Specified prompt 'a.wav' cannot be used: it hums; give another"
    assert prompts.choose("b.wav") == "b.wav"
    assert prompts.names() == ["a.wav", "b.wav"]


def written_over(file):
    file.write_bytes(b"another")


def replaced(file):
    (file.parent / "new").write_bytes(file.read_bytes())
    os.utime(file.parent / "new", ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    (file.parent / "new").rename(file)


def made_readable(file):
    before = file.stat().st_ctime_ns
    until(lambda: file.chmod(0o640) or file.stat().st_ctime_ns > before)  # file systems' clocks tick slowly


@pytest.mark.parametrize("change", [written_over, replaced, made_readable])
def test_a_recording_that_changed_is_taken_and_asked_anew(folder, change):
    prompts = catalogue(folder, "a.wav")
    judged(prompts, a="it hums")
    change(folder / "a.wav")
    assert prompts.choose("a.wav") == "a.wav"
    assert judged(prompts, a="it still hums") == ["a.wav"]
    with pytest.raises(BadRequest, match="it still hums"):
        prompts.choose("a.wav")


def test_a_recording_that_changes_while_it_is_listened_to_is_asked_anew(folder):
    prompts = catalogue(folder, "a.wav")
    file, stamp = prompts.uninspected()
    written_over(file)
    prompts.judge(file, stamp, "it hums")
    assert prompts.choose("a.wav") == "a.wav"
    assert prompts.uninspected() is not None


def test_a_recording_that_goes_on_changing_is_not_listened_to_again_and_again(folder):
    """It is being copied in, by someone whose connection is slow."""
    prompts = catalogue(folder, "a.wav", "b.wav", settle=600)
    assert judged(prompts, a="its end is missing") == ["a.wav", "b.wav"]
    written_over(folder / "a.wav")
    assert judged(prompts) == []
    assert prompts.choose("a.wav") == "a.wav"
    (folder / "c.wav").touch()
    assert judged(prompts) == ["c.wav"], "a new one need not wait"


def test_the_folder_is_read_once_for_many_new_recordings(folder, monkeypatch):
    prompts = catalogue(folder, *(f"{number}.wav" for number in range(50)))
    reads = []
    read = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reads.append(path) or read(path))
    assert len(judged(prompts)) == 50
    assert len(reads) <= 2


def test_a_recording_that_came_back_under_its_name_is_asked_anew(folder):
    prompts = catalogue(folder, "a.wav", "b.wav")
    judged(prompts, a="it hums")
    (folder / "a.wav").unlink()
    assert judged(prompts) == []
    (folder / "a.wav").write_bytes(b"a.wav")
    assert judged(prompts) == ["a.wav"]


def test_useless_recordings_are_not_taken_at_random_nor_in_turn(folder):
    prompts = catalogue(folder, "a.wav", "b.wav", "c.wav")
    judged(prompts, b="it hums")
    assert {prompts.choose(None) for _ in range(200)} == {"a.wav", "c.wav"}
    prompts = catalogue(folder, default="round_robin")
    judged(prompts, b="it hums")
    assert [prompts.choose(None) for _ in range(4)] == ["a.wav", "c.wav", "a.wav", "c.wav"]


@pytest.mark.parametrize("default", ["random", "round_robin"])
def test_if_all_are_useless_the_first_ones_fault_is_told(folder, default):
    prompts = catalogue(folder, "b.wav", "a.wav", default=default)
    judged(prompts, a="it hums", b="it hisses")
    with pytest.raises(BadRequest) as caught:
        prompts.choose(None)
    assert str(caught.value) == "No prompt can be used; the first of them, 'a.wav': it hums"


def test_fault_and_advice_are_in_the_log(folder, caplog):
    prompts = catalogue(folder, "a.wav")
    file, stamp = prompts.uninspected()
    with caplog.at_level("INFO"):
        prompts.judge(file, stamp, None, ["it is clipped"])
        prompts.judge(file, stamp, "it hums")
    assert caplog.messages == [
        "the prompt a.wav can be used, but it is clipped",
        "the prompt a.wav cannot be used: it hums",
    ]


def test_what_is_known_of_removed_recordings_is_forgotten(folder):
    prompts = catalogue(folder)
    for number in range(100):
        (folder / f"{number}.wav").touch()
        judged(prompts)
        (folder / f"{number}.wav").unlink()
    assert len(prompts._faults) <= 1


# What the disk did not give


def postponed(prompts, why="Input/output error"):
    file, _ = prompts.uninspected()
    prompts.postpone(file, why)
    return file.name


def test_a_recording_that_the_disk_did_not_give_is_taken_and_not_asked_for_again_at_once(folder):
    prompts = catalogue(folder, "a.wav", "b.wav")
    assert postponed(prompts) == "a.wav"
    assert judged(prompts) == ["b.wav"], "the others need not wait"
    assert prompts.uninspected() is None
    assert prompts.choose("a.wav") == "a.wav"


def test_it_is_asked_for_again_later_and_then_what_is_found_stands(folder, monkeypatch):
    monkeypatch.setattr(catalogues, "_AGAIN", 0.1)
    prompts = catalogue(folder, "a.wav")
    postponed(prompts)
    assert until(lambda: judged(prompts, a="it hums"), "its turn") == ["a.wav"]
    with pytest.raises(BadRequest, match="it hums"):
        prompts.choose("a.wav")


def test_what_was_postponed_is_forgotten_with_its_file(folder):
    prompts = catalogue(folder, "a.wav")
    postponed(prompts)
    (folder / "a.wav").unlink()
    assert prompts.uninspected() is None
    (folder / "a.wav").write_bytes(b"another")
    assert judged(prompts) == ["a.wav"]


def test_that_the_disk_does_not_give_a_recording_is_told_once_until_it_did(folder, caplog, monkeypatch):
    monkeypatch.setattr(catalogues, "_AGAIN", 0.0)
    prompts = catalogue(folder, "a.wav")
    for _ in range(3):
        postponed(prompts)
    sentence = "the prompt a.wav could not be listened to, and will be again: Input/output error"
    assert caplog.messages == [sentence]
    judged(prompts)
    written_over(folder / "a.wav")
    postponed(prompts)
    assert caplog.messages == [sentence] * 2
