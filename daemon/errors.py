"""Every error of the project, as a tree by who must act. A message is one sentence a person can act on."""

from __future__ import annotations


class IndexttsdError(Exception):
    """Base of all errors that the project raises on purpose."""


class ConfigError(IndexttsdError):
    """The operator must mend the configuration or the machine before the daemon can start."""


class InUse(ConfigError):
    """Another indexttsd owns this folder."""


class LedgerDamaged(ConfigError):
    """The ledger's file is damaged, was emptied or was taken away; a person must put a backup in its place."""


class MachineTrouble(IndexttsdError):
    """The machine cannot do for now what is needed, and nobody's task is at fault: wait, and try again."""


class LedgerUnavailable(MachineTrouble):
    """The ledger takes no change for now: its disk is full, or somebody else holds it."""


class StorageUnavailable(MachineTrouble):
    """A folder cannot be used for now: its disk is full, read-only or gone."""


class LedgerBroken(IndexttsdError):
    """The ledger's disk failed: what is in memory may differ from what is on it, so only a new start can go on."""


class RequestRefused(IndexttsdError):
    """The client asked for something that cannot be had; the message says what to change."""


class BadRequest(RequestRefused):
    """The request itself is wrong.

    Args:
        detail: the sentence for the client.
        index: position in a dropped array, from 0, when the request was one of several.
        line, column: where the JSON broke, from 1, when it did not parse.
    """

    def __init__(
        self,
        detail: str,
        *,
        index: int | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.index = index
        self.line = line
        self.column = column


class Forbidden(RequestRefused):
    """A browser page of another site, or a name that is not ours, asked."""


class Unauthorized(RequestRefused):
    """A token is needed, and none that we know came with the request."""


class NotFound(RequestRefused):
    """There is no such thing."""


class Conflict(RequestRefused):
    """The task is in a state in which this cannot be done."""


class TooLarge(RequestRefused):
    """The body exceeds `server.max_body_bytes`."""


class QueueFull(RequestRefused):
    """As many tasks wait as `limits.queue` allows."""


class SpeechFailed(IndexttsdError):
    """This one speech cannot be made; its neighbours go on. The message becomes its `error`."""


class EngineRefused(SpeechFailed):
    """The engine cannot make it; what it says may quote the text."""


class DownloadFailed(IndexttsdError):
    """A file of the weights cannot be fetched; what came in so far is kept."""


class DaemonUnreachable(IndexttsdError):
    """No daemon answers where the configuration says it listens."""


class EngineError(IndexttsdError):
    """Base of what can go wrong with the engine and its process."""


class EngineUnavailable(EngineError):
    """The engine cannot be loaded here: a package, a file or a device is missing or wrong."""


class EngineDied(EngineError):
    """The engine's process ended or stopped answering while it was at work; it was replaced."""
