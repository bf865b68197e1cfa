"""Tokens: what their file may be, how it is written, and who is known by it."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemon import files, tokens
from daemon.errors import BadRequest, ConfigError, Conflict, InUse, NotFound
from daemon.tokens import Tokens

GOOD = "a" * 64


@pytest.fixture
def file(tmp_path):
    """Where tokens may be; not made."""
    return tmp_path / "tokens"


# Who is known


def test_a_token_is_known_by_its_name_and_only_its_hash_is_kept(file):
    _, secret = tokens.create(file, "studio")
    known = Tokens([file])
    assert known.holder(f"Bearer {secret}") == "studio"
    assert secret not in file.read_text()
    assert len(secret) >= 43  # 32 random bytes


@pytest.mark.parametrize("sent", ["bearer {}", "BEARER {}", "Bearer   {} "])
def test_the_schemes_case_and_blanks_around_the_token_do_not_matter(file, sent):
    _, secret = tokens.create(file)
    assert Tokens([file]).holder(sent.format(secret)) == "token-1"


@pytest.mark.parametrize(
    "sent",
    [
        *(None, "", "Bearer", "Bearer ", "{}", "Basic {}", "Bearer{}", "Bearer {}x", "Bearer x{}", "Bearer {} {}"),
        *("Bearer {}, Bearer {}", "Bearer é", "Bearer \udcff\ud800", "Bearer " + GOOD, "Bearer " + "x" * 100_000),
    ],
)
def test_anything_else_is_known_to_nobody(file, sent):
    _, secret = tokens.create(file)
    assert Tokens([file]).holder(sent and sent.replace("{}", secret)) is None


def test_the_hash_that_is_kept_opens_nothing(file):
    token, _ = tokens.create(file)
    assert Tokens([file]).holder(f"Bearer {token.digest}") is None


def test_the_tokens_of_all_files_count(file, tmp_path):
    _, one = tokens.create(file)
    (tmp_path / "systemd").mkdir()
    _, other = tokens.create(tmp_path / "systemd" / "tokens", "other")
    known = Tokens([file, tmp_path / "systemd" / "tokens", tmp_path / "none"])
    assert [known.holder(f"Bearer {secret}") for secret in (one, other)] == ["token-1", "other"]
    assert len(known) == 2


# Whether one is needed


def test_none_is_needed_while_there_is_no_file(file):
    assert not Tokens([file]).needed


def test_one_is_needed_while_there_is_a_file_though_it_holds_none(file):
    file.write_text("")
    known = Tokens([file])
    assert (known.needed, len(known)) == (True, 0)


def test_a_file_that_vanishes_opens_nothing_before_the_next_start(file):
    _, secret = tokens.create(file)
    known = Tokens([file])
    file.unlink()
    assert known.adopt(known.read())
    assert (known.needed, len(known), known.holder(f"Bearer {secret}")) == (True, 0, None)
    assert not Tokens([file]).needed


def test_what_was_read_counts_only_once_it_is_adopted(file):
    known = Tokens([file])
    _, secret = tokens.create(file)
    found = known.read()
    assert not known.needed
    assert known.adopt(found)
    assert known.needed
    assert known.holder(f"Bearer {secret}")
    assert not known.adopt(known.read()), "nothing changed"


# A file that is none of ours is never "no tokens"


def unreadable(file: Path) -> None:
    file.mkdir()


def link_to_nothing(file: Path) -> None:
    file.symlink_to("nowhere")


def pipe(file: Path) -> None:
    os.mkfifo(file)


def open_to_all(file: Path) -> None:
    file.write_text("")
    file.chmod(0o666)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (unreadable, "cannot be read: Is a directory"),
        (link_to_nothing, "cannot be read: No such file or directory"),
        (pipe, "cannot be read: it is no regular file"),
        (open_to_all, "cannot be trusted: everybody may write to it; chmod 640"),
        (lambda file: file.write_bytes(b"\xff"), "cannot be read: it is not UTF-8"),
        (lambda file: file.write_bytes(b"#" * 2**21), "larger than 1048576 bytes"),
        (lambda file: file.write_text(f"a {GOOD} 2026-01-01\na {GOOD} 2026-01-01\n"), "line 2: not a token"),
        (lambda file: file.write_text(f"# ours\n\na {GOOD}\n"), "line 3: not a token"),
        (lambda file: file.write_text(f"a {GOOD.upper()} 2026-01-01\n"), "line 1: not a token"),
        (lambda file: file.write_text(f"../a {GOOD} 2026-01-01\n"), "line 1: not a token"),
        (lambda file: file.write_text("itts_secret\n"), "line 1: not a token"),
    ],
    ids=["folder", "broken link", "pipe", "open to all", "bytes", "huge", "twice", "short", "upper", "path", "token"],
)
def test_a_file_that_cannot_be_read_is_an_error(file, make, sentence):
    make(file)
    with pytest.raises(ConfigError) as refused:
        Tokens([file])
    assert sentence in str(refused.value)
    assert str(file) in str(refused.value)
    assert "itts_secret" not in str(refused.value)


AS_NOBODY = """
import os, sys
from pathlib import Path
from daemon.tokens import Tokens
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    print("needed", Tokens([Path(sys.argv[1])]).needed)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its rights")
@pytest.mark.parametrize("closed", ["the file", "its folder"])
def test_a_file_that_we_may_not_read_is_an_error_even_if_we_cannot_see_whether_it_is_there(tmp_path, closed):
    folder = tmp_path / "etc"
    folder.mkdir()
    tokens.create(folder / "tokens")
    (folder / "tokens").chmod(0o600)
    folder.chmod(0o700 if closed == "its folder" else 0o755)
    for parent in folder.parents:
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    ended = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(folder / "tokens")], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert ended.stdout == f"ConfigError the tokens in {folder / 'tokens'} cannot be read: Permission denied\n"


# Writing


def test_names_are_made_up_where_none_is_given(file):
    made = [tokens.create(file)[0].name for _ in range(2)]
    tokens.create(file, "token-3")
    assert [*made, tokens.create(file)[0].name] == ["token-1", "token-2", "token-4"]


def test_names_must_be_plain_and_are_taken_once(file):
    for name in ("", ".", "-x", "a b", "a\n", "é", "../x", "x" * 65):
        with pytest.raises(BadRequest, match="is no name for a token"):
            tokens.create(file, name)
    assert not file.exists()
    tokens.create(file, "x" * 64)
    with pytest.raises(Conflict, match="already"):
        tokens.create(file, "x" * 64)


def test_a_revoked_token_is_known_no_more_and_its_file_stays(file):
    _, secret = tokens.create(file, "one")
    _, other = tokens.create(file, "two")
    assert tokens.revoke(file, "one") == 1
    known = Tokens([file])
    assert [known.holder(f"Bearer {each}") for each in (secret, other)] == [None, "two"]
    assert tokens.revoke(file, "two") == 0
    assert (Tokens([file]).needed, len(Tokens([file]))) == (True, 0)
    with pytest.raises(NotFound, match="holds no token 'one'"):
        tokens.revoke(file, "one")


def test_only_owner_and_group_may_read_it_whatever_the_umask(file):
    for mask in (0o000, 0o077):
        before = os.umask(mask)
        try:
            tokens.create(file)
        finally:
            os.umask(before)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other groups")
def test_a_new_file_has_its_folders_group_and_an_old_one_keeps_its_own(file):
    os.chown(file.parent, -1, 12_345)
    tokens.create(file)
    assert file.stat().st_gid == 12_345
    os.chown(file, -1, 54_321)
    tokens.create(file)
    tokens.revoke(file, "token-1")
    assert (file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (54_321, 0o640)


def test_a_link_is_neither_followed_nor_replaced(file, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("")
    file.symlink_to(victim)
    for change in (lambda: tokens.create(file), lambda: tokens.revoke(file, "a")):
        with pytest.raises(ConfigError, match="is a symbolic link"):
            change()
    assert (file.is_symlink(), victim.read_text()) == (True, "")


def test_a_file_of_somebody_else_is_not_written_over(file):
    file.write_text("my diary\n")
    with pytest.raises(ConfigError, match="line 1: not a token"):
        tokens.create(file)
    assert file.read_text() == "my diary\n"


def test_a_missing_folder_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"none/tokens cannot be changed: .* cannot be opened: No such file"):
        tokens.create(tmp_path / "none" / "tokens")


def test_many_at_once_lose_nothing_and_leave_nothing_behind(file):
    threads = [threading.Thread(target=tokens.create, args=(file,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {token.name for token in tokens.read_file(file)} == {f"token-{n}" for n in range(1, 9)}
    assert {each.name for each in file.parent.iterdir()} == {"tokens", ".tokens.lock"}


def test_whoever_holds_the_file_for_ever_is_named_and_none_but_its_owner_may(file, monkeypatch):
    monkeypatch.setattr(files, "_TURN_PATIENCE", 0)
    tokens.create(file)
    held = file.with_name(".tokens.lock")
    assert held.stat().st_mode & 0o777 == 0o600
    with held.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(InUse, match=r"another program holds .*\.tokens\.lock"):
            tokens.create(file)
    folder = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as everybody may who can read it
    tokens.create(file)
    os.close(folder)


# The commands


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-m", "daemon", *words], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert "Traceback" not in ended.stderr
    return ended


def test_new_prints_the_token_alone_and_says_the_rest_beside_it(tmp_path, file):
    (tmp_path / "config.yaml").write_text("")
    made = command(tmp_path, "token", "new")
    secret = made.stdout.rstrip("\n")
    assert (made.returncode, Tokens([file]).holder(f"Bearer {secret}")) == (0, "token-1")
    for word in ("Authorization: Bearer", "every request needs a token", "systemctl reload indexttsd", "the group"):
        assert word in made.stderr
    assert secret not in made.stderr
    again = command(tmp_path, "token", "new", "studio", "--json")
    assert Tokens([file]).holder(f"Bearer {json.loads(again.stdout)['token']}") == "studio"
    assert "every request needs a token" not in again.stderr


def test_list_shows_names_and_no_hashes(tmp_path, file):
    (tmp_path / "config.yaml").write_text("server: {tokens_file: keys}")
    none = command(tmp_path, "token", "list")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", f"{tmp_path / 'keys'} is not there\n")
    token, _ = tokens.create(tmp_path / "keys")
    assert command(tmp_path, "token", "list").stdout == f"{token.created}  token-1\n"
    rows = json.loads(command(tmp_path, "token", "list", "--json").stdout)
    assert rows == {
        "file": str(tmp_path / "keys"),
        "needed": True,
        "tokens": [{"name": "token-1", "created": token.created}],
    }


def test_revoking_the_last_says_that_nobody_gets_in(tmp_path, file):
    (tmp_path / "config.yaml").write_text("")
    for _ in range(2):
        tokens.create(file)
    assert "nobody gets in" not in command(tmp_path, "token", "revoke", "token-2").stderr
    assert "now nobody gets in" in command(tmp_path, "token", "revoke", "token-1").stderr
    assert "holds no token: nobody gets in" in command(tmp_path, "token", "list").stderr
    gone = command(tmp_path, "token", "revoke", "token-1")
    assert (gone.returncode, "holds no token 'token-1'" in gone.stderr) == (1, True)
