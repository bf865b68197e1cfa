"""Install, upgrade, uninstall: one command each, and nobody's data is touched. The last one removes all."""

from __future__ import annotations

import re
import time

from tests.live import until
from tests.systemd.service import CONFIG, DATA

COMMAND = "/usr/local/bin/indexttsd"


def test_the_installation_says_what_it_did_and_can_be_used(service):
    shell = service.machine.shell
    assert "installed: indexttsd" in service.said_at_install
    assert f"configured by {CONFIG}" in service.said_at_install
    assert service.show("UnitFileState") == "enabled"
    assert "pass" in shell("indexttsd prompts && echo pass", user="alice")
    assert shell(f"stat -c '%a %U %G' {DATA}/inbox").split() == ["3770", "indexttsd", "indexttsd"]
    assert shell(f"ls {DATA}/prompts").split() == ["female_en.wav", "female_zh.wav", "male_zh.wav"]
    assert shell("find /opt/indexttsd -user indexttsd -o -perm -o+w ! -type l") == ""  # it cannot change its own code
    assert "build" not in shell("ls /host/checkout")  # nothing of root's is left in the checkout


def test_somebody_who_is_not_root_is_told_so(service):
    said = service.machine.shell("make -C /host/checkout install", user="alice", check=False)
    assert "so it needs root: sudo make install" in said


def test_a_python_in_a_home_directory_is_refused(service):
    shell = service.machine.shell
    shell("cp /usr/bin/python3.11 /home/alice/python3.11")
    assert "/bin/true: it is not Python" in service.make("install", "PYTHON=/bin/true", check=False)
    said = service.make("install", "PYTHON=/home/alice/python3.11", check=False)
    assert "below a home directory, which the service cannot see" in said
    assert len(shell("ls -d /opt/indexttsd/venv-*").split()) == 1


def test_a_second_installation_at_once_is_refused(service):
    holding = "import fcntl, os, time; fcntl.flock(os.open('/opt/indexttsd', 0), fcntl.LOCK_EX); time.sleep(600)"
    service.machine.run("systemd-run", "--quiet", "--unit=holding", "/usr/bin/python3", "-c", holding)
    taken = ("flock", "--nonblock", "/opt/indexttsd", "true")
    until(lambda: service.machine.run(*taken, check=False).returncode, "the lock taken", pause=0.05)
    try:
        said = service.make("install", check=False)
    finally:
        service.machine.shell("systemctl stop holding")
    assert "another installation works in /opt/indexttsd; once it has ended, run the same command again" in said
    assert "Traceback" not in said


def test_no_link_of_the_services_user_leads_root_elsewhere(service):
    shell, prompts = service.machine.shell, f"{DATA}/prompts"
    planted = "echo precious > /etc/victim; mkdir /etc/led; mv {0} {0}.kept; ln -s /etc/led {0}"
    shell(planted.format(prompts))
    put = "import pathlib, sys; sys.path.insert(0, '/host/checkout/tools'); import install; "
    said = shell(f'python3 -c "{put} install.put_prompts()"')
    assert f"left alone: {prompts} is a link" in said
    assert shell("ls /etc/led") == ""
    shell(f"rm {prompts}; mv {prompts}.kept {prompts}; runuser -u indexttsd -- ln -s /etc/victim {prompts}/new.wav")
    shell("echo recording > /root/new.wav")
    copy = f"import os; install.copy_new(pathlib.Path('/root/new.wav'), os.open('{prompts}', 0))"
    shell(f'python3 -c "{put}{copy}"')
    assert shell(f"rm {prompts}/new.wav; cat /etc/victim") == "precious\n"


def test_an_upgrade_keeps_the_data_and_a_wrong_configuration_stops_it_before_it_begins_to_count(service, tell):
    shell = service.machine.shell
    task = service.post("Spoken by the version before.")
    service.ended(task)
    shell("indexttsd token new alice >/dev/null 2>&1; sed -i '1i # mine' " + CONFIG)
    kept = shell(f"cat {CONFIG} /etc/indexttsd/tokens; rm {DATA}/prompts/male_zh.wav")
    running = shell(f"tr '\\0' '\\n' < /proc/{service.pid}/cmdline | head -1").strip()
    assert "left as it was" in service.make("install", "START=0")
    code = "/host/checkout/daemon/__init__.py"
    before = re.search(r'__version__ = "(.*)"', shell(f"cat {code}"))[1]
    shell(f"sed -i 's/{before}/99.0/' {code}; sed -i 's/queue: 10000 /queue: 10001 /' /host/checkout/config.yaml")
    shell("mkdir /opt/indexttsd/venv-0-broken-off")
    installed, shipped = "/usr/local/lib/systemd/system/indexttsd.service", "/host/checkout/systemd/indexttsd.service"
    shell(f"sed -i 's/^RestartSec=.*/RestartSec=0.7/' {shipped}")
    unit = shell(f"cat {installed}")
    shell(f"cp {CONFIG} /root/right; echo 'wrong: 1' >> {CONFIG}")
    said = service.make("install", check=False)
    assert "unknown key 'wrong'" in said
    assert "nothing was switched" in said
    assert shell(f"cat {installed}") == unit
    assert len(shell("ls -d /opt/indexttsd/venv-*").split()) == 2  # what runs and what would start, 500 MB each
    assert shell(f"ls {running}") == f"{running}\n"
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
    assert "RestartSec=0.7" in shell(f"cat {installed}")
    shell("rm /etc/indexttsd/tokens")
    service.restart()
    assert service.view(task)["status"] == "completed"
    assert service.ask("GET", "/api/tts/stats")[1]["version"] == "99.0"
    tell(f"an upgrade took {took:.0f} s, with all packages at hand")


def test_what_is_uninstalled_leaves_the_data_and_says_how_to_remove_it(service):
    shell = service.machine.shell
    service.use("gpu.conf")
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
    bare = "env PATH=/nowhere /usr/bin/python3 /host/checkout/tools/install.py uninstall"
    assert "systemctl is not found" in shell(bare, check=False)
    told = re.findall(r"^  (.+)$", said, re.MULTILINE)  # alice's membership keeps the group from going with the user
    shell("set -e\n" + "\n".join(told))
    left = "getent passwd indexttsd; getent group indexttsd; ls /etc/systemd/system | grep indexttsd"
    assert shell(left, check=False) == ""
