"""Ask OSV for known vulnerabilities of all that the locks pin: python tools/audit.py [--osv-url URL] [LOCK ...]

Exit status 1: one was found that requirements/advisories.toml does not accept, or that file is wrong. Where nobody can
be asked it says NOT AUDITED and ends well, for a machine without a network has to be able to check the rest;
AUDIT=strict in the environment makes that an error, too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from install_torch import TORCH

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
_PIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==[^\s;\\]+", re.MULTILINE)
_KEYS = {"id": str, "package": str, "decided": datetime.date, "reason": str}


@dataclass(frozen=True)
class Finding:
    """A known vulnerability of what is pinned."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        fixed = f"mended in {', '.join(self.fixed)}" if self.fixed else "not mended yet"
        return f"{self.package} {self.version}: {', '.join(self.ids)}; {fixed}"


def main(arguments: Sequence[str]) -> int:
    """Audit; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("locks", nargs="*", type=Path, default=sorted(REQUIREMENTS.glob("*.lock")))
    parser.add_argument("--osv-url", default="https://api.osv.dev/v1/query")
    parser.add_argument("--accepted", type=Path, default=REQUIREMENTS / "advisories.toml")
    given = parser.parse_args(arguments)
    try:
        accepted = read_accepted(given.accepted)
    except ValueError as error:
        print(f"{given.accepted}: {error}", file=sys.stderr)
        return 1
    report, trouble = ask(given.locks, given.osv_url)
    names = ", ".join(lock.name for lock in given.locks)
    if report is None:
        return not_audited(f"{names}: {trouble}")
    return judge(report["dependencies"], accepted, names)


def read_accepted(file: Path) -> dict[tuple[str, str], str]:
    """(package, id) -> reason; a ValueError says what is wrong with the file."""
    accepted = {}
    for number, entry in enumerate(tomllib.loads(file.read_text(encoding="utf-8")).get("accepted", []), 1):
        if entry.keys() != _KEYS.keys() or not all(isinstance(entry[key], kind) for key, kind in _KEYS.items()):
            raise ValueError(f"entry {number} must have an id, a package, the day it was decided (a date) and a reason")
        accepted[entry["package"], entry["id"]] = entry["reason"]
    return accepted


def ask(locks: Sequence[Path], url: str) -> tuple[Any, str]:
    """pip-audit's report, or None and why there is none."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner", "off"]
    command += ["--format", "json", "--vulnerability-service", "osv", "--osv-url", url]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as asked:
        asked.write("\n".join(pins(locks)))
        asked.flush()
        command += ["--requirement", asked.name]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(ran.stdout), ""
    except ValueError:
        return None, (ran.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]


def pins(locks: Sequence[Path]) -> list[str]:
    """`name==version` of all. PyTorch is in no lock, for its build differs by machine; so pip-audit wants no hashes."""
    found = {pin for lock in locks for pin in _PIN.findall(lock.read_text(encoding="utf-8"))}
    return sorted({*found, f"torch=={TORCH}"})


def judge(dependencies: Sequence[dict[str, Any]], accepted: dict[tuple[str, str], str], names: str) -> int:
    """Print what was found; the exit status."""
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    if len(skipped) == len(dependencies):
        return not_audited(f"{names}: nothing is known of any of {len(skipped)} packages")
    used: set[tuple[str, str]] = set()
    bad = []
    for finding in findings(dependencies):
        known = {(finding.package, each) for each in finding.ids} & accepted.keys()
        used |= known
        if not known:
            bad.append(finding)
        for key in known:
            print(f"accepted: {finding}: {accepted[key]}")
    for package, advisory in sorted(accepted.keys() - used):
        print(f"no longer needed in advisories.toml: {advisory} of {package}")
    print(f"audited {names}: {len(dependencies) - len(skipped)} packages, {len(bad)} with what nobody accepted")
    for finding in bad:
        print(f"VULNERABLE: {finding}", file=sys.stderr)
    partly = not_audited(f"a part: {', '.join(skipped)}") if skipped else 0
    return 1 if bad else partly


def findings(dependencies: Sequence[dict[str, Any]]) -> list[Finding]:
    """All that pip-audit's report tells of."""
    return [
        Finding(one["name"], one["version"], (found["id"], *sorted(found["aliases"])), tuple(found["fix_versions"]))
        for one in dependencies
        for found in one.get("vulns", ())
    ]


def not_audited(why: str) -> int:
    """Say it where it is seen; the exit status."""
    print(f"NOT AUDITED: {why}", file=sys.stderr)
    return int(os.environ.get("AUDIT") == "strict")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
