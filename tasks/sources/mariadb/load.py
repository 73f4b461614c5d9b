"""A dump loaded into a private server in scratch, as RECOVER.md has it loaded, and held to its record.

What the client says of an error may quote rows: only the number, names of the database's objects and what the
number means are handed on. A view may need what only its own server has (another database, a plugin); a
private one cannot make it. Its words in the dump are held to the source's instead, and it is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ProgramError, ValidationError
from tasks.platform.files import PRIVATE_FILE
from tasks.platform.processes import LONGEST_OUTPUT, run
from tasks.records import Finding
from tasks.sources.mariadb.catalog import check_tables
from tasks.sources.mariadb.compare import compare, unmade_view
from tasks.sources.mariadb.connection import private_connection
from tasks.sources.mariadb.errors import NEEDED_ELSEWHERE, load_failure
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import DUMP, CopyRecord, read_record
from tasks.sources.mariadb.scratch import (
    READY,
    SCRATCH_SETTINGS,
    closed_in,
    fresh_data,
    install,
    prepare_clone,
    private_server,
    served,
    words_for,
)

_ERROR = re.compile(r"^ERROR (\d+) \(\w{5}\) at line (\d+) in file: '[^']*': (.*)$", re.MULTILINE)
# Between statements mariadb-dump says what the next ones are about.
_ABOUT = re.compile(r"-- (?:.* structure for|Dumping data for) (table|view|sequence) `((?:[^`]|``)*)`$")
_CODE = re.compile(
    r"\b(TRIGGER|PROCEDURE|FUNCTION|EVENT|PACKAGE BODY|PACKAGE) (?:IF NOT EXISTS )?`?([^\s`(]+)"
)


class _Failed(NamedTuple):
    """A statement of the dump that the server refused: the error's number and text, what it was about."""

    code: int
    text: str
    about: str


def load(programs: Programs, copy: Path, record: CopyRecord, scratch: Path) -> list[Finding]:
    """Load the dump into a new private server in ``scratch``, compare with the record, check the tables.

    Raises ValidationError where it cannot be loaded.
    """
    try:
        names = ("mariadb", "mysql") if record.mariadb else ("mysql",)
        client = programs.matching(*names)
        findings = _loaded(programs, client, copy, record, scratch, force=False)
        if findings is None:
            findings = _loaded(programs, client, copy, record, scratch, force=True)
    except ProgramError as error:
        raise ValidationError(f"cannot load the dump: {error.message}", hint=error.hint) from error
    (scratch / READY).touch(PRIVATE_FILE)
    return findings or []


def _loaded(
    programs: Programs, client: Path, copy: Path, record: CopyRecord, scratch: Path, *, force: bool
) -> list[Finding] | None:
    """The findings; None where a view stopped it: then it is loaded once more without stopping."""
    fresh_data(scratch)
    install(programs, record, scratch)
    with private_server(programs, record, scratch, SCRATCH_SETTINGS) as socket:
        failed = load_into(programs, client, socket, copy, force=force)
        for one in failed:
            if not (one.about.startswith("view ") and one.code in NEEDED_ELSEWHERE):
                raise load_failure(one.code, one.text, one.about)
        if failed and not force:
            return None
        with private_connection(words_for(socket), record.database) as connection:
            unmade = {one.about: one.code for one in failed}
            held, views = _apart(compare(connection, record), unmade)
            told = [unmade_view(name, unmade[name], copy / DUMP, record) for name in views]
            return [*held, *told, *check_tables(connection)]


def _apart(findings: list[Finding], unmade: dict[str, int]) -> tuple[list[Finding], list[str]]:
    """Findings on all else, and the views that are missing because they could not be made."""
    return [one for one in findings if one.table not in unmade], sorted(unmade)


def load_into(
    programs: Programs, client: Path, socket: Path | str, copy: Path, *, force: bool
) -> list[_Failed]:
    """The statements that failed: the first, or with ``force`` all. Raises ValidationError."""
    command: list[str | Path] = [
        client,
        "--no-defaults",
        f"--socket={socket}",
        *(() if isinstance(socket, Path) else ("--protocol=pipe",)),
        "--user=root",
        "--batch",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
        # Without it the client takes the remarks out of procedures.
        "--comments",
        # Without it the client reads on after an error, and ends with status 0. MySQL's does not know it.
        *(("--force",) if force else ("--loose-abort-source-on-error",)),
        f"--execute=source {DUMP}",
    ]
    # The dump's text may hold commands for the client itself.
    room = [socket.parent] if isinstance(socket, Path) else []
    ended = run(closed_in(programs, command, room, reads=copy), folder=copy)
    errors = _ERROR.findall(ended.err)
    if ended.code and not errors:
        raise load_failure(0, f"status {ended.code}", "")
    # Before the last error the client may have quoted rows, and rows may hold anything.
    told = errors if force and len(ended.err.encode()) < LONGEST_OUTPUT else errors[-1:]
    return [_Failed(int(code), text, _about(copy / DUMP, int(line))) for code, line, text in told]


def _about(dump: Path, line: int) -> str:
    """What the statement that ends in a line of the dump is about, as "table visits"; "" where unknown."""
    found = ""
    with dump.open(encoding="utf-8", errors="replace") as stream:
        for number, text in enumerate(stream, 1):
            if named := _ABOUT.match(text):
                found = f"{named[1]} {named[2].replace('``', '`')}"
            elif code := _CODE.search(text) if text.startswith(("/*!", "CREATE ")) else None:
                found = f"{code[1].lower()} {code[2]}"
            if number >= line:
                break
    return found


@contextmanager
def open_copy(copy: Path, scratch: Path, folder: Path | None) -> Iterator[Any]:
    """A connection to a private server on the copy, for reading. Raises ValidationError."""
    record = read_record(copy)
    programs = Programs(folder, record.release)
    if not (scratch / READY).exists():
        _build(programs, copy, record, scratch)
    with served(programs, record, scratch) as connection:
        yield connection


def _build(programs: Programs, copy: Path, record: CopyRecord, scratch: Path) -> None:
    wrong: Sequence[Finding] = ()
    try:
        if record.method == "physical":
            prepare_clone(programs, copy, scratch)
        else:
            wrong = [finding for finding in load(programs, copy, record, scratch) if finding.failed]
    except ProgramError as error:
        raise ValidationError(f"cannot open the copy: {error.message}", hint=error.hint) from error
    if wrong:
        raise ValidationError(
            f"cannot open the copy: {wrong[0].table}: {wrong[0].detail}",
            hint="The dump is not what was recorded: take an older backup.",
        )
