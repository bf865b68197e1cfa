"""schemathesis asks a living daemon whatever its own document allows and forbids, and believes the document.

INDEXTTSD_SCHEMATHESIS multiplies how many requests it makes up per operation, and INDEXTTSD_SCHEMATHESIS_SEED draws
others; without them every run makes the same ones.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import tokens
from tests.live import LiveDaemon

pytestmark = pytest.mark.reliability

ROOT = Path(__file__).parents[2]
TIMES = int(os.environ.get("INDEXTTSD_SCHEMATHESIS", "1"))
SEED = os.environ.get("INDEXTTSD_SCHEMATHESIS_SEED", "1")
#: A cancelled task is still there to be looked at: the contract wants it so.
NOT_OURS = "use_after_free"


class Run:
    """One run of schemathesis's own command; `answers` are the (method, path, status) of all it got, with counts."""

    def __init__(self, live: LiveDaemon, phases: str, examples: int, *options: str) -> None:
        har = live.folder / "answers.har"
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{live.port}/openapi.json"]
        command += ["--checks", "all", "--exclude-checks", NOT_OURS, "--phases", phases, "--seed", SEED, "--no-color"]
        command += ["--max-examples", str(examples * TIMES), "--continue-on-failure", "--generation-database", "none"]
        command += ["--report-har-path", str(har), *options]
        ran = subprocess.run(
            command,
            cwd=live.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.attacks.schemathesis_hooks"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=280 * TIMES,
        )
        self.status, self.output = ran.returncode, ran.stdout
        entries = json.loads(har.read_text(encoding="utf-8"))["log"]["entries"]
        self.answers = collections.Counter(entry["response"]["status"] for entry in entries)

    def told(self) -> str:
        counts = ", ".join(f"{count} x {status}" for status, count in sorted(self.answers.items()))
        return f"{sum(self.answers.values())} requests, answered {counts}"


@pytest.mark.timeout(300 * TIMES)
def test_every_answer_is_one_that_the_document_promises(make_daemon, tell):
    live = make_daemon().start()
    run = Run(live, "examples,coverage,fuzzing,stateful", 10)
    assert run.status == 0, run.output[-20_000:]
    assert not [status for status in run.answers if status >= 500], run.told()
    assert {200, 400, 404, 405, 409} <= run.answers.keys(), run.told()  # it got far enough in
    assert "internal error" not in live.log.read_text(encoding="utf-8", errors="replace")
    tell(run.told())


@pytest.mark.timeout(300 * TIMES)
def test_with_tokens_nothing_but_health_is_answered_without_one(make_daemon, tell):
    live = make_daemon(server={"tokens_file": "tokens"})
    _, secret = tokens.create(live.folder / "tokens", "schemathesis")
    live.start(ready=False)
    run = Run(live, "coverage,fuzzing", 5, "--header", f"Authorization: Bearer {secret}")
    assert run.status == 0, run.output[-20_000:]
    assert {200, 401} <= run.answers.keys(), run.told()
    tell(run.told())
