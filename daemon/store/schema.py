"""The ledger's tables. A change here needs a new revision in `migrations/versions`; a test compares the two.

Life of a task and of each of its speeches (`daemon.tasks.TRANSITIONS`):

    pending --claim--> processing --finish--> completed
       ^  \\                 |  \\----fail----> failed ----.
       |   \\----cancel------|-----cancel----> cancelled --+
       |                    |                              |
       '--- stop, crash ----'       retry <----------------'
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from daemon.tasks import State

#: The newest revision in `migrations/versions`.
REVISION = "0004"
#: What a ledger's header says of whose it is: "itts". SQLite keeps it for file(1) and for this.
APPLICATION_ID = int.from_bytes(b"itts", "big")

metadata = MetaData()

_KNOWN_STATE = f"state IN ({', '.join(repr(str(state)) for state in State)})"

#: Which speeches may join others in the engine's calls. Queries must use these very words, so that SQLite sees that
#: the partial index fits.
JOINABLE = text("state = 'pending' AND batched = 1 AND in_company = 0 AND attempts = 0")

#: One row per accepted request. Ids are never used again (AUTOINCREMENT); the public `n` is id - 1, counting from 0.
tasks = Table(
    "tasks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("batch", Boolean, nullable=False),
    Column("state", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("infer_mode", String, nullable=False),
    Column("prompt", String, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("format", String, nullable=False),
    Column("options", JSON, nullable=False),
    Column("overwrite", Boolean, nullable=False),
    Column("output_path", String, nullable=False),
    Column("directory", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("error", Text),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("0")),
    Column("idempotency_key", String, unique=True),
    Column("body_hash", String),
    CheckConstraint(_KNOWN_STATE, name="task_state"),
    Index("tasks_by_state", "state", "id"),
    Index("tasks_waiting", text("priority DESC"), "id", sqlite_where=text("state = 'pending'")),
    Index("tasks_by_directory", "directory", sqlite_where=text("finished_at IS NULL")),
    sqlite_autoincrement=True,
)

#: One row per file to make. Hot: updated at every segment, so the text lies elsewhere. `token` grows with each claim.
#: `digest` is the SHA-256 of the file about to be published: what has this content under its name is ours.
#: `batched`: it may share the engine's calls (`批次推理`). `in_company`: it is in such a call, or was in one that never
#: came back, and so is spoken alone until it has survived a call.
speeches = Table(
    "speeches",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task", ForeignKey("tasks.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("file_name", String, nullable=False),
    Column("state", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("token", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("segments_done", Integer, nullable=False, server_default=text("0")),
    Column("segments_total", Integer),
    Column("audio_seconds", Float, nullable=False, server_default=text("0")),
    Column("process_time", Float, nullable=False, server_default=text("0")),
    Column("digest", String),
    Column("error", Text),
    Column("batched", Boolean, nullable=False, server_default=text("0")),
    Column("in_company", Boolean, nullable=False, server_default=text("0")),
    CheckConstraint(_KNOWN_STATE, name="speech_state"),
    Index("speeches_of_task", "task", "position", unique=True),
    Index("speeches_waiting", text("priority DESC"), "task", "position", sqlite_where=text("state = 'pending'")),
    Index("speeches_joinable", "priority", "task", "position", sqlite_where=JOINABLE),
    Index("speeches_in_work", "id", sqlite_where=text("state = 'processing'")),
)

texts = Table(
    "texts",
    metadata,
    Column("speech", ForeignKey("speeches.id"), primary_key=True),
    Column("text", Text, nullable=False),
)

#: One row per dropped file that was taken. `kept_as`: where it goes, `done/NAME` or `failed/NAME`.
drops = Table(
    "drops",
    metadata,
    Column("uid", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("kept_as", String),
    Column("archived", Boolean, nullable=False, server_default=text("0")),
    Index("drops_open", "created_at", sqlite_where=text("archived = 0")),
)

#: Which tasks a dropped file stands for, in its order; a replayed idempotency key may name a task of another door.
drop_tasks = Table(
    "drop_tasks",
    metadata,
    Column("uid", ForeignKey("drops.uid"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("task", ForeignKey("tasks.id"), nullable=False),
    Index("drop_tasks_of_task", "task"),
)
