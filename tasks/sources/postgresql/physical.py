"""The physical copy: all of a server's files, taken by pg_basebackup while it runs.

::

    copy/data/               the data folder, as it would be started
    copy/tablespaces/<OID>   other tablespaces; data/pg_tblspc/<OID> is a relative link to it
    copy/datasave.json       postgresql_record.py

The copy is made harmless at once, so that stock programs restore it safely: started as it is, it archives
nothing, follows no server and subscribes to nothing. All else is as the manifest of pg_basebackup says.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.errors import SourceError
from tasks.platform.files import create_private
from tasks.platform.processes import run
from tasks.records import Progress
from tasks.sources.postgresql.catalog import rows_of, table_query
from tasks.sources.postgresql.connection import Server, told_as
from tasks.sources.postgresql.errors import as_error, trouble_in
from tasks.sources.postgresql.programs import Programs
from tasks.sources.postgresql.record import CopyRecord
from tasks.sources.shared.folders import Growth, all_or_nothing, close_to_others

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


def take(server: Server, programs: Programs, copy: Path, expected: int, progress: Progress) -> None:
    """Copy the whole server into ``copy``; ``expected`` is its size in bytes, for the progress.

    Raises CopyError; then nothing is left in ``copy``.
    """
    what = f"cannot copy the server {server}"
    with told_as(what, copying=True), server.connected() as connection:
        record = _record(connection, server)
        places = _tablespaces(connection)
        slots = int(rows_of(connection, "SHOW max_replication_slots")[0][0])
    with all_or_nothing(copy, f"{what} into {copy}"):
        _base_backup(
            server, programs, copy, places, with_slot=slots > 0, follow=Growth(copy, expected, progress)
        )
        _link_relative(copy, [oid for oid, _ in places])
        record = record.model_copy(update={"added": _make_harmless(copy / "data")})
        # A server may let its group read its files, and then pg_basebackup does likewise.
        close_to_others(copy)
        record.write(copy)


def clone(copy: Path, place: Path) -> Path:
    """A second copy of the data folder and its tablespaces in ``place``; its data folder."""
    for name in ("data", "tablespaces"):
        if (copy / name).is_dir():
            shutil.copytree(copy / name, place / name, symlinks=True)
    close_to_others(place)
    return place / "data"


def _record(connection: Any, server: Server) -> CopyRecord:
    version, database, encoding, collate, ctype, superuser, segment = rows_of(
        connection,
        """SELECT current_setting('server_version'), d.datname, pg_encoding_to_char(d.encoding),
            d.datcollate, d.datctype,
            (SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1),
            pg_size_bytes(current_setting('wal_segment_size'))
        FROM pg_database d WHERE d.datname = current_database()""",
    )[0]
    if superuser is None:
        raise SourceError(
            f"cannot copy the server {server}: none of its superusers may log in",
            hint="A copy could not be opened for checking. Let a superuser log in, or use `method: logical`.",
        )
    unlogged = [
        str(name) for name, _, persistence, _ in rows_of(connection, table_query("r")) if persistence == "u"
    ]
    return CopyRecord(
        method="physical",
        version=version.split()[0],
        database=database,
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        superuser=superuser,
        wal_segment_bytes=int(segment),
        unlogged=tuple(unlogged),
    )


def _tablespaces(connection: Any) -> list[tuple[int, str]]:
    """OID and folder on the server of each tablespace outside the data folder."""
    sql = "SELECT oid, pg_tablespace_location(oid) FROM pg_tablespace"
    return [(int(oid), location) for oid, location in rows_of(connection, sql) if _is_outside(location)]


def _is_outside(location: str) -> bool:
    return bool(location) and not location.startswith("pg_tblspc/")


def _base_backup(
    server: Server,
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
    command: list[str | Path] = [
        programs.path("pg_basebackup"),
        *("-D", copy / "data", "-F", "p", "-X", "stream", "-c", "fast", "-l", "Datasave", "-w"),
        *("--manifest-checksums=SHA256", *([] if with_slot else ["--no-slot"]), *mappings),
    ]
    ended = run(command, environment=server.environment, watch=follow)
    if ended.code != 0:
        trouble = trouble_in(ended.err, f"pg_basebackup ended with status {ended.code}")
        raise as_error(f"cannot copy the server {server}", trouble, copying=True)


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


def link_absolute(restored: Path) -> None:
    """Tablespaces' links as PostgreSQL makes them: its own backups don't follow relative ones."""
    for place in (restored / "tablespaces").glob("*"):
        link = restored / "data" / "pg_tblspc" / place.name
        link.unlink()
        link.symlink_to(place.absolute(), target_is_directory=True)
