"""Which files of a folder belong to a database that may be running: copied as files, they are useless.

The rule, for each folder by the names in it (in any case of letters):

==================  ==========================================  ==========================================
database            what gives it away                          what is left out
==================  ==========================================  ==========================================
PostgreSQL          a file ``PG_VERSION``                       the folder with all that is in it
MariaDB, MySQL      ``ibdata1`` or ``aria_log_control``         the folder with all that is in it
SQL Anywhere        ``x.db`` (not of SQLite) beside ``x.log``   every .db, .dbs, .log, .mlg of that folder
SQL Server          an ``.mdf`` and an ``.ldf``                 every .mdf, .ndf, .ldf of that folder
SQLite              a ``-wal`` or ``-journal`` file, not        that database with its -wal, -shm and
                    empty, beside ``x``, one of them by its     -journal
                    first bytes SQLite's
==================  ==========================================  ==========================================

Servers own their folder; with the others documents may lie in the same one, and those are kept. A
database that none of this gives away (a log elsewhere, an Access file) either stays unchanged while it
is copied, and is then as good as any file, or the copy says that it changed or cannot be read.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import stat_result

_SERVERS = {"pg_version": "PostgreSQL", "ibdata1": "MariaDB", "aria_log_control": "MariaDB"}
_SQL_ANYWHERE = (".db", ".dbs", ".log", ".mlg")
_SQL_SERVER = (".mdf", ".ndf", ".ldf")
_SQLITE_BESIDE = ("-wal", "-shm", "-journal")
# sqlite.org/fileformat2.html: the database's header, the rollback journal's, and the WAL's two byte orders.
_SQLITE_HEADER = b"SQLite format 3\0"
_SQLITE_MAGIC = {
    "-journal": (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",),
    "-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
}
HEADER_BYTES = len(_SQLITE_HEADER)


@dataclass(frozen=True)
class LiveDatabases:
    """What was found in one folder: ``server`` owns all of it, or ``files`` (name: engine) belong to one."""

    server: str = ""
    files: dict[str, str] = field(default_factory=dict)


def live_databases(children: Mapping[str, stat_result], head: Callable[[str], bytes]) -> LiveDatabases:
    """Look through a folder's children; ``head`` reads the first 16 bytes of one, b"" where it cannot."""
    files = {name.lower(): name for name, info in children.items() if stat.S_ISREG(info.st_mode)}
    for telltale, server in _SERVERS.items():
        if telltale in files:
            return LiveDatabases(server=server)
    found = _sqlite(files, children, head)
    if _has_sql_anywhere(files, found, head):
        found |= {files[low]: "SQL Anywhere" for low in files if low.endswith(_SQL_ANYWHERE)}
    if any(low.endswith(".mdf") for low in files) and any(low.endswith(".ldf") for low in files):
        found |= {files[low]: "SQL Server" for low in files if low.endswith(_SQL_SERVER)}
    return LiveDatabases(files=found)


def _has_sql_anywhere(files: dict[str, str], sqlite: dict[str, str], head: Callable[[str], bytes]) -> bool:
    return any(
        low.endswith(".db")
        and f"{low.removesuffix('.db')}.log" in files
        and name not in sqlite
        and head(name) != _SQLITE_HEADER
        for low, name in files.items()
    )


def _sqlite(
    files: dict[str, str], children: Mapping[str, stat_result], head: Callable[[str], bytes]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for low, name in files.items():
        for ending, magic in _SQLITE_MAGIC.items():
            database = files.get(low.removesuffix(ending)) if low.endswith(ending) else None
            if database is None or not children[name].st_size:
                # An empty journal is one that was committed: the database beside it is whole.
                continue
            if head(database) == _SQLITE_HEADER or head(name).startswith(magic):
                beside = (files.get(f"{database.lower()}{other}") for other in _SQLITE_BESIDE)
                found |= {one: "SQLite" for one in (database, *beside) if one is not None}
    return found
