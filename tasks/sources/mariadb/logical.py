"""The dump: mariadb-dump's SQL text, and beside it what the database held in the very same snapshot.

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

from tasks.errors import CopyError, ProgramError, ValidationError
from tasks.platform.files import PRIVATE_FILE, create_private
from tasks.platform.processes import Ended, run
from tasks.records import Finding, Progress
from tasks.sources.mariadb.connection import Login, Server, connected, defaults_file, opened, tool_cause
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import DUMP, CopyRecord
from tasks.sources.mariadb.scratch import READY, fresh_data, install, private_server, words_for
from tasks.sources.mariadb.tables import check_tables, contents, differences, tables_of
from tasks.sources.shared.odbc import fetch

ATTEMPTS = 5
HELD_SECONDS = 0.7
"""Longest time for which commits are held up."""
LAST_LINE = b"-- Dump completed"

_OPTIONS = (
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
_MYSQL_OPTIONS = ("--set-gtid-purged=OFF", "--column-statistics=0")
_HOLD = ("BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT")
_HOLD_MYSQL = ("FLUSH TABLES WITH READ LOCK",)
SCRATCH_SETTINGS = ("--event-scheduler=OFF",)


class _HeldTooLongError(Exception):
    """Commits were held up as long as they may be, and the dump had not begun."""


def unfit(connection: Any) -> list[str]:
    """Tables of the connection's database that a dump in one transaction does not hold as they are."""
    rows = fetch(
        connection,
        "SELECT TABLE_NAME, ENGINE, TABLE_TYPE FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = DATABASE() AND (TABLE_TYPE = 'SYSTEM VERSIONED' "
        "OR (TABLE_TYPE IN ('BASE TABLE', 'SEQUENCE') AND IFNULL(ENGINE, '') <> 'InnoDB')) "
        "ORDER BY TABLE_NAME",
    )
    return [f"{name} ({kind if kind != 'BASE TABLE' else engine})" for name, engine, kind in rows]


@dataclass(frozen=True)
class Dumping:
    """One dump of a database into a file that does not exist yet."""

    login: Login
    server: Server
    programs: Programs
    database: str
    file: Path

    def run(self, total: int, progress: Progress) -> dict[str, tuple[int, str]]:
        """Write the dump; what the database held then (see contents). Raises SourceError, ProgramError.

        ``total`` is a guess of the dump's size in bytes.
        """
        progress(0, total)
        # From its first moment on it is our file, readable by us alone.
        create_private(self.file).close()
        with connected(self.login, self._doing, self.database) as reader:
            with defaults_file(self.login) as defaults:
                self._written(reader, self._command(defaults), total, progress)
            held = contents(reader, tables_of(reader))
        size = self.file.stat().st_size
        progress(size, size)
        return held

    @property
    def _doing(self) -> str:
        return f"dump the database {self.database}"

    def _command(self, defaults: Path) -> list[str | Path]:
        names = ("mariadb-dump", "mysqldump") if self.server.mariadb else ("mysqldump",)
        return [
            self.programs.matching(*names),
            f"--defaults-file={defaults}",
            *_OPTIONS,
            *(() if self.server.mariadb else _MYSQL_OPTIONS),
            f"--result-file={self.file}",
            "--databases",
            self.database,
        ]

    def _written(self, reader: Any, command: list[str | Path], total: int, progress: Progress) -> None:
        for attempt in range(ATTEMPTS):
            try:
                with self._commits_held_up() as release:
                    fetch(reader, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                    ended = _run(command, self.file, total, progress, release)
            except _HeldTooLongError:
                fetch(reader, "ROLLBACK")
                time.sleep(attempt)
                continue
            return self._require_whole(ended)
        raise CopyError(
            f"cannot {self._doing}: no moment came in which its snapshot could be opened",
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

    def _require_whole(self, ended: Ended) -> None:
        if ended.code != 0:
            cause = tool_cause(ended.err)
            raise CopyError(
                f"cannot {self._doing}: {cause.text} (the program ended with status {ended.code})",
                hint=cause.hint,
                permanent=cause.permanent,
            )
        if not ends_in_order(self.file):
            raise CopyError(
                f"cannot {self._doing}: the dump has no end", hint="Check the free space, then try again."
            )


def _run(
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


def load(programs: Programs, copy: Path, record: CopyRecord, scratch: Path) -> list[Finding]:
    """Load the dump into a new private server in ``scratch``, compare with the record, check the tables.

    Raises ValidationError where it cannot be loaded.
    """
    fresh_data(scratch)
    try:
        names = ("mariadb", "mysql") if record.mariadb else ("mysql",)
        client = programs.matching(*names)
        install(programs, record, scratch)
        with private_server(programs, record, scratch, SCRATCH_SETTINGS) as socket:
            _load_into(client, socket, copy)
            with opened(words_for(socket), record.database) as connection:
                tables = tables_of(connection)
                wrong = differences(record.contents, contents(connection, tables))
                checked = check_tables(connection)
    except ProgramError as error:
        raise ValidationError(f"cannot load the dump: {error.message}", hint=error.hint) from error
    (scratch / READY).touch(PRIVATE_FILE)
    count = sum(not table.name.startswith("(") for table in tables)
    told = f"{count} tables and what belongs to them, all as they were" if count else "there are no tables"
    return [*(wrong or [Finding(check="dump complete", passed=count > 0, detail=told)]), *checked]


def _load_into(client: Path, socket: Path | str, copy: Path) -> None:
    command: list[str | Path] = [
        client,
        "--no-defaults",
        f"--socket={socket}",
        *(() if isinstance(socket, Path) else ("--protocol=pipe",)),
        "--user=root",
        "--batch",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        # Without it the client reads on after an error, and ends with status 0. MySQL's does not know it.
        "--loose-abort-source-on-error",
        f"--execute=source {DUMP}",
    ]
    ended = run(command, folder=copy)
    error = re.search(r"^ERROR (\d+)", ended.err, re.MULTILINE)
    if ended.code != 0 or error:
        told = f"error {error[1]}" if error else f"status {ended.code}"
        raise ValidationError(
            f"cannot load the dump: the client ended with {told}",
            hint="The dump is damaged, or needs what this server lacks: take an older backup.",
        )
