"""Looks at what an engine needs and at the prompts, for `indexttsd check`, in a short-lived process of its own.

Started as `python -m daemon.engines.checkup`, with a request (JSON) on standard input; a finding a line comes out. The
daemon's own processes import neither torch nor numpy, which this one may.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from daemon.engines import SPECS
from daemon.engines.base import EngineSettings, EngineSpec, Finding
from daemon.engines.clips import inspect


def main() -> None:
    """Answer the one request."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no finding
    request = json.load(sys.stdin)
    for finding in _findings(SPECS[request["name"]], request):
        print(json.dumps(dataclasses.asdict(finding)), file=answers, flush=True)


def _findings(spec: EngineSpec, request: Mapping[str, Any]) -> Iterator[Finding]:
    if spec.survey:
        yield from spec.survey(EngineSettings(None, request["device"], {}, Path(request["cache_dir"])))
    if spec.clip_rules is None:
        return
    for prompt in map(Path, request["prompts"]):
        verdict = inspect(prompt, spec.clip_rules)
        fault = verdict.fault or verdict.unread
        if fault or verdict.advice:
            how = f"cannot be used: {fault}" if fault else "can be used"
            yield Finding(f"prompt {prompt.name}", not fault, how, verdict.advice)


if __name__ == "__main__":
    main()
