"""`make demo`: a daemon on a scratch folder speaks a dropped file and a posted task, then stops."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 300

DROPPED = {
    "text": "你好！今天是2026年11月22日，下午3:05，气温零下5℃。这段话是从收件箱里来的，湿度45%。",
    "prompt_path": "female_zh.wav",
}
POSTED = {
    "text": "Hello! Dr. Smith paid $12.50 for 3 kg of apples at 9:45 a.m. This one came in over HTTP.",
    "output_path": "posted",
    "prompt_path": "female_en.wav",
}


def main() -> int:
    """Run the demo; the exit code."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="indexttsd-demo-"))
    port = _free_port()
    (folder / "config.yaml").write_text(
        f"server: {{port: {port}}}\npaths: {{prompts: {json.dumps(str(ROOT / 'prompts'))}}}\n"
    )
    print(f"starting a daemon on {folder} ...", flush=True)
    log = (folder / "daemon.log").open("wb")
    daemon = subprocess.Popen(
        [sys.executable, "-m", "daemon", "serve", "--config", str(folder / "config.yaml")],
        cwd=ROOT, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        _speak(daemon, folder, f"http://127.0.0.1:{port}")
    except (OSError, RuntimeError) as error:
        print(f"the demo failed: {error}; the daemon's log: {folder / 'daemon.log'}", file=sys.stderr)
        return 1
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
    shutil.rmtree(folder / "state")
    print(f"done in {time.monotonic() - began:.0f} s")
    return 0


def _speak(daemon: subprocess.Popen[bytes], folder: Path, url: str) -> None:
    _until(lambda: _answers(daemon, f"{url}/ready"))
    print("the engine is loaded; dropping inbox/hello.json and posting a task ...", flush=True)
    (folder / "hello.json.part").write_text(json.dumps(DROPPED, ensure_ascii=False), encoding="utf-8")
    (folder / "hello.json.part").rename(folder / "inbox" / "hello.json")
    request = urllib.request.Request(f"{url}/api/tts/tasks", json.dumps(POSTED).encode())
    posted = _json(request)["task_id"]
    _show("POST /api/tts/tasks", POSTED["text"], _until(lambda: _ended(_json(f"{url}/api/tts/tasks/{posted}"))))
    _show("inbox/hello.json", DROPPED["text"], _until(lambda: _archived(folder / "inbox")))


def _ended(view: dict[str, Any]) -> dict[str, Any] | None:
    return view if view["status"] in ("completed", "failed") else None


def _archived(inbox: Path) -> dict[str, Any] | None:
    note = inbox / "done" / "hello.json.result.json"
    if (inbox / "failed" / "hello.json").exists():
        raise RuntimeError((inbox / "failed" / "hello.json.error.json").read_text())
    return json.loads(note.read_text())[0] if note.exists() else None


def _show(door: str, text: str, view: dict[str, Any]) -> None:
    if view["status"] != "completed":
        raise RuntimeError(view["error"])
    print(f"\n{door}\n  said   {text}\n  voice  {view['prompt']}\n  file   {view['output_file']}")
    print(f"  {view['audio_seconds']:.1f} s of speech, spoken in {view['process_time']:.1f} s", flush=True)


def _answers(daemon: subprocess.Popen[bytes], url: str) -> bool:
    if daemon.poll() is not None:
        raise RuntimeError(f"the daemon ended with status {daemon.returncode}")
    try:
        return bool(_json(url))
    except OSError:
        return False


def _json(request: str | urllib.request.Request) -> Any:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)


def _until(look: Any) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise RuntimeError(f"nothing came within {PATIENCE_SECONDS} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
