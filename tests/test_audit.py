"""`tools/audit.py` as a process, with a service of advisories of our own on loopback."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.live import free_port

ROOT = Path(__file__).parents[1]
HOLE = {
    "schema_version": "1.7.0",
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1", "GHSA-aaaa-bbbb-cccc"],
    "summary": "a hole",
    "affected": [
        {
            "package": {"name": "leaky", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.3"}]}],
        }
    ],
}
LOCK = "sound==2.0 --hash=sha256:" + "0" * 64 + "\nleaky==1.2 --hash=sha256:" + "1" * 64 + "\n"


class Osv(http.server.BaseHTTPRequestHandler):
    """Knows of one hole, in leaky 1.2; remembers who was asked for."""

    asked: list[tuple[str, str]]

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        pin = (query["package"]["name"], query["version"])
        self.asked.append(pin)
        body = json.dumps({"vulns": [HOLE]} if pin == ("leaky", "1.2") else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def osv():
    handler = type("Osv", (Osv,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def audit(tmp_path):
    def run(port, *, lock=LOCK, accepted="", strict=False):
        (tmp_path / "some.lock").write_text(lock, encoding="utf-8")
        (tmp_path / "accepted.toml").write_text(accepted, encoding="utf-8")
        command = [sys.executable, str(ROOT / "tools" / "audit.py"), str(tmp_path / "some.lock")]
        command += ["--osv-url", f"http://127.0.0.1:{port}/v1/query", "--accepted", str(tmp_path / "accepted.toml")]
        environment = {key: value for key, value in os.environ.items() if key != "AUDIT"} | {
            "XDG_CACHE_HOME": str(tmp_path)
        }
        environment |= {"AUDIT": "strict"} if strict else {}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    return run


def acceptance(package="leaky", advisory="CVE-2026-1", decided="2026-11-23"):
    return f'[[accepted]]\nid = "{advisory}"\npackage = "{package}"\ndecided = {decided}\nreason = "not reached"\n'


def test_a_vulnerable_pin_fails_the_check_and_is_named(audit, osv):
    ran = audit(osv.server_port)
    assert ran.returncode == 1
    assert "VULNERABLE: leaky 1.2: PYSEC-2026-1, CVE-2026-1, GHSA-aaaa-bbbb-cccc; mended in 1.3" in ran.stderr
    asked = dict(osv.RequestHandlerClass.asked)
    assert asked.keys() == {"sound", "leaky", "torch"}  # PyTorch is pinned, though it is in no lock


def test_what_has_no_hole_passes(audit, osv):
    ran = audit(osv.server_port, lock=LOCK.partition("\n")[0] + "\n", strict=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "audited some.lock: 2 packages, 0 with" in ran.stdout


def test_an_accepted_hole_passes_and_its_reason_is_told(audit, osv):
    ran = audit(osv.server_port, accepted=acceptance(), strict=True)
    assert ran.returncode == 0
    assert "accepted: leaky 1.2: PYSEC-2026-1" in ran.stdout
    assert ran.stdout.splitlines()[0].endswith(": not reached")


def test_a_hole_is_accepted_for_the_package_it_was_judged_in(audit, osv):
    ran = audit(osv.server_port, accepted=acceptance(package="sound"))
    assert ran.returncode == 1
    assert "no longer needed in advisories.toml: CVE-2026-1 of sound" in ran.stdout


@pytest.mark.parametrize("wrong", [acceptance().replace("reason", "because"), acceptance(decided='"lately"')])
def test_an_acceptance_without_reason_or_day_is_refused(audit, osv, wrong):
    ran = audit(osv.server_port, accepted=wrong)
    assert ran.returncode == 1
    assert "entry 1 must have an id, a package, the day it was decided (a date) and a reason" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_a_service_it_says_so_loudly_and_fails_only_if_asked_to(audit):
    nobody = free_port()
    ran = audit(nobody)
    assert ran.returncode == 0
    assert ran.stderr.startswith("NOT AUDITED: some.lock: ")
    assert "audited some.lock" not in ran.stdout
    assert audit(nobody, strict=True).returncode == 1


def test_what_was_left_out_is_told(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import audit

    report = [{"name": "known", "version": "1", "vulns": []}, {"name": "unknown", "skip_reason": "not found"}]
    monkeypatch.delenv("AUDIT", raising=False)
    assert audit.judge(report, {}, "some.lock") == 0
    assert "NOT AUDITED: a part: unknown" in capsys.readouterr().err
    monkeypatch.setenv("AUDIT", "strict")
    assert audit.judge(report, {}, "some.lock") == 1
    assert audit.judge(report[1:], {}, "some.lock") == 1
    assert "nothing is known of any of 1 packages" in capsys.readouterr().err


def test_every_pin_of_our_own_locks_is_asked_for(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import audit

    locks = sorted((ROOT / "requirements").glob("*.lock"))
    asked = audit.pins(locks)
    assert len(locks) == 4
    assert {pin.partition("==")[0] for pin in asked} >= {"bottle", "setuptools", "transformers", "pytest", "torch"}
    lines = {line.split()[0] for lock in locks for line in lock.read_text().splitlines() if line[:1].isalnum()}
    assert lines == {*asked} - {f"torch=={audit.TORCH}"}


def test_our_own_acceptances_can_be_read(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import audit

    assert all(audit.read_accepted(ROOT / "requirements" / "advisories.toml").values())
