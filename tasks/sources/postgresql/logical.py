"""The logical copy: one database as pg_dump writes it, and what it must hold, from the same snapshot.

::

    copy/dump/            pg_dump's directory format, not compressed: the archive does that
    copy/roles.sql        the cluster's roles, without passwords
    copy/datasave.json    rows of each table and names of all objects (postgresql_record.py)

pg_dump leaves out in silence what its account is not told of. So all is counted here, by another way and in
the very snapshot that is dumped, and compared with what a restore brings back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import CopyError
from tasks.platform.processes import run
from tasks.records import Progress
from tasks.sources.postgresql.catalog import count_rows, object_names, rows_of, table_query
from tasks.sources.postgresql.connection import Server, told_as
from tasks.sources.postgresql.errors import as_error, trouble_in
from tasks.sources.postgresql.programs import Programs
from tasks.sources.postgresql.record import CopyRecord
from tasks.sources.shared.folders import Growth, all_or_nothing, close_to_others

LOCK_SECONDS = 60
JOBS = 2

# Said in the session that counts and holds the snapshot; none of it may end while the dump is made.
_SESSION = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
)


def take(server: Server, programs: Programs, copy: Path, expected: int, progress: Progress) -> None:
    """Dump the database into ``copy``; ``expected`` is its size in bytes, for the progress.

    Raises CopyError; then nothing is left in ``copy``.
    """
    what = f"cannot dump the database {server.database} of {server}"
    with all_or_nothing(copy, f"{what} into {copy}"):
        with told_as(what, copying=True), _snapshot(server) as (connection, snapshot):
            files = _files_of(connection)
            _dump(server, programs, copy, snapshot, Growth(copy, expected, progress))
            record = _record(connection, sorted(files))
            _refuse_changed(what, files, _files_of(connection))
        record.write(copy)


@contextmanager
def _snapshot(server: Server) -> Iterator[tuple[Any, str]]:
    """A connection in a transaction that reads one state only, and that state's name for others."""
    with server.connected(autocommit=True) as connection:
        waiting = f"SET lock_timeout = '{LOCK_SECONDS}s'"
        for statement in (*_SESSION, waiting, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            connection.cursor().execute(statement)
        yield connection, str(rows_of(connection, "SELECT pg_export_snapshot()")[0][0])


def _files_of(connection: Any) -> dict[str, int]:
    """Each table and the number of its file as of now, whatever the snapshot says."""
    sql = f"SELECT name, pg_relation_filenode(oid) FROM ({table_query('r')}) AS t"  # noqa: S608
    return {str(name): int(number or 0) for name, number in rows_of(connection, sql)}


def _refuse_changed(what: str, before: dict[str, int], after: dict[str, int]) -> None:
    """Raise CopyError where a table got another file: TRUNCATE heeds no snapshot, so its count may be wrong.

    Holding every table locked from before the dump until all is counted would prevent it, but then a program
    that waits for such a table would hold up pg_dump, and pg_dump that program.
    """
    changed = sorted(name for name, number in before.items() if after.get(name) != number)
    if changed:
        raise CopyError(
            f"{what}: {', '.join(changed[:5])} was emptied or rebuilt meanwhile",
            hint="Run the backup again when no maintenance (TRUNCATE, VACUUM FULL) is under way.",
        )


def _dump(server: Server, programs: Programs, copy: Path, snapshot: str, follow: Growth) -> None:
    roles: list[str | Path] = [
        programs.path("pg_dumpall"),
        *("--roles-only", "--no-role-passwords", "-l", server.database, "-w", "-f", copy / "roles.sql"),
    ]
    dump: list[str | Path] = [
        programs.path("pg_dump"),
        *("-F", "d", "-j", str(JOBS), "-Z", "0", f"--snapshot={snapshot}", "-w", "-f", copy / "dump"),
        # A restored subscription would connect to its publisher. Dumping one needs a superuser besides.
        *("--no-subscriptions", f"--lock-wait-timeout={LOCK_SECONDS}s", "-d", server.database),
    ]
    for command in (roles, dump):
        ended = run(command, environment=server.environment, watch=follow)
        if ended.code != 0:
            trouble = trouble_in(ended.err, f"{Path(command[0]).stem} ended with status {ended.code}")
            raise as_error(f"cannot dump the database {server.database} of {server}", trouble, copying=True)
    close_to_others(copy)


def _record(connection: Any, tables: list[str]) -> CopyRecord:
    version, database, encoding, collate, ctype = rows_of(
        connection,
        """SELECT current_setting('server_version'), datname, pg_encoding_to_char(encoding), datcollate,
            datctype FROM pg_database WHERE datname = current_database()""",
    )[0]
    roles = rows_of(connection, "SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname")
    return CopyRecord(
        method="logical",
        version=version.split()[0],
        database=database,
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        rows={name: count_rows(connection, name) for name in tables},
        objects=object_names(connection),
        roles=tuple(str(row[0]) for row in roles),
    )
