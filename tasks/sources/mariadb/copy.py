"""What is copied from the running server: its files by mariadb-backup, or one database by mariadb-dump.

The files stay as mariadb-backup wrote them; the log that it copied beside them is applied to clones only.

mariadb-dump opens a snapshot of its own, and MariaDB cannot share one between sessions. So two are opened
while no transaction can commit (BACKUP STAGE BLOCK_COMMIT; on MySQL FLUSH TABLES WITH READ LOCK), which is
released as soon as the dump's first bytes are there: a tenth of a second or two. In our snapshot the server
then computes each table's row count and checksum, which the loaded dump must meet.

MySQL is written by its documentation and has not been tried against a server of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import CopyError
from tasks.platform.files import create_private
from tasks.platform.processes import Ended, run
from tasks.records import Progress
from tasks.sources.mariadb.compare import hold
from tasks.sources.mariadb.connection import MariadbLogin, ServerFacts, connected, defaults_file
from tasks.sources.mariadb.definitions import definitions
from tasks.sources.mariadb.errors import copy_failure
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import Held
from tasks.sources.shared.folders import Growth, close_to_others
from tasks.sources.shared.odbc import fetch

_NOT_COPIED = re.compile(
    r"(ib_logfile\d+|ibtmp.*|.*\.(pid|err|sock)|.*-bin\..*|.*relay.*|multi-master.info)$"
)
_BACKUP_OPTIONS = (
    # Milliseconds between looks at the log. At the end commits wait for the next look: by default a second.
    "--log-copy-interval=50",
    # It holds every table's file open at once.
    "--open-files-limit=65535",
)
OUTSIDE_HINT = "Use `method: dump` for this server, or move the table into the data folder."


ATTEMPTS = 5
HELD_SECONDS = 0.7
"""Longest time for which commits are held up."""
LAST_LINE = b"-- Dump completed"
_DUMP_OPTIONS = (
    "--single-transaction",
    "--routines",
    "--triggers",
    "--events",
    "--hex-blob",
    "--no-tablespaces",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
    # A dump that is loaded over a database by mistake stops at its first table, and destroys nothing.
    "--skip-add-drop-table",
)
_MYSQL_DUMP_OPTIONS = ("--set-gtid-purged=OFF", "--column-statistics=0")
_HOLD = ("BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT")
_HOLD_MYSQL = ("FLUSH TABLES WITH READ LOCK",)


def live_bytes(data: Path) -> int:
    """Bytes that mariadb-backup will copy from a server's data folder. Raises OSError."""
    return sum(
        path.stat().st_size
        for path in (*_inside(data), *(path for folder in _databases(data) for path in _inside(folder)))
    )


def outside(data: Path) -> list[str]:
    """Tables whose files lie outside the data folder: by an .isl file, or by a symbolic link."""
    return [
        f"{path.parent.name}/{path.stem}"
        for folder in _databases(data)
        for path in folder.iterdir()
        if path.suffix == ".isl" or path.is_symlink()
    ]


def take_physical(
    login: MariadbLogin, programs: Programs, data: Path, total: int, progress: Progress
) -> dict[str, int]:
    """Copy the running server into ``data``; each file below it with its size in bytes. Raises CopyError."""
    program = programs.matching("mariadb-backup", "mariabackup")
    growth = Growth(data, total, progress)
    with defaults_file(login) as defaults:
        command: list[str | Path] = [
            program,
            f"--defaults-file={defaults}",
            "--backup",
            f"--target-dir={data}",
            *_BACKUP_OPTIONS,
        ]
        ended = run(command, watch=growth)
    # Its exit status alone has been 0 for copies that were cut off.
    if ended.code != 0 or "completed OK!" not in ended.err:
        operation = f"cannot copy the database server at {login.place} to {data}"
        raise copy_failure(operation, "mariadb-backup", ended)
    if outside(data):
        raise CopyError(
            f"cannot use the copy of {login.place}: table {outside(data)[0]} lies outside the data folder",
            hint=OUTSIDE_HINT,
            permanent=True,
        )
    close_to_others(data)
    growth.end()
    return {path.relative_to(data).as_posix(): path.stat().st_size for path in files_below(data)}


def _inside(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and not _NOT_COPIED.match(path.name))


def _databases(data: Path) -> Iterator[Path]:
    return (path for path in data.iterdir() if path.is_dir() and not path.name.startswith("#"))


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


class _HeldTooLongError(Exception):
    """Commits were held up as long as they may be, and the dump had not begun."""


def unfit(connection: Any, *, history: bool) -> list[str]:
    """Tables of the connection's database that a dump in one transaction does not hold as they are.

    ``history``: whether it can hold what versioned tables keep; never where transactions are counted in it.
    """
    kept = "GENERATION_EXPRESSION = 'ROW START' AND DATA_TYPE = 'bigint'" if history else "TRUE"
    rows = fetch(
        connection,
        "SELECT TABLE_NAME, ENGINE, TABLE_TYPE FROM information_schema.TABLES t "  # noqa: S608 - words above
        "WHERE TABLE_SCHEMA = DATABASE() AND (TABLE_TYPE = 'SYSTEM VERSIONED' AND EXISTS (SELECT 1 FROM "
        "information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME "
        f"AND {kept}) OR (TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') "
        "AND IFNULL(ENGINE, '') <> 'InnoDB')) ORDER BY TABLE_NAME",
    )
    return [f"{name} ({kind if kind == 'SYSTEM VERSIONED' else engine})" for name, engine, kind in rows]


@dataclass(frozen=True)
class Dump:
    """One dump of a database into a file that does not exist yet."""

    login: MariadbLogin
    server: ServerFacts
    programs: Programs
    database: str
    file: Path

    def run(self, total: int, progress: Progress) -> Held:
        """Write the dump; what the database held then. Raises SourceError, ProgramError.

        ``total`` is a guess of the dump's size in bytes.
        """
        progress(0, total)
        # From its first moment on it is our file, readable by us alone.
        create_private(self.file).close()
        with connected(self.login, self._operation, self.database) as reader:
            before = definitions(reader)
            with defaults_file(self.login) as defaults:
                self._written(reader, self._command(defaults), total, progress)
            held = hold(reader, before)
        self._require_unaltered(before.objects, held.definitions.objects)
        size = self.file.stat().st_size
        progress(size, size)
        return held

    @property
    def _operation(self) -> str:
        return f"dump the database {self.database}"

    def _command(self, defaults: Path) -> list[str | Path]:
        names = ("mariadb-dump", "mysqldump") if self.server.mariadb else ("mysqldump",)
        return [
            self.programs.matching(*names),
            f"--defaults-file={defaults}",
            *_DUMP_OPTIONS,
            *(() if self.server.mariadb else _MYSQL_DUMP_OPTIONS),
            *(["--dump-history"] if self.server.dumps_history else []),
            f"--result-file={self.file}",
            "--databases",
            self.database,
        ]

    def _written(self, reader: Any, command: list[str | Path], total: int, progress: Progress) -> None:
        for attempt in range(ATTEMPTS):
            try:
                with self._commits_held_up() as release:
                    fetch(reader, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                    ended = _run_dump(command, self.file, total, progress, release)
            except _HeldTooLongError:
                fetch(reader, "ROLLBACK")
                time.sleep(attempt)
                continue
            return self._require_whole(ended)
        raise CopyError(
            f"cannot {self._operation}: no moment came in which its snapshot could be opened",
            hint="The machine is very busy: run the backup at another time.",
        )

    @contextmanager
    def _commits_held_up(self) -> Iterator[Callable[[], object]]:
        """No transaction commits within the block until the function it gives is called."""
        with connected(self.login, "hold up commits for the dump") as holder:
            # Nobody is held up by this waiting: commits are stopped when all else has been waited for.
            fetch(holder, "SET SESSION lock_wait_timeout = 5")
            for statement in _HOLD if self.server.mariadb else _HOLD_MYSQL:
                fetch(holder, statement)
            # Should we be stopped by force, the connection ends, and the hold-up with it.
            yield lambda: fetch(holder, "BACKUP STAGE END" if self.server.mariadb else "UNLOCK TABLES")

    def _require_unaltered(self, before: dict[str, str], after: dict[str, str]) -> None:
        """Definitions heed no snapshot: the dump may hold those of before or of after."""
        altered = sorted(name for name, _ in before.items() ^ after.items())
        if altered:
            raise CopyError(
                f"cannot {self._operation}: {altered[0]} was altered meanwhile",
                hint="Run the backup again when nobody alters the database.",
            )

    def _require_whole(self, ended: Ended) -> None:
        if ended.code != 0:
            raise copy_failure(f"cannot {self._operation}", "the program", ended)
        if not ends_in_order(self.file):
            raise CopyError(
                f"cannot {self._operation}: the dump has no end", hint="Check the free space, then try again."
            )


def _run_dump(
    command: list[str | Path], file: Path, total: int, progress: Progress, release: Callable[[], object]
) -> Ended:
    """Run the dump; call ``release`` when its snapshot is open, which its first bytes on disk tell.

    It writes its heading, of less than a block, before it opens the snapshot, and the first block after.
    """
    held_since: float | None = time.monotonic()
    seen = 0

    def watch() -> None:
        nonlocal held_since, seen
        size = file.stat().st_size
        if held_since is not None and (size or time.monotonic() - held_since > HELD_SECONDS):
            held_since = None
            release()
            if not size:
                raise _HeldTooLongError
        seen = max(seen, min(size, total - 1))
        progress(seen, total)

    ended = run(command, watch=watch)
    if held_since is not None:
        release()
    return ended


def ends_in_order(file: Path) -> bool:
    """Whether a dump ends with the line that is written last."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - 200))
        return LAST_LINE in stream.read()
