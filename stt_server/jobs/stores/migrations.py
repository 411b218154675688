"""What the tables look like, version by version, and how any database found becomes today's."""

import logging
import sqlite3
from pathlib import Path

import aiosqlite

from stt_server.errors import StoreBroken
from stt_server.jobs.stores import legacy

log = logging.getLogger(__name__)

APPLICATION_ID = 0x53545431
"""Written into the file's header: this database is ours."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (  # 1
        """
        CREATE TABLE jobs (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            tenant TEXT NOT NULL,
            user_uuid TEXT NOT NULL,
            message_id TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('queued', 'processing', 'completed', 'failed')),
            options TEXT NOT NULL, -- JSON
            response_format TEXT NOT NULL,
            container TEXT NOT NULL,
            attempt INTEGER NOT NULL DEFAULT 0,
            created_ms INTEGER NOT NULL, -- since 1970, UTC, like all times here
            started_ms INTEGER,
            completed_ms INTEGER,
            kept_ms INTEGER, -- when the transcript was stored or last read; NULL without one
            duration REAL, -- of the audio, in seconds
            error_code TEXT,
            error_message TEXT
        ) STRICT
        """,
        "CREATE INDEX jobs_by_key ON jobs (tenant, user_uuid, message_id)",
        "CREATE INDEX jobs_by_status ON jobs (status, seq)",
        "CREATE INDEX jobs_by_kept ON jobs (kept_ms) WHERE kept_ms IS NOT NULL",
        # Apart from the jobs: a long recording's transcript has megabytes, and noting a read must not copy them.
        """
        CREATE TABLE transcripts (
            seq INTEGER PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
            body TEXT NOT NULL -- as speech.codec writes it
        ) STRICT
        """,
        """
        CREATE TABLE keys (
            tenant TEXT NOT NULL,
            user_uuid TEXT NOT NULL,
            message_id TEXT NOT NULL,
            current INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
            pending INTEGER REFERENCES jobs ON DELETE SET NULL, -- a forced job that is not completed
            PRIMARY KEY (tenant, user_uuid, message_id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE UNIQUE INDEX keys_by_current ON keys (current)",
        "CREATE UNIQUE INDEX keys_by_pending ON keys (pending)",
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    ),
)

_FOREIGN_TABLES = """
    SELECT name FROM sqlite_schema
    WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_litestream*'
"""


async def recognise(connection: aiosqlite.Connection, path: Path) -> None:
    """Raise `StoreBroken` unless this is a new file, a database of ours, or one to take over. Only reads."""
    application, version = await _number(connection, "application_id"), await _number(connection, "user_version")
    if application == APPLICATION_ID and version > len(MIGRATIONS):
        raise StoreBroken(
            f"The database {path} was written by a newer server: its schema is {version}, and"
            f" {len(MIGRATIONS)} is the latest known here."
        )
    if application == APPLICATION_ID:
        return
    tables = await connection.execute_fetchall(_FOREIGN_TABLES)
    if application or version or (list(tables) and not await legacy.present(connection)):
        raise StoreBroken(f"The database {path} belongs to another program.")


async def migrate(connection: aiosqlite.Connection, path: Path) -> None:
    """Bring the tables up to date and take over those of the server before, all or nothing."""
    version = await _number(connection, "user_version")
    # The table may also come back later: somebody went back to the old server for a while.
    old = await legacy.present(connection)
    if version == len(MIGRATIONS) and not old:
        return
    await connection.execute_fetchall("BEGIN IMMEDIATE")
    try:
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            for statement in statements:
                await connection.execute_fetchall(statement)
            await connection.execute_fetchall(f"PRAGMA user_version = {number}")
        await connection.execute_fetchall(f"PRAGMA application_id = {APPLICATION_ID}")
        if old:
            await legacy.take_over(connection)
            await connection.execute_fetchall("INSERT OR REPLACE INTO meta VALUES ('vacuum', 1)")
        await connection.execute_fetchall("COMMIT")
    except BaseException:
        await connection.rollback()
        raise
    log.info("database migrated", extra={"path": str(path), "schema": len(MIGRATIONS)})


async def vacuum(connection: aiosqlite.Connection) -> None:
    """Write the file anew after a take-over: the old server did not zero the texts it deleted.

    Tried at every start until it has worked once: it needs as much free space as the file has.
    """
    if not list(await connection.execute_fetchall("SELECT 1 FROM meta WHERE name = 'vacuum'")):
        return
    try:
        await connection.execute_fetchall("VACUUM")
        await connection.execute_fetchall("DELETE FROM meta WHERE name = 'vacuum'")
    except sqlite3.Error as error:
        log.warning("database not vacuumed; the next start tries again", extra={"why": str(error)})


async def _number(connection: aiosqlite.Connection, pragma: str) -> int:
    [(value,)] = await connection.execute_fetchall(f"PRAGMA {pragma}")
    return int(value)
