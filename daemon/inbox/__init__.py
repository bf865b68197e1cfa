"""The drop folder's door: files placed into it become tasks, and end in done/ or failed/ with a note beside them."""

from daemon.inbox.looks import read_dropped
from daemon.inbox.scan import Inbox

__all__ = ["Inbox", "read_dropped"]
