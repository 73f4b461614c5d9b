"""BACKUP, RESTORE, DBCC CHECKDB, CREATE, ALTER and DROP DATABASE: the documented syntax and nothing else."""

from __future__ import annotations

import sqlite3
import time
import uuid
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.standins.sqlserver.dialect import Refused, Words
from tests.standins.sqlserver.storage import (
    Database,
    Header,
    create_files,
    read_header,
    read_pages,
    snapshot,
    write_backup,
)
from tests.standins.sqlserver.wire import Gone

if TYPE_CHECKING:
    from tests.standins.sqlserver.server import Session

_BACKUP_FLAGS = {
    "COPY_ONLY", "CHECKSUM", "NO_CHECKSUM", "INIT", "NOINIT", "FORMAT", "NOFORMAT", "SKIP", "NOSKIP",
    "NO_COMPRESSION", "STOP_ON_ERROR", "CONTINUE_AFTER_ERROR",
}  # fmt: skip
_RESTORE_FLAGS = {"CHECKSUM", "NO_CHECKSUM", "STOP_ON_ERROR", "CONTINUE_AFTER_ERROR", "NOUNLOAD"}
_CHECKDB_FLAGS = {
    "NO_INFOMSGS", "ALL_ERRORMSGS", "DATA_PURITY", "PHYSICAL_ONLY", "TABLOCK", "EXTENDED_LOGICAL_CHECKS",
}  # fmt: skip


class Cancelled(Exception):
    """The client sent an attention."""


def options(words: Words, flags: set[str], valued: set[str]) -> dict[str, Any]:
    """What stands after WITH: flags, NAME = value, and MOVE 'a' TO 'b'."""
    found: dict[str, Any] = {"MOVE": {}}
    if not words.take("WITH"):
        words.end()
        return found
    while True:
        name = words.name().upper()
        if name in flags:
            found[name] = True
        elif name == "MOVE" and "MOVE" in valued:
            logical = words.text()
            words.need("TO")
            found["MOVE"][logical] = words.text()
        elif name in valued and name != "MOVE":
            words.need("=")
            found[name] = words.text() if words[words.at][0] == "text" else words.number()
        else:
            raise Refused(155, f"'{name}' is not a recognized option.", 15)
        if not words.take(","):
            break
    words.end()
    return found


def _device(session: Session, words: Words, verb: str) -> Path:
    words.need(verb, "DISK", "=")
    return session.server.local(words.text())


def _terminated(verb: str) -> Refused:
    return Refused(3013, f"{verb} is terminating abnormally.")


def _cannot_open(device: Path, number: int, reason: str) -> Refused:
    return Refused(3201, f"Cannot open backup device '{device}'. Operating system error {number}({reason}).")


def backup(session: Session, words: Words) -> None:
    words.need("BACKUP", "DATABASE")
    name = words.name()
    device = _device(session, words, "TO")
    chosen = options(words, _BACKUP_FLAGS, {"STATS", "NAME", "DESCRIPTION"})
    if session.in_transaction:
        raise Refused(3021, "Cannot perform a backup or restore operation within a transaction.")
    database = session.server.find(name)
    if not session.holds(database, "db_backupoperator"):
        raise Refused(262, f"BACKUP DATABASE permission denied in database '{name}'.", 14)
    if database.state != "ONLINE":
        raise Refused(942, f"Database '{name}' cannot be opened because it is offline.", 14)
    try:
        _back_up(session, database, device, chosen)
    except Refused as refused:
        session.error(refused)
        raise _terminated("BACKUP DATABASE") from None
    if not chosen.get("COPY_ONLY"):
        database.differential_base = str(uuid.uuid4())


def _back_up(session: Session, database: Database, device: Path, chosen: dict[str, Any]) -> None:
    knobs = session.server.knobs
    if knobs.device_error:
        raise _cannot_open(device, knobs.device_error, "refused")
    if not device.parent.is_dir():
        raise _cannot_open(device, 3, "The system cannot find the path specified.")
    if device.exists() and not (chosen.get("INIT") or chosen.get("FORMAT")):
        raise Refused(3010, "Several backup sets in a file are not modelled.")
    if knobs.damaged_page:
        raise Refused(3043, f"BACKUP '{database.name}' detected an error on page (1:42) in file.")
    pages = session.server.temporary()
    try:
        count = snapshot(database.mdf, pages)
        with device.open("wb") as out:
            write_backup(out, _header(session, database, count, chosen), pages, _stepper(session, chosen))
    except BaseException:
        device.unlink(missing_ok=True)
        raise
    finally:
        pages.unlink(missing_ok=True)
    # Each message is a result of its own to a driver: who reads the first alone sees none of the rest.
    session.info(4035, f"Processed {count} pages for database '{database.name}' on file 1.")
    session.done(more=True)
    session.info(3014, f"BACKUP DATABASE successfully processed {count} pages.")


def _header(session: Session, database: Database, pages: int, chosen: dict[str, Any]) -> Header:
    server = session.server
    return Header(
        database=database.name,
        pages=pages,
        family=database.family,
        recovery=database.recovery,
        version=server.knobs.version,
        checksums=bool(chosen.get("CHECKSUM")) and not server.knobs.forgets_checksums,
        copy_only=bool(chosen.get("COPY_ONLY")),
        damaged=False,
        started=datetime.now().isoformat(" ", "milliseconds"),
        owner=database.owner,
        users={login: sorted(roles) for login, roles in database.users.items()},
        files=[[*file[:2], server.seen_by_server(file[2]), file[3]] for file in database.files()],
        name=chosen.get("NAME", ""),
    )


def _stepper(session: Session, chosen: dict[str, Any]) -> Any:
    """Called with each percent: takes its time, tells, hears whether the client still wants it."""
    knobs, every = session.server.knobs, chosen.get("STATS", 10)

    def step(percent: int) -> None:
        session.percent = percent
        if knobs.stops_at == percent:
            session.server.stop_soon()
            raise Gone
        if knobs.disk_full_at == percent:
            raise Refused(3202, "Write on device failed: 112(There is not enough space on the disk.)")
        time.sleep(knobs.backup_seconds / 100)
        if percent % every == 0:
            session.info(3211, f"{percent} percent processed.")
            if percent == every:
                session.done(more=True)
            session.reply.flush()
        session.hear_cancel()

    return step


def restore(session: Session, words: Words) -> None:
    words.need("RESTORE")
    verb = words.name().upper()
    name = words.name() if verb == "DATABASE" else ""
    device = _device(session, words, "FROM")
    valued = {"STATS", "FILE"} | ({"MOVE"} if verb == "DATABASE" else set())
    flags = _RESTORE_FLAGS | ({"RECOVERY", "REPLACE"} if verb == "DATABASE" else {"LOADHISTORY"})
    chosen = options(words, flags, valued)
    run = {"DATABASE": _database, "VERIFYONLY": _verify, "HEADERONLY": _headers, "FILELISTONLY": _files}.get(
        verb
    )
    if run is None:
        raise Refused(102, f"Incorrect syntax near '{verb}'.", 15)
    if session.in_transaction:
        raise Refused(3021, "Cannot perform a backup or restore operation within a transaction.")
    try:
        _require_restore(session, device)
        run(session, name, device, chosen)
    except Refused as refused:
        session.error(refused)
        raise _terminated(f"{'VERIFY' if verb == 'VERIFYONLY' else 'RESTORE'} {verb}") from None


def _require_restore(session: Session, device: Path) -> None:
    if not session.may("CREATE ANY DATABASE"):
        raise Refused(262, "CREATE DATABASE permission denied in database 'master'.", 14)
    if not device.is_file():
        raise _cannot_open(device, 2, "The system cannot find the file specified.")


def _verify(session: Session, _name: str, device: Path, chosen: dict[str, Any]) -> None:
    with device.open("rb") as stream:
        header = read_header(stream)
        if chosen.get("CHECKSUM") and not header.checksums:
            raise Refused(3187, "RESTORE WITH CHECKSUM cannot be specified: there are no checksums.")
        if not session.server.knobs.verifies_anything:
            read_pages(
                stream, header, lambda _i, _p: None, Refused(3189, "Damage to the backup set was detected.")
            )
    session.info(3262, "The backup set on file 1 is valid.")


_HEADER_COLUMNS = (
    "BackupName", "BackupType", "Compressed", "Position", "DatabaseName", "DatabaseVersion", "BackupSize",
    "SoftwareVersionMajor", "Collation", "FamilyGUID", "HasBackupChecksums", "IsDamaged", "IsCopyOnly",
    "RecoveryModel", "BackupTypeDescription",
)  # fmt: skip


def _headers(session: Session, _name: str, device: Path, _chosen: dict[str, Any]) -> None:
    with device.open("rb") as stream:
        header = read_header(stream)
    major = int(header.version.split(".")[0])
    row = (
        header.name or None, 1, 0, 1, header.database, 904, header.pages * 4096, major,
        "SQL_Latin1_General_CP1_CI_AS", header.family, header.checksums, header.damaged, header.copy_only,
        header.recovery, "Database",
    )  # fmt: skip
    session.rows(_HEADER_COLUMNS, [row])


def _files(session: Session, _name: str, device: Path, _chosen: dict[str, Any]) -> None:
    with device.open("rb") as stream:
        header = read_header(stream)
    columns = ("LogicalName", "PhysicalName", "Type", "FileGroupName", "Size", "FileID")
    sizes = {"D": header.pages * 4096, "L": 8192}
    rows = [
        (logical, physical, kind, "PRIMARY" if kind == "D" else None, sizes[kind], number)
        for number, logical, physical, kind in header.files
    ]
    session.rows(columns, rows)


def _database(session: Session, name: str, device: Path, chosen: dict[str, Any]) -> None:
    server = session.server
    with device.open("rb") as stream:
        header = read_header(stream)
        if int(header.version.split(".")[0]) > int(server.knobs.version.split(".")[0]):
            raise Refused(3169, "The database was backed up on a server running a later version.")
        if chosen.get("CHECKSUM") and not header.checksums:
            raise Refused(3187, "RESTORE WITH CHECKSUM cannot be specified: there are no checksums.")
        if server.has(name) and not chosen.get("REPLACE"):
            raise Refused(3159, f"The tail of the log for the database '{name}' has not been backed up.")
        paths = _targets(session, header, chosen)
        if server.knobs.volume_full:
            raise Refused(3257, "There is insufficient free space on disk volume to create the database.")
        database = _restored(session, name, header, paths)
        server.add(database)
        try:
            _write_pages(session, stream, header, database)
        except Refused:
            server.remove(database)
            raise
    _finish(session, database, header)


def _targets(session: Session, header: Header, chosen: dict[str, Any]) -> list[Path]:
    """Where each file goes: where it was, or where MOVE says. A file in use stops it."""
    moves = chosen["MOVE"]
    known = {logical for _, logical, _, _ in header.files}
    for logical in moves:
        if logical not in known:
            raise Refused(3234, f"Logical file '{logical}' is not part of database '{header.database}'.")
    paths = [session.server.local(moves.get(logical, physical)) for _, logical, physical, _ in header.files]
    used = {path for database in session.server.listed() for _, _, path, _ in database.files()}
    for path in paths:
        if path in used:
            raise Refused(1834, f"The file '{path}' cannot be overwritten. It is being used by a database.")
        if not path.parent.is_dir():
            raise Refused(5133, f"Directory lookup for the file '{path}' failed: 3(The path was not found.)")
    return paths


def _restored(session: Session, name: str, header: Header, paths: list[Path]) -> Database:
    database = Database(name, paths[0], owner=session.login.name, state="RESTORING", log=paths[1])
    database.recovery, database.family = header.recovery, header.family
    database.users = {login: set(roles) for login, roles in header.users.items()}
    if not session.server.knobs.restorer_owns:
        database.owner = header.owner
    return database


def _write_pages(session: Session, stream: Any, header: Header, database: Database) -> None:
    damage = Refused(3183, f"RESTORE detected an error on page (1:42) in database '{database.name}'.")
    step = session.server.knobs.restore_seconds / max(1, header.pages)
    if session.server.knobs.verifies_anything:
        header.checksums = False
    with database.mdf.open("wb") as out:

        def write(_index: int, page: bytes) -> None:
            out.write(page)
            if step:
                time.sleep(step)
                session.hear_cancel()

        read_pages(stream, header, write, damage)


def _finish(session: Session, database: Database, header: Header) -> None:
    knobs = session.server.knobs
    for path in (database.log or database.ldf,):
        path.write_bytes(b"log" + bytes(8189))
    if knobs.loses_triggers:
        with closing(sqlite3.connect(database.mdf)) as connection:
            connection.execute("DELETE FROM _modules WHERE kind = 'TRIGGER'")
            connection.commit()
    if knobs.damages_restored:
        # The root of an index goes: rows can still be read one by one, the structure is broken.
        data = bytearray(database.mdf.read_bytes())
        at = len(data) // 2 // 4096 * 4096
        data[at : at + 8] = b"\xff" * 8
        database.mdf.write_bytes(data)
    if knobs.restore_touches_production:
        session.server.find(header.database).created = datetime.now()
    database.state = "ONLINE"
    session.info(3014, f"RESTORE DATABASE successfully processed {header.pages} pages.")


def checkdb(session: Session, words: Words) -> None:
    words.need("DBCC", "CHECKDB", "(")
    name = words.text() if words[words.at][0] == "text" else words.name()
    words.need(")")
    chosen = options(words, _CHECKDB_FLAGS, set())
    database = session.server.find(name)
    if not session.holds(database, "db_owner"):
        raise Refused(7983, f"User does not have permission to run DBCC checkdb for database '{name}'.", 14)
    found: list[str]
    try:
        with closing(sqlite3.connect(database.mdf)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    except sqlite3.DatabaseError:
        found = ["unreadable"]
    if found == ["ok"]:
        if not chosen.get("NO_INFOMSGS"):
            session.info(8989, f"CHECKDB found 0 allocation errors and 0 consistency errors in '{name}'.")
        return
    for _ in found[:-1]:
        session.error(Refused(8928, "Object ID 245575913, index ID 1: Page (1:153) could not be processed."))
    raise Refused(8939, "Table error: Object ID 245575913, index ID 1, page (1:153). Test failed.")


def create(session: Session, words: Words) -> None:
    words.need("CREATE", "DATABASE")
    name = words.name()
    words.end()
    if not session.may("CREATE ANY DATABASE"):
        raise Refused(262, "CREATE DATABASE permission denied in database 'master'.", 14)
    if session.server.has(name):
        raise Refused(1801, f"Database '{name}' already exists. Choose a different database name.")
    database = Database(name, session.server.folder / f"{name}.mdf", session.login.name)
    database.family = str(uuid.uuid4())
    create_files(database)
    session.server.add(database)


def alter(session: Session, words: Words) -> None:
    words.need("ALTER", "DATABASE")
    name = words.name()
    words.need("SET")
    what = words.name().upper()
    if words.take("WITH", "ROLLBACK", "IMMEDIATE"):
        session.server.kill_sessions(name, session)
    words.end()
    database = session.server.find(name)
    if not session.holds(database, "db_owner"):
        raise Refused(5011, f"User does not have permission to alter database '{name}'.", 14)
    if what in ("SINGLE_USER", "MULTI_USER"):
        if database.state == "RESTORING":
            raise Refused(5052, "ALTER DATABASE is not permitted while a database is in the Restoring state.")
        database.single_user = what == "SINGLE_USER"
    elif what in ("READ_ONLY", "READ_WRITE"):
        database.read_only = what == "READ_ONLY"
    elif what in ("OFFLINE", "ONLINE"):
        database.state = what
    else:
        raise Refused(102, f"Incorrect syntax near '{what}'.", 15)


def drop(session: Session, words: Words) -> None:
    words.need("DROP", "DATABASE")
    name = words.name()
    words.end()
    server = session.server
    if not server.has(name):
        raise Refused(3701, f"Cannot drop the database '{name}', because it does not exist.", 11)
    database = server.find(name)
    if not session.holds(database, "db_owner"):
        raise Refused(3701, f"Cannot drop the database '{name}': you do not have permission.", 11)
    if server.in_use(name):
        raise Refused(3702, f"Cannot drop database '{name}' because it is currently in use.")
    server.remove(database)


RUN = {
    ("BACKUP", "DATABASE"): backup,
    ("RESTORE", "DATABASE"): restore,
    ("RESTORE", "VERIFYONLY"): restore,
    ("RESTORE", "HEADERONLY"): restore,
    ("RESTORE", "FILELISTONLY"): restore,
    ("DBCC", "CHECKDB"): checkdb,
    ("CREATE", "DATABASE"): create,
    ("ALTER", "DATABASE"): alter,
    ("DROP", "DATABASE"): drop,
}
