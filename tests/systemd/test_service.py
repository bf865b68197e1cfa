"""The service under a real systemd: it starts, speaks, comes back, gives up, and stays within its bounds."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.live import until
from tests.reliability import hanging
from tests.systemd.probe import AS_ROOT
from tests.systemd.service import CONFIG, DATA

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
LONG = "One sentence that is spoken for a while. " * 20


def test_a_dropped_and_a_posted_text_are_spoken_by_the_embedded_engine_under_the_whole_sandbox(service, tell):
    service.configure(engine={"name": "kokoro"})
    began = time.monotonic()
    service.restart()
    loaded = time.monotonic() - began
    task = service.post("你好，世界。")
    service.drop("alice", "story.json", {"text": "Dropped by a member of the group."})
    (dropped,) = service.note("done/story.json.result.json", user="alice")
    posted = service.ended(task)
    assert (posted["status"], dropped["status"]) == ("completed", "completed"), (posted, dropped)
    shell = service.machine.shell
    for view in (posted, dropped):
        assert shell(f"head -c 4 {view['output_file']}", user="alice") == "RIFF"  # the group may read it
        assert "Permission denied" in shell(f"cat {view['output_file']}", user="bob", check=False)
        assert view["audio_seconds"] > 0.5
    assert "Permission denied" in shell(f"ls {DATA}/inbox", user="bob", check=False)
    ready = service.seconds_between("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    tell(f"doors open {ready:.2f} s after the start, kokoro loaded after {loaded:.1f} s; one text dropped, one posted")


def test_what_root_looks_at_and_copies_stays_of_use_to_the_service(service, tell):
    """Root's check once left a model in the cache that the service might not read: it spoke no more."""
    shell = service.machine.shell
    service.configure(engine={"name": "kokoro"})
    shell(f"systemctl stop indexttsd; rm -rf {DATA}/state/cache")
    told = shell("cd /root && indexttsd check && indexttsd say Hello. -o /tmp/root.wav && indexttsd db backup")
    assert "user: indexttsd" in told
    assert shell(f"find {DATA}/state /tmp/root.wav -not -user indexttsd") == ""
    assert shell(f"ls {DATA}/state/cache")
    shell("systemctl start indexttsd")
    service.ready()
    tell("check, say and db backup by root made nothing that is root's; the service loaded kokoro from the same cache")


def test_a_killed_daemon_is_back_by_itself(service, tell):
    dead = service.pid
    killed = time.monotonic()
    service.machine.shell(f"kill -9 {dead}")
    until(lambda: service.show("ActiveState") == "active" and service.pid not in (0, dead), "a new daemon", pause=0.02)
    back = time.monotonic() - killed
    assert service.show("NRestarts") == "1"
    service.ready()
    tell(f"active again {back:.2f} s after kill -9")


def test_a_hang_is_caught_by_the_watchdog(service, tell):
    service.drop_in("test.conf", "[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\n")
    service.restart()
    stuck = service.pid
    stopped = time.monotonic()
    service.machine.shell(f"kill -STOP {stuck}")
    until(lambda: service.show("ActiveState") == "active" and service.pid not in (0, stuck), "a new daemon", pause=0.05)
    took = time.monotonic() - stopped
    assert "Watchdog timeout" in service.journal()
    assert service.show("NRestarts") == "1"
    tell(f"with WatchdogSec=2 a hanging daemon was replaced after {took:.1f} s")


@pytest.mark.parametrize("room", ["inbox", "worker"])
def test_one_room_that_hangs_starves_the_watchdog_and_the_stacks_are_told(service, room):
    shutil.copy(hanging.__file__, service.machine.folder)
    command = f"/opt/indexttsd/venv/bin/python /host/hanging.py {room} serve --config {CONFIG}"
    service.drop_in("test.conf", f"[Service]\nWatchdogSec=3\nExecStart=\nExecStart={command}\n")
    service.configure(inbox={"settle_seconds": 0.1, "rescan_seconds": 1})
    service.restart()
    stuck = service.pid
    service.machine.shell(f"touch {DATA}/hang")
    service.post("Somebody wakes the worker.")
    until(lambda: service.pid not in (0, stuck), "a new daemon", pause=0.1)
    service.machine.shell(f"rm {DATA}/hang")
    service.ready()
    assert f"no sign of life comes from the {room}" in service.journal()
    assert "Watchdog timeout" in service.journal()
    assert "Fatal Python error: Aborted" in service.journal()
    assert "hanging.py" in service.journal()  # a stack says where


@pytest.mark.parametrize("units", [["indexttsd.service"], ["indexttsd.socket", "indexttsd.service"]], ids=len)
def test_a_daemon_that_dies_again_and_again_is_given_up_until_it_is_healed_as_documented(service, units):
    run = service.machine.run
    run("systemctl", "stop", "indexttsd")
    run("systemctl", "start", *units)

    def killed_again():
        if service.show("ActiveState") == "failed":
            return True
        if service.show("SubState") == "running" and service.pid:
            service.machine.shell(f"kill -9 {service.pid}", check=False)
        return False

    until(killed_again, "given up", pause=0.2)
    assert service.show("NRestarts") == "9"  # the fixture's start and ours count too, and the eleventh was refused
    assert "Start request repeated too quickly" in service.journal()
    try:
        assert [service.machine.show(unit, "ActiveState") for unit in units] == ["failed"] * len(units)
        run("systemctl", "reset-failed", "indexttsd.*")
        run("systemctl", "start", *units)
        service.ready()
        assert [service.machine.show(unit, "ActiveState") for unit in units] == ["active"] * len(units)
    finally:
        run("systemctl", "stop", "indexttsd.socket", "indexttsd.service")


def test_a_wrong_configuration_is_told_once_and_not_started_again(service):
    service.machine.write(CONFIG, "server:\n  prot: 1\n")
    service.machine.run("systemctl", "restart", "indexttsd", check=False)
    service.fails()
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")
    assert f"{CONFIG}, line 2: unknown key 'server.prot'" in service.journal()


def test_a_stop_in_flight_is_clean_and_the_task_goes_on_after_the_next_start(service):
    service.configure(engine={"name": "tone", "options": {"delay_seconds": 0.5}})
    service.restart()
    task = service.post(LONG)
    until(lambda: service.view(task).get("segments_done", 0) > 0, "a spoken segment", pause=0.1)
    service.machine.run("systemctl", "stop", "indexttsd")
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert "SIGKILL" not in service.journal()
    service.machine.run("systemctl", "start", "indexttsd")
    service.ready()
    view = service.ended(task)
    assert (view["status"], view["attempt"]) == ("completed", 1)


def test_a_reload_takes_up_what_may_change_and_keeps_the_process(service):
    before = service.pid
    service.configure(limits={"queue": 3}, engine={"name": "tone", "options": {"delay_seconds": 1}})
    service.machine.run("systemctl", "reload", "indexttsd")
    until(lambda: "reloaded" in service.journal(), "reloaded", pause=0.1)
    until(lambda: "engine.options" in service.journal(), "what needs a restart", pause=0.1)
    assert (service.pid, service.show("ActiveState")) == (before, "active")


def test_a_reload_of_a_wrong_configuration_is_refused_and_the_daemon_goes_on(service):
    before = service.pid
    service.machine.write(CONFIG, "limits: {queue: none}\n")
    refused = service.machine.run("systemctl", "reload", "indexttsd", check=False)
    assert refused.returncode != 0
    assert f"{CONFIG}, line 1: " in service.journal()
    assert (service.pid, service.show("ActiveState")) == (before, "active")
    assert service.answers("/health")


@pytest.fixture
def wide_open(service):
    """A machine where all that the probe tries is open to the service's user, but for the sandbox."""
    shell = service.machine.shell
    folders = "/etc/open /opt/indexttsd/open /srv/open"
    files = "/dev/others /dev/shm/others /dev/mqueue/others"
    shell(f"chmod 755 /home/alice; install -d -m 777 {folders}; mkdir -p /dev/mqueue; touch {files}")
    shell(f"install -m 4755 $(readlink -f /opt/indexttsd/venv/bin/python) {AS_ROOT}")
    shell("ip address add 192.0.2.1/32 dev lo")
    listen = 'import socket, time; s = socket.create_server(("0.0.0.0", 9000)); time.sleep(600)'
    shell(f"systemd-run --quiet --unit=probed /usr/bin/python3 -c '{listen}'")
    outside = 'import socket; socket.create_connection(("192.0.2.1", 9000), timeout=5)'
    reached = ("/usr/bin/python3", "-c", outside)
    until(lambda: service.machine.run(*reached, check=False).returncode == 0, "reachable from outside", pause=0.1)
    yield
    shell(f"systemctl stop probed; ip address del 192.0.2.1/32 dev lo; rm -r {files} {AS_ROOT} {folders}")


def test_the_sandbox_lets_it_write_and_connect_only_where_it_should(service, wide_open):
    def probed(said):
        return json.loads(said.partition("PROBE ")[2].partition("\n")[0])

    command = "/opt/indexttsd/venv/bin/python /host/probe.py"
    without = probed(service.machine.shell(command, user="indexttsd"))
    assert {key for key, told in without.items() if told != "done"} == set()  # or its refusal would prove nothing
    service.drop_in("test.conf", f"[Service]\nExecStartPre={command}\n")
    service.restart()
    assert probed(service.journal()) == {
        "write below the state": "done",
        "write to /etc": "EROFS",
        "write beside its own code": "EROFS",
        "write to /srv": "EROFS",
        "write to /run/lock": "EROFS",
        "see everybody's shared memory": "ENOENT",
        "see everybody's message queues": "ENOENT",
        "see a device": "ENOENT",
        "look into a home": "EACCES",
        "see other processes": "ENOENT",
        "connect to loopback": "done",
        "connect elsewhere": "TIMEOUT",
        "become root": "EPERM",
        "open a raw socket": "EPERM",
        "open a packet socket": "EAFNOSUPPORT",
        "make a namespace": "EPERM",
    }


def test_a_root_outside_of_the_sandbox_is_a_sentence_and_a_drop_in_opens_it(service):
    service.machine.shell("install -d -o indexttsd -g indexttsd /srv/speech")
    service.configure(output={"roots": ["/srv/speech"]})
    service.machine.run("systemctl", "restart", "indexttsd", check=False)
    service.fails()
    assert f"{CONFIG}, line" in service.journal()
    assert "/srv/speech lies on a read-only disk" in service.journal()
    service.drop_in("roots.conf", "[Service]\nReadWritePaths=/srv/speech\n")
    service.restart()
    view = service.ended(service.post("Spoken elsewhere."))
    assert view["output_file"].startswith("/srv/speech/posted/")


def test_a_token_made_by_root_is_asked_for_after_a_reload(service):
    made = json.loads(service.machine.run("indexttsd", "token", "new", "alice", "--json").stdout)
    service.machine.run("systemctl", "reload", "indexttsd")
    until(lambda: service.ask("GET", "/api/tts/prompts")[0] == 401, "asked for a token", pause=0.1)
    assert service.ask("GET", "/api/tts/prompts", token=made["token"])[0] == 200
    assert service.ask("GET", "/health")[0] == 200
    service.restart()  # the service's user can read what root wrote
    assert service.ask("GET", "/api/tts/prompts", token=made["token"])[0] == 200


def test_tokens_may_come_as_a_credential(service):
    shell = service.machine.shell
    made = json.loads(service.machine.run("indexttsd", "token", "new", "alice", "--json").stdout)
    shell("install -d -m 700 /etc/credstore; mv /etc/indexttsd/tokens /etc/credstore/indexttsd-tokens")
    shell("chown root:root /etc/credstore/indexttsd-tokens; chmod 600 /etc/credstore/indexttsd-tokens")
    service.restart()
    assert service.ask("GET", "/api/tts/prompts")[0] == 401
    assert service.ask("GET", "/api/tts/prompts", token=made["token"])[0] == 200


def test_systemd_may_hold_the_socket_and_the_first_request_starts_the_daemon(service, tell):
    service.machine.run("systemctl", "stop", "indexttsd")
    service.machine.run("systemctl", "start", "indexttsd.socket")
    try:
        asked = time.monotonic()
        assert service.ask("GET", "/health") == (200, {"status": "ok"})
        took = time.monotonic() - asked
        first = service.pid
        service.machine.run("systemctl", "restart", "indexttsd")
        assert service.ask("GET", "/health") == (200, {"status": "ok"})
        assert service.pid not in (0, first)
    finally:
        service.machine.shell("systemctl stop indexttsd.socket indexttsd.service")
    tell(f"the first request was answered after {took:.1f} s, the start of the daemon included")


def test_without_a_network_it_answers_the_group_on_a_socket_file_alone(service):
    place = "/run/indexttsd/http.sock"
    service.use("unix-socket.conf")
    service.configure(server={"unix_socket": place})
    service.machine.run("systemctl", "restart", "indexttsd")
    assert service.ask("GET", "/health", place=place, user="alice") == (200, {"status": "ok"})
    assert not service.answers("/health", place=place, user="bob")
    listed = service.machine.run("runuser", "-u", "alice", "--", "indexttsd", "prompts")
    assert "female_zh.wav" in listed.stdout
    assert service.machine.shell(f"readlink /proc/{service.pid}/ns/net") != service.machine.shell(
        "readlink /proc/1/ns/net"
    )


def test_a_socket_file_that_systemd_holds_outlives_the_daemon(service):
    place, drop_ins = "/run/indexttsd/http.sock", "/etc/systemd/system/indexttsd.socket.d"
    service.use("unix-socket.conf")
    service.configure(server={"unix_socket": place})
    service.machine.write(f"{drop_ins}/file.conf", f"[Socket]\nListenStream=\nListenStream={place}\n")
    shell = service.machine.shell
    shell("systemctl daemon-reload; systemctl stop indexttsd; systemctl start indexttsd.socket indexttsd.service")
    try:
        for _ in range(2):
            assert service.ask("GET", "/health", place=place, user="alice") == (200, {"status": "ok"})
            service.machine.run("systemctl", "restart", "indexttsd")
        assert service.ask("GET", "/health", place=place, user="alice") == (200, {"status": "ok"})
    finally:
        shell(f"systemctl stop indexttsd.socket indexttsd.service; rm -r {drop_ins}")


def test_a_socket_file_that_systemd_holds_may_be_another_groups_alone(service):
    place, drop_ins = "/run/indexttsd.sock", "/etc/systemd/system/indexttsd.socket.d"
    told = re.search(r"```ini\n(\[Socket\]\n.*?)```", OPERATIONS.read_text(encoding="utf-8"), re.DOTALL)
    shell = service.machine.shell
    shell("useradd --groups www-data carol")
    service.use("unix-socket.conf")
    service.configure(server={"unix_socket": place})
    service.machine.write(f"{drop_ins}/group.conf", told[1])
    shell("systemctl daemon-reload; systemctl stop indexttsd; systemctl start indexttsd.socket indexttsd.service")
    try:
        for _ in range(2):
            assert service.ask("GET", "/health", place=place, user="carol") == (200, {"status": "ok"})
            assert not service.answers("/health", place=place, user="alice")
            assert not service.answers("/health", place=place, user="bob")
            service.machine.run("systemctl", "restart", "indexttsd")
        assert "Permission denied" in shell(f"ls {DATA}/inbox", user="carol", check=False)
        assert service.show("PrivateNetwork") == "yes"
        assert "female_zh.wav" in shell("indexttsd prompts")
    finally:
        shell(f"systemctl stop indexttsd.socket indexttsd.service; rm -r {drop_ins}; userdel carol")


def test_the_drop_in_for_gpus_starts_on_a_machine_without_one(service):
    service.use("gpu.conf")
    service.restart()
    assert service.show("PrivateDevices") == "no"
    assert "char-nvidia rw" in service.show("DeviceAllow")
    assert service.ended(service.post("No GPU here."))["status"] == "completed"


def test_the_engine_ends_with_the_service(service):
    group = "/sys/fs/cgroup/system.slice/indexttsd.service"
    assert len(service.machine.shell(f"cat {group}/cgroup.procs").split()) == 2
    service.machine.run("systemctl", "kill", "--kill-whom=main", "indexttsd")
    until(lambda: service.show("ActiveState") == "inactive", "ended", pause=0.1)
    assert service.machine.shell(f"cat {group}/cgroup.procs 2>/dev/null", check=False).strip() == ""
