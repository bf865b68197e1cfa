"""The composition root: builds every room from the Config, starts them in order and stops them in order."""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import logging
import os
import queue
import signal
import socket
import threading
import time
import types
from collections.abc import Callable

from daemon import address, changes, logs
from daemon import config as configuration
from daemon.api import Api, Bounds, Guard, Server, handed_over, shown
from daemon.bell import Bell
from daemon.config import Config
from daemon.engines.base import EngineSpec
from daemon.errors import ConfigError, IndexttsdError, MachineTrouble
from daemon.host import HostState
from daemon.inbox import Inbox
from daemon.intake import Intake
from daemon.life import Life
from daemon.notify import notify, one_line, watchdog_seconds
from daemon.outputs import Outputs
from daemon.premises import engine_host, engine_spec, ledger_file, make_folders, own_state
from daemon.prompts import Prompts
from daemon.retention import Retention, SteadyClock
from daemon.space import Space
from daemon.spool import Spool
from daemon.store import Store
from daemon.tokens import Token, Tokens
from daemon.troubles import Troubles
from daemon.worker import Rooms, Worker

log = logging.getLogger("indexttsd")

#: How long a stop waits for the segment in the engine before it ends the engine and gives the speech back. Seconds;
#: less than the unit's TimeoutStopSec, at which systemd would kill the daemon and leave the speech charged.
STOP_PATIENCE = 60.0
#: How long a daemon without a watchdog may fail to look after its rooms. Seconds; it does so four times as often.
_WATCH_SECONDS = 60.0
#: How often a start that the machine does not allow for now is tried again. Seconds.
_START_PATIENCE = 2.0


class _Call(enum.Enum):
    """What the supervising thread is called for."""

    END = "end"
    RELOAD = "reload"


#: A queue and not an event: a signal's handler may run while this very thread holds the event's lock.
_Calls = queue.SimpleQueue[_Call]


class App:
    """One daemon.

    Args:
        handed_over: systemd's socket, which stays open; None: listen where the configuration says.
        calls: what the process was called for before there was a daemon to hear it.

    Raises:
        ConfigError: from the constructor, for everything an operator must mend before it can start.
    """

    def __init__(self, config: Config, handed_over: socket.socket | None = None, calls: _Calls | None = None) -> None:
        self._config = config
        self._calls = calls or queue.SimpleQueue()
        self._asked_to_stop = False
        self._broken: Exception | None = None
        spec = engine_spec(config)
        with contextlib.ExitStack() as undo:
            self._tokens = address.tokens(config)
            listener, self._leave = address.listener(config, self._tokens, handed_over)
            undo.callback(listener.close)
            undo.callback(self._leave)
            make_folders(config)
            self._lock = own_state(config)
            undo.callback(os.close, self._lock)
            self._store = Store(ledger_file(config))
            undo.callback(self._store.close)
            self._build(spec, listener)
            undo.pop_all()

    def _build(self, spec: EngineSpec, listener: socket.socket) -> None:
        config, store, bell = self._config, self._store, Bell()
        self._life = Life()
        self._late: list[str] = []
        self._troubles = Troubles()
        self._space = Space(
            [config.paths.state, config.paths.inbox, *config.output.roots], config.retention.min_free_mb
        )
        outputs = Outputs(config.output.roots)
        self._prompts = prompts = Prompts(config.paths.prompts, config.prompts.default, store.accepted())
        _warn(prompts, self._tokens)
        self._intake = intake = Intake(store, prompts, outputs, spec, config.limits, self._space)
        spool = Spool(config.paths.state / "spool")
        sign = self._life.of("worker")
        self._host = engine_host(config, spec, config.log.level, sign)
        patience = config.worker.max_attempts
        rooms = Rooms(store, self._host, prompts, outputs, spool, bell, patience, self._space, self._troubles, sign)
        self._worker = Worker(rooms, unload_after=config.engine.unload_after)
        max_bytes = config.server.max_body_bytes
        sign = self._life.of("inbox")
        self._inbox = Inbox(config.paths.inbox, config.inbox, max_bytes, intake, store, bell, self._troubles, sign)
        self._retention = Retention(config.retention, store, config.paths.inbox, SteadyClock())
        api = Api(store, intake, prompts, outputs, bell, self._health, max_bytes, lambda: self._tokens.needed)
        self._guard = Guard(api.wsgi(), address.hosts(config), config.server.cors_origins, self._tokens)
        self._recover(outputs, spool)
        # Last: it has threads, and a start that must wait is tried again.
        self._server = Server(self._guard, listener, Bounds(body_bytes=max_bytes), self._life)
        self._address = shown(listener)

    def _recover(self, outputs: Outputs, spool: Spool) -> None:
        """Put right what a killed daemon left: claims without a worker, half-written files, shelves nobody needs."""
        for orphan in self._store.orphans():  # swept first: once recovered, they would not be found again
            outputs.sweep(orphan.directory, f"{orphan.task_id}-{orphan.speech}")
            said = {"action": "task_recovered", "task": orphan.task_id}
            log.info("%s goes on after a restart", orphan.task_id, extra=said)
        self._store.recover()
        spool.sweep(self._store.unfinished)

    def run(self) -> None:
        """Serve until a signal comes.

        Raises:
            Exception: what ended a room, and so the daemon.
        """
        faulthandler.enable()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            threads = self._start()
        except Exception:
            self._stop([])
            raise
        log.info("listening on %s", self._address, extra={"action": "listening"})
        notify("READY=1\nSTATUS=doors open")
        self._supervise()
        notify("STOPPING=1")
        log.info("stopping; what is being spoken goes on at the next start", extra={"action": "stopping"})
        self._stop(threads)
        if self._broken:
            raise self._broken

    def _supervise(self) -> None:
        """Feed the watchdog while all rooms live, and reload when asked to, until the daemon is to end."""
        pause = (watchdog_seconds() or _WATCH_SECONDS) / 4
        while True:
            calls = set()
            with contextlib.suppress(queue.Empty):
                calls.add(self._calls.get(timeout=pause))
                while True:  # a thousand calls for a reload are one
                    calls.add(self._calls.get_nowait())
            if _Call.END in calls:
                return
            if calls:
                self.reload()
            self._feed()

    def _feed(self) -> None:
        """Tell the watchdog that all is well; if it is not, systemd ends this process, and its stacks are printed.

        Where nobody watches, `/ready` and the log tell.
        """
        late = self._life.late()
        what = f"no sign of life comes from the {' and the '.join(late)}" if late else "doors open"
        if late:
            self._troubles.tell("watchdog", what)
        else:
            self._troubles.over("watchdog")
            notify("WATCHDOG=1")
        if late != self._late:
            notify(f"STATUS={what}")
        self._late = late

    def reload(self) -> None:
        """Read the tokens and the configuration anew, and heed what may change live; what is wrong changes nothing."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            tokens, config = self._tokens.read(), configuration.load(self._config.file)
            engine_spec(config)
        except ConfigError as error:
            log.error("not reloaded, all stays as it was: %s", error, extra={"action": "reload_failed"})
            notify(f"READY=1\nSTATUS=not reloaded: {one_line(str(error))}")
        else:
            self._adopt(config, tokens)

    def _adopt(self, config: Config, tokens: list[Token] | None) -> None:
        found = changes.between(self._config, config)
        self._config = changes.in_force(self._config, config)
        now = [*(["the tokens"] if self._tokens.adopt(tokens) else []), *found.live]
        self._intake.limits = config.limits
        self._retention.config = config.retention
        self._space.allow(config.retention.min_free_mb)
        self._prompts.default = config.prompts.default
        self._guard.allow(address.hosts(self._config), config.server.cors_origins)
        logs.set_up(config.log.level, texts=config.log.texts)
        self._host.log_as(config.log.level, texts=config.log.texts)
        log.info("reloaded: %s", ", ".join(now) or "nothing new", extra={"action": "reloaded"})
        restart = f"needs a restart: {', '.join(found.restart)}" if found.restart else ""
        if restart:
            log.warning("%s", restart, extra={"action": "needs_restart"})
        _warn(self._prompts, self._tokens)
        notify(f"READY=1\nSTATUS={restart or 'doors open'}")

    def _start(self) -> list[threading.Thread]:
        self._inbox.open()
        self._inbox.look()
        rooms = {"http": self._server.run, "inbox": self._inbox.run, "worker": self._worker.run}
        rooms["retention"] = self._retention.run  # last: the doors are open
        threads = [threading.Thread(target=self._watched, args=(name, run), name=name) for name, run in rooms.items()]
        for thread in threads:
            thread.daemon = True
            thread.start()
        return threads

    def _watched(self, name: str, run: Callable[[], None]) -> None:
        """A room that breaks takes the daemon down, to be started anew: half a daemon would be worse."""
        try:
            run()
        except Exception as error:
            foreseen = isinstance(error, IndexttsdError)
            log.critical(
                "the %s broke; the daemon ends: %s", name, error, exc_info=not foreseen, extra={"action": "room_broke"}
            )
            self._broken = self._broken or error
            self._calls.put(_Call.END)

    def _stop(self, threads: list[threading.Thread]) -> None:
        patience = threading.Timer(STOP_PATIENCE, self._host.cut_off)
        patience.daemon = True
        patience.start()
        self._worker.stop()
        self._host.abandon_load()
        self._inbox.stop()
        self._retention.stop()
        self._leave()
        self._server.close()
        for thread in threads:
            thread.join()
        patience.cancel()
        self._store.close()

    def _on_signal(self, _number: int, _frame: types.FrameType | None) -> None:
        if self._asked_to_stop:
            os.write(2, b"a second signal: the daemon ends at once\n")  # the log may be locked by this very thread
            os._exit(1)
        self._asked_to_stop = True
        self._calls.put(_Call.END)

    def _health(self) -> tuple[dict[str, str], str | None, int]:
        host = self._host
        reasons = [] if host.state in (HostState.READY, HostState.UNLOADED) else [host.reason]
        reasons += [reason for reason in (*self._troubles.sentences(), self._space.shortage()) if reason]
        reason = "; ".join(dict.fromkeys(reasons)) or None
        return {"name": host.name, "state": str(host.state)}, reason, self._inbox.waiting


def _warn(prompts: Prompts, tokens: Tokens) -> None:
    """Tell of what keeps no daemon from running, but clients from being served."""
    if fault := prompts.fault():
        log.warning("tasks that name no prompt will be refused: %s", fault)
    if tokens.needed and not len(tokens):
        log.warning("a token is needed, and there is none: nobody gets in; make one with `indexttsd token new`")


def serve(config: Config) -> int:
    """Run a daemon; the exit code.

    Raises:
        ConfigError: it cannot start, or a person must mend something before it can go on.
        LedgerBroken: it must start anew.
    """
    logs.set_up(config.log.level, texts=config.log.texts)
    calls: _Calls = queue.SimpleQueue()
    # At once, for what it does unless told otherwise is to end the process; a start may wait long for its disks.
    terminal = os.isatty(0)
    signal.signal(signal.SIGHUP, lambda *_: calls.put(_Call.END if terminal and not os.isatty(0) else _Call.RELOAD))
    try:
        _built(config, handed_over(), calls).run()
    except IndexttsdError:
        raise
    except Exception:
        log.critical("the daemon cannot run", exc_info=True, extra={"action": "broke"})
        return 1
    return 0


def _built(config: Config, handed: socket.socket | None, calls: _Calls) -> App:
    """The daemon, as soon as its disks have room for it: who ended instead would be started a few times and no more."""
    troubles = Troubles()
    while True:
        try:
            app = App(config, handed, calls)
        except MachineTrouble as error:
            troubles.tell("start", str(error))
            notify(f"STATUS=waiting: {one_line(str(error))}\nEXTEND_TIMEOUT_USEC={10 * _START_PATIENCE * 1e6:.0f}")
            time.sleep(_START_PATIENCE)
        else:
            troubles.over("start")
            if handed:
                handed.close()  # the daemon has its own descriptor by now
            return app
