"""What is copied from the running server: all its files, or one database as a dump, and its log in between.

::

    copy/data/               physical: the data folder, as it would be started
    copy/tablespaces/<OID>   other tablespaces; data/pg_tblspc/<OID> is a relative link to it
    copy/dump/               logical: pg_dump's directory format, not compressed: the archive does that
    copy/roles.sql           the cluster's roles, without passwords
    copy/datasave.json       what the copy is, and for a dump what it must hold (record.py)

A physical copy is made harmless at once, so that stock programs restore it safely: started as it is, it
archives nothing, follows no server and subscribes to nothing. All else is as the manifest of pg_basebackup
says.

pg_dump leaves out in silence what its account may not see. So all is counted here, by another way and in
the very snapshot that is dumped, and compared with what a restore brings back: names of objects, fingerprints
of rows, pg_dump's own text of every definition. What no dump holds is named.

The log is received by pg_receivewal into a folder that collects it; a replication slot makes the server keep
it until then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.errors import CopyError, SourceError
from tasks.platform.files import (
    PRIVATE_FILE,
    create_private,
    private_folder,
)
from tasks.records import Progress
from tasks.sources.postgresql.catalog import (
    METHOD_SETTING,
    as_at_source,
    object_names,
    sequence_values,
    table_query,
    user_tables,
)
from tasks.sources.postgresql.connection import PostgresqlLogin, reported_as, run_program
from tasks.sources.postgresql.definitions import OPTIONS, differing, entry_hashes
from tasks.sources.postgresql.programs import Programs
from tasks.sources.postgresql.record import CopyRecord
from tasks.sources.shared.folders import Growth, all_or_nothing, close_to_others
from tasks.sources.shared.odbc import contents, fetch

HARMLESS = """
# Added by Datasave, so that a restored server disturbs no other: it archives nothing, follows no other
# server and subscribes to nothing. Remove these lines when it has taken the lost server's place.
archive_mode = 'off'
primary_conninfo = ''
primary_slot_name = ''
restore_command = ''
archive_cleanup_command = ''
recovery_end_command = ''
max_logical_replication_workers = '0'
"""

# Debian keeps a server's configuration elsewhere; without these three files nothing starts over the folder.
STAND_INS = {
    "postgresql.conf": "# Made by Datasave: the server it comes from keeps its configuration elsewhere.\n"
    "listen_addresses = 'localhost'\n",
    "pg_hba.conf": "# Made by Datasave.\nlocal all all peer\n"
    "host all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n",
    "pg_ident.conf": "# Made by Datasave.\n",
}


LOCK_SECONDS = 60
JOBS = 2

# Said in the session that counts and holds the snapshot; none of it may end while the dump is made.
_SESSION = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
)

# Those that the database or a part of it lies in, but for the server's own.
_TABLESPACES = """
    SELECT spcname::text FROM pg_tablespace t WHERE spcname !~ '^pg_' AND (
        EXISTS (SELECT FROM pg_class c WHERE c.reltablespace = t.oid)
        OR EXISTS (SELECT FROM pg_database d WHERE d.datname = current_database() AND d.dattablespace = t.oid)
    ) ORDER BY spcname"""

_LEFT_OUT = """
    SELECT 'the password of the role ' || quote_ident(rolname) FROM pg_roles
    WHERE rolcanlogin AND rolname !~ '^pg_'
    UNION ALL SELECT format('the options of the user mapping of %I for the server %I', usename, srvname)
    FROM pg_user_mappings WHERE umoptions IS NULL AND NOT pg_has_role(10::oid, 'USAGE')
    UNION ALL SELECT 'the subscription ' || quote_ident(subname) FROM pg_subscription s
    JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()
    ORDER BY 1"""
"""What no dump holds, or none that this account makes, for people."""

SLOT = "datasave_log"
"""The replication slot by which the server keeps its log until it was backed up."""
LOG_FILE = re.compile(r"[0-9A-F]{24}(\.partial)?|[0-9A-F]{8}\.history")
"""Names of the files that pg_receivewal writes: whole segments, the one under way, timelines."""
_RECEIVE_SECONDS = 3600.0


def take_physical(
    login: PostgresqlLogin, programs: Programs, copy: Path, expected: int, progress: Progress
) -> None:
    """Copy the whole server into ``copy``; ``expected`` is its size in bytes, for the progress.

    Raises CopyError; then nothing is left in ``copy``.
    """
    operation = f"cannot copy the server {login}"
    with reported_as(operation, copying=True), login.connected() as connection:
        record = _physical_record(connection, login)
        places = _tablespaces(connection)
        slots = int(fetch(connection, "SHOW max_replication_slots")[0][0])
    with all_or_nothing(copy, f"{operation} into {copy}"):
        _base_backup(
            login, programs, copy, places, with_slot=slots > 0, follow=Growth(copy, expected, progress)
        )
        _link_relative(copy, [oid for oid, _ in places])
        record = record.model_copy(update={"added": _make_harmless(copy / "data")})
        # A server may let its group read its files, and then pg_basebackup does likewise.
        close_to_others(copy)
        record.write(copy)


def _physical_record(connection: Any, login: PostgresqlLogin) -> CopyRecord:
    sql = "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1"
    superusers = fetch(connection, sql)
    if not superusers:
        raise SourceError(
            f"cannot copy the server {login}: none of its superusers may log in",
            hint="A copy could not be opened for checking. Let a superuser log in, or use `method: logical`.",
        )
    segment = fetch(connection, "SELECT pg_size_bytes(current_setting('wal_segment_size'))")[0][0]
    relations = fetch(connection, table_query("r"))
    return CopyRecord(
        method="physical",
        **_described(connection),
        superuser=superusers[0][0],
        wal_segment_bytes=int(segment),
        unlogged=tuple(str(name) for name, _, persistence, _ in relations if persistence == "u"),
    )


def _described(connection: Any) -> dict[str, Any]:
    """What a record says of the server's version and of the connection's database."""
    version, database, encoding, collate, ctype = fetch(
        connection,
        """SELECT current_setting('server_version'), datname, pg_encoding_to_char(encoding), datcollate,
            datctype FROM pg_database WHERE datname = current_database()""",
    )[0]
    return {
        "version": version.split()[0],
        "database": database,
        "encoding": encoding,
        "collate": collate,
        "ctype": ctype,
    }


def _tablespaces(connection: Any) -> list[tuple[int, str]]:
    """OID and folder on the server of each tablespace outside the data folder."""
    sql = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace"
    return [(int(oid), location) for oid, location in fetch(connection, sql) if _is_outside(location)]


def _is_outside(location: str) -> bool:
    return bool(location) and not location.startswith("pg_tblspc/")


def _base_backup(
    login: PostgresqlLogin,
    programs: Programs,
    copy: Path,
    places: Sequence[tuple[int, str]],
    *,
    with_slot: bool,
    follow: Growth,
) -> None:
    mappings: list[str] = []
    for oid, location in places:
        ours = (copy / "tablespaces" / str(oid)).absolute()
        escaped = (text.replace("=", "\\=") for text in (location, str(ours)))
        mappings += ["-T", "=".join(escaped)]
    run_program(
        login,
        f"cannot copy the server {login}",
        programs.path("pg_basebackup"),
        *("-D", copy / "data", "-F", "p", "-X", "stream", "-c", "fast", "-l", "Datasave", "-w"),
        *("--manifest-checksums=SHA256", *([] if with_slot else ["--no-slot"]), *mappings),
        watch=follow,
    )


def _link_relative(copy: Path, oids: Sequence[int]) -> None:
    """Links that hold wherever the copy lies, and that an archive takes."""
    for oid in oids:
        link = copy / "data" / "pg_tblspc" / str(oid)
        link.unlink()
        link.symlink_to(Path("..", "..", "tablespaces", str(oid)), target_is_directory=True)


def _make_harmless(data: Path) -> tuple[str, ...]:
    """See this module's docstring; the files that were added to the data folder."""
    for signal in ("standby.signal", "recovery.signal"):
        (data / signal).unlink(missing_ok=True)
    with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as stream:
        stream.write(HARMLESS)
    added = [name for name in STAND_INS if not (data / name).exists()]
    for name in added:
        with create_private(data / name) as stream:
            stream.write(STAND_INS[name].encode())
    return tuple(added)


def take_logical(
    login: PostgresqlLogin, programs: Programs, copy: Path, expected: int, progress: Progress
) -> None:
    """Dump the database into ``copy``; ``expected`` is its size in bytes, for the progress.

    Raises CopyError; then nothing is left in ``copy``.
    """
    operation = f"cannot dump the database {login.database} of {login}"
    with all_or_nothing(copy, f"{operation} into {copy}"):
        with reported_as(operation, copying=True), _snapshot(login) as (connection, snapshot):
            files, before = _files_of(connection), sequence_values(connection)
            _dump(login, programs, copy, snapshot, Growth(copy, expected, progress))
            definitions = _definitions(login, programs, copy, snapshot)
            after = sequence_values(connection)
            record = _logical_record(connection).model_copy(
                update={
                    "definitions": definitions,
                    "dumped_by": programs.major,
                    "sequences": {name: (value, after.get(name, "")) for name, value in before.items()},
                }
            )
            _refuse_changed(operation, files, _files_of(connection))
        record.write(copy)


@contextmanager
def _snapshot(login: PostgresqlLogin) -> Iterator[tuple[Any, str]]:
    """A connection in a transaction that reads one state only, and that state's name for others."""
    with login.connected(autocommit=True) as connection:
        waiting = f"SET lock_timeout = '{LOCK_SECONDS}s'"
        method = f"SET {METHOD_SETTING} = 'logical'"
        for statement in (*_SESSION, waiting, method, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            connection.cursor().execute(statement)
        yield connection, str(fetch(connection, "SELECT pg_export_snapshot()")[0][0])


def _files_of(connection: Any) -> dict[str, int]:
    """Each table and the number of its file as of now, whatever the snapshot says."""
    sql = f"SELECT name, pg_relation_filenode(oid) FROM ({table_query('r')}) AS t"  # noqa: S608
    return {str(name): int(number or 0) for name, number in fetch(connection, sql)}


def _refuse_changed(operation: str, before: dict[str, int], after: dict[str, int]) -> None:
    """Raise CopyError where a table got another file: TRUNCATE heeds no snapshot, so its count may be wrong.

    Holding every table locked from before the dump until all is counted would prevent it, but then a program
    that waits for such a table would hold up pg_dump, and pg_dump that program.
    """
    changed = sorted(name for name, number in before.items() if after.get(name) != number)
    if changed:
        raise CopyError(
            f"{operation}: {', '.join(changed[:5])} was emptied or rebuilt meanwhile",
            hint="Run the backup again when no maintenance (TRUNCATE, VACUUM FULL) is under way.",
        )


def _dump(login: PostgresqlLogin, programs: Programs, copy: Path, snapshot: str, follow: Growth) -> None:
    operation = f"cannot dump the database {login.database} of {login}"
    run_program(
        # Unlike pg_dump it writes dates (VALID UNTIL) as the database's own settings would have them.
        replace(login, options={**login.options, "DateStyle": "ISO"}),
        operation,
        programs.path("pg_dumpall"),
        *("--roles-only", "--no-role-passwords", "-l", login.database, "-w", "-f", copy / "roles.sql"),
        watch=follow,
    )
    run_program(
        login,
        operation,
        programs.path("pg_dump"),
        *("-F", "d", "-j", str(JOBS), "-Z", "0", f"--snapshot={snapshot}", "-w", "-f", copy / "dump"),
        # A restored subscription would connect to its publisher. Dumping one needs a superuser besides.
        *("--no-subscriptions", f"--lock-wait-timeout={LOCK_SECONDS}s", "-d", login.database),
        watch=follow,
    )
    close_to_others(copy)


def _definitions(login: PostgresqlLogin, programs: Programs, copy: Path, snapshot: str) -> dict[str, str]:
    """Hashes of all definitions, as pg_dump writes them out of the snapshot once more.

    Raises CopyError where the dump has others: some definitions heed no snapshot.
    """
    operation = f"cannot dump the database {login.database} of {login}"
    script = copy / "definitions.sql"
    create_private(script).close()
    run_program(
        login,
        operation,
        programs.path("pg_dump"),
        *OPTIONS,
        *(f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_SECONDS}s", "-w"),
        *("-f", script, "-d", login.database),
    )
    hashes = entry_hashes(script)
    run_program(login, operation, programs.path("pg_restore"), *OPTIONS, "-f", script, copy / "dump")
    changed = differing(hashes, entry_hashes(script))
    script.unlink()
    if changed:
        raise CopyError(
            f"{operation}: {', '.join(changed[:5])} was defined anew meanwhile",
            hint="Run the backup again when no update of the program that uses the database is under way.",
        )
    return hashes


def _logical_record(connection: Any) -> CopyRecord:
    timezone = fetch(connection, "SHOW TimeZone")[0][0]
    # It sets how names and values are written, for all that follows.
    profile = contents(connection, as_at_source(user_tables(connection)))
    roles = fetch(connection, "SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname")
    return CopyRecord(
        method="logical",
        **_described(connection),
        objects=object_names(connection),
        roles=tuple(str(row[0]) for row in roles),
        first_superuser=fetch(connection, "SELECT pg_get_userbyid(10)")[0][0],
        tablespaces=tuple(str(row[0]) for row in fetch(connection, _TABLESPACES)),
        left_out=tuple(str(row[0]) for row in fetch(connection, _LEFT_OUT)),
        profile=profile,
        timezone=timezone,
    )


def back_up_log(login: PostgresqlLogin, programs: Programs, folder: Path) -> Path:
    """Add to ``folder`` all that the server has written until now; the newest file. Raises CopyError."""
    operation = f"cannot back up the log of the server {login}"
    private_folder(folder)
    receive = partial(
        run_program,
        login,
        operation,
        programs.path("pg_receivewal"),
        *("-D", folder, "-w", f"--slot={SLOT}"),
        seconds=_RECEIVE_SECONDS,
    )
    receive("--create-slot", "--if-not-exists")
    with reported_as(operation, copying=True), login.connected() as connection:
        # One byte less: the end itself is only passed when the server writes on.
        end = fetch(connection, "SELECT pg_current_wal_flush_lsn() - 1::numeric")[0][0]
    receive("--no-loop", f"--endpos={end}")
    files = sorted(path for path in folder.iterdir() if LOG_FILE.fullmatch(path.name))
    for path in files:
        path.chmod(PRIVATE_FILE)
    if not files:
        raise CopyError(f"{operation}: nothing came", hint="Look into the server's log.")
    return files[-1]
