"""Install, upgrade, uninstall: one command each, and nobody's data is touched. The last one removes all."""

from __future__ import annotations

import re
import time

from tests.systemd.service import CONFIG, DATA

COMMAND = "/usr/local/bin/indexttsd"


def test_the_installation_says_what_it_did_and_can_be_used(service):
    shell = service.machine.shell
    assert "installed: indexttsd" in service.said_at_install
    assert f"configured by {CONFIG}" in service.said_at_install
    assert service.show("UnitFileState") == "enabled"
    assert "pass" in shell("indexttsd prompts && echo pass", user="alice")
    assert shell(f"stat -c '%a %U %G' {DATA}/inbox").split() == ["2770", "indexttsd", "indexttsd"]
    assert shell(f"ls {DATA}/prompts").split() == ["female_en.wav", "female_zh.wav", "male_zh.wav"]
    assert shell("find /opt/indexttsd -user indexttsd -o -perm -o+w ! -type l") == ""  # it cannot change its own code
    assert "build" not in shell("ls /host/checkout")  # nothing of root's is left in the checkout


def test_somebody_who_is_not_root_is_told_so(service):
    said = service.machine.shell("make -C /host/checkout install", user="alice", check=False)
    assert "so it needs root: sudo make install" in said


def test_a_python_in_a_home_directory_is_refused(service):
    shell = service.machine.shell
    shell("cp /usr/bin/python3.11 /home/alice/python3.11")
    said = service.make("install", "PYTHON=/home/alice/python3.11", check=False)
    assert "below a home directory, which the service cannot see" in said
    assert len(shell("ls -d /opt/indexttsd/venv-*").split()) == 1


def test_an_upgrade_keeps_the_data_and_a_wrong_configuration_stops_it_before_it_begins_to_count(service, tell):
    shell = service.machine.shell
    task = service.post("Spoken by the version before.")
    service.ended(task)
    shell("indexttsd token new alice >/dev/null 2>&1; sed -i '1i # mine' " + CONFIG)
    kept = shell(f"cat {CONFIG} /etc/indexttsd/tokens; rm {DATA}/prompts/male_zh.wav")
    code = "/host/checkout/daemon/__init__.py"
    before = re.search(r'__version__ = "(.*)"', shell(f"cat {code}"))[1]
    shell(f"sed -i 's/{before}/99.0/' {code}; sed -i 's/queue: 10000 /queue: 10001 /' /host/checkout/config.yaml")
    shell("mkdir /opt/indexttsd/venv-0-broken-off")
    shell(f"cp {CONFIG} /root/right; echo 'wrong: 1' >> {CONFIG}")
    said = service.make("install", check=False)
    assert "unknown key 'wrong'" in said
    assert "nothing was switched" in said
    assert (
        shell(f"readlink {COMMAND} /opt/indexttsd/venv | tail -1").strip().startswith(f"/opt/indexttsd/venv-{before}-")
    )
    shell(f"cat /root/right > {CONFIG}")
    began = time.monotonic()
    said = service.make("install")
    took = time.monotonic() - began
    assert "installed: indexttsd 99.0" in said
    assert f"see {CONFIG}.new" in said
    assert "10001" in shell(f"cat {CONFIG}.new")
    assert shell(f"cat {CONFIG} /etc/indexttsd/tokens") == kept
    assert len(shell("ls -d /opt/indexttsd/venv-*").split()) == 1
    assert shell(f"ls {DATA}/prompts").split() == ["female_en.wav", "female_zh.wav"]
    assert "99.0" in shell("indexttsd --version")
    shell("rm /etc/indexttsd/tokens")
    service.restart()
    assert service.view(task)["status"] == "completed"
    assert service.ask("GET", "/api/tts/stats")[1]["version"] == "99.0"
    tell(f"an upgrade took {took:.0f} s, with all packages at hand")


def test_what_is_uninstalled_leaves_the_data_and_says_how_to_remove_it(service):
    shell = service.machine.shell
    task = service.post("Spoken before the end.")
    spoken = service.ended(task)["output_file"]
    said = service.make("uninstall")
    assert "rm -r /etc/indexttsd /var/lib/indexttsd" in said
    assert service.show("LoadState") == "not-found"
    gone = f"{COMMAND} /opt/indexttsd /usr/local/lib/systemd/system/indexttsd.service"
    assert shell(f"ls -d {gone} 2>/dev/null", check=False) == ""
    assert shell(f"head -c 4 {spoken}") == "RIFF"
    assert shell(f"ls {CONFIG} {DATA}/state/indexttsd.db; id -u indexttsd")
    assert "removed" in service.make("uninstall")  # once more does no harm
