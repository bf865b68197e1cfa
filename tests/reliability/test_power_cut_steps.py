"""Power cuts right after one step: a rename or a removal is on the disk before the ledger is told of it.

The ledger's own commits bring such things along most of the time, so a whole daemon would not show that they are lost.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.errors import SpeechFailed
from daemon.inbox.archive import Archive
from daemon.inbox.claimed import Claimed
from daemon.outputs import Outputs, temporary_name
from tests.disk_image import copy_image, image_folder, make_image, mounted

pytestmark = pytest.mark.reliability


@contextlib.contextmanager
def power_cut_after(tmp_path: Path, work: Callable[[Path], None]) -> Iterator[Path]:
    """A disk as it is right after this work in its folder; no ledger has brought anything to it."""
    folder = tmp_path / "disk"
    with image_folder() as images:
        image, left = make_image(images / "now.img"), images / "left.img"
        with mounted(image, folder):
            work(folder)
            copy_image(image, left)
        with mounted(left, folder):
            yield folder


def test_a_published_file_is_whole_and_in_its_place_before_the_ledger_hears_of_it(tmp_path: Path) -> None:
    def publish(root: Path) -> None:
        with Outputs([root]).draft(f"{root}/a/b/c", "owner") as draft:
            draft.file.write(b"sound" * 10_000)
            draft.seal()
            draft.publish("speech.wav", overwrite=False)

    with power_cut_after(tmp_path, publish) as root:
        assert (root / "a/b/c/speech.wav").read_bytes() == b"sound" * 10_000


def test_a_draft_that_was_given_up_does_not_come_back(tmp_path: Path) -> None:
    def give_up(root: Path) -> None:
        with contextlib.suppress(SpeechFailed), Outputs([root]).draft(str(root), "owner") as draft:
            draft.file.write(b"sound" * 10_000)
            draft.seal()
            raise SpeechFailed("somebody else's file has the name")

    with power_cut_after(tmp_path, give_up) as root:
        assert list(root.glob(".indexttsd-*")) == []


def test_a_draft_that_was_swept_does_not_come_back(tmp_path: Path) -> None:
    def sweep(root: Path) -> None:
        (root / temporary_name("owner")).write_bytes(b"half a file")
        os.sync()
        Outputs([root]).sweep(str(root), "owner")

    with power_cut_after(tmp_path, sweep) as root:
        assert list(root.glob(".indexttsd-*")) == []


def test_a_claimed_file_is_in_its_place_before_the_ledger_hears_of_it(tmp_path: Path) -> None:
    def claim(inbox: Path) -> None:
        (inbox / "x.json").write_text("{}")
        claimed = Claimed(inbox)
        claimed.own()
        os.sync()
        claimed.claim(inbox / "x.json", "x.json")
        claimed.keep()
        claimed.release()

    with power_cut_after(tmp_path, claim) as inbox:
        (file,) = inbox.rglob("*x.json")
        assert file.parent.name == ".claimed"


def test_a_file_put_away_is_in_its_place_with_its_note_before_the_ledger_hears_of_it(tmp_path: Path) -> None:
    def put_away(inbox: Path) -> None:
        (inbox / "x.json").write_text("{}")
        done = Archive(inbox / "done", ".result.json")
        done.prepare()
        os.sync()
        done.put(inbox / "x.json", "x.json", [])
        done.keep()

    with power_cut_after(tmp_path, put_away) as inbox:
        files = {str(file.relative_to(inbox)): file.read_text() for file in inbox.rglob("x.json*")}
        assert files == {"done/x.json": "{}", "done/x.json.result.json": "[]\n"}
