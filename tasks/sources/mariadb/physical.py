"""The physical way: mariadb-backup copies the running server's files, and ``--prepare`` makes them whole.

The copy stays as mariadb-backup wrote it; all checking is done on a clone. A clone that was not prepared
starts and looks right, but misses what was committed during the copy: only the word ``log-applied`` in
``xtrabackup_checkpoints`` tells that it was.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.errors import CopyError, ValidationError
from tasks.platform.files import PRIVATE_FILE
from tasks.platform.processes import run
from tasks.records import Finding, Progress
from tasks.sources.mariadb.connection import Login, defaults_file, tool_cause
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import DATA, CopyRecord
from tasks.sources.mariadb.scratch import READY, fresh_data
from tasks.sources.shared.folders import Growth, close_to_others
from tasks.sources.shared.odbc import fetch

# Of the copy's own settings only those that its files need; another might lead out of the folder.
_NEEDED = (
    "innodb_page_size",
    "innodb_data_file_path",
    "innodb_undo_tablespaces",
    "innodb_checksum_algorithm",
)
_NOT_COPIED = re.compile(
    r"(ib_logfile\d+|ibtmp.*|.*\.(pid|err|sock)|.*-bin\..*|.*relay.*|multi-master.info)$"
)
_OPTIONS = (
    # Milliseconds between looks at the log. At the end commits wait for the next look: by default a second.
    "--log-copy-interval=50",
    # It holds every table's file open at once.
    "--open-files-limit=65535",
)
OUTSIDE_HINT = "Use `method: dump` for this server, or move the table into the data folder."


def settings_of(data: Path) -> list[str]:
    """The arguments a server needs for the data folder of a copy. Raises ValidationError."""
    try:
        lines = (data / "backup-my.cnf").read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise ValidationError(
            f"cannot open the copy: backup-my.cnf cannot be read ({error.strerror})",
            hint="The copy is not whole: restore it again, or take an older backup.",
        ) from error
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    held = {name.strip(): value.strip() for name, value in pairs}
    if re.search(r"[/\\]", held.get("innodb_data_file_path", "")):
        raise ValidationError(
            "cannot open the copy: its settings lead out of its folder", hint="Do not use this copy."
        )
    return ["--skip-grant-tables", *(f"--{name}={held[name]}" for name in _NEEDED if name in held)]


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


def back_up(login: Login, programs: Programs, data: Path, total: int, progress: Progress) -> dict[str, int]:
    """Copy the running server into ``data``; each file below it with its size in bytes. Raises CopyError."""
    program = programs.matching("mariadb-backup", "mariabackup")
    growth = Growth(data, total, progress)
    with defaults_file(login) as defaults:
        command: list[str | Path] = [
            program,
            f"--defaults-file={defaults}",
            "--backup",
            f"--target-dir={data}",
            *_OPTIONS,
        ]
        ended = run(command, watch=growth)
    # Its exit status alone has been 0 for copies that were cut off.
    if ended.code != 0 or "completed OK!" not in ended.err:
        cause = tool_cause(ended.err)
        raise CopyError(
            f"cannot copy the database server at {login.place} to {data}: {cause.text} "
            f"(mariadb-backup ended with status {ended.code})",
            hint=cause.hint,
            permanent=cause.permanent,
        )
    if outside(data):
        raise CopyError(
            f"cannot use the copy of {login.place}: table {outside(data)[0]} lies outside the data folder",
            hint=OUTSIDE_HINT,
            permanent=True,
        )
    close_to_others(data)
    growth.end()
    return {path.relative_to(data).as_posix(): path.stat().st_size for path in _files_below(data)}


def complete(copy: Path, record: CopyRecord) -> Finding:
    """Whether the copy holds the files that mariadb-backup wrote, each of its size, and no others."""
    data = copy / DATA
    found = {path.relative_to(data).as_posix(): path.stat().st_size for path in _files_below(data)}
    for name in sorted({*found, *record.files}):
        if found.get(name) == record.files.get(name):
            continue
        detail = f"{name} has {found.get(name, 0)} bytes, written were {record.files.get(name, 0)}"
        return Finding(check="copy complete", passed=False, detail=detail)
    # An empty or foreign record would be met by an empty folder.
    whole = "xtrabackup_checkpoints" in found and "mysql/proc.frm" in found
    detail = f"{len(found)} files" if whole else "it holds no data folder of a server"
    return Finding(check="copy complete", passed=whole, detail=detail)


def prepare_clone(programs: Programs, copy: Path, scratch: Path) -> None:
    """Clone the copy's data folder into ``scratch`` and prepare it. Raises ValidationError."""
    fresh_data(scratch)
    clone(copy / DATA, scratch / DATA)
    prepare(programs, scratch / DATA)
    (scratch / READY).touch(PRIVATE_FILE)


def clone(source: Path, target: Path) -> None:
    """Copy a data folder, private to its owner. Raises ValidationError."""
    if source.is_dir() and outside(source):
        raise ValidationError(
            f"cannot clone the copy: {outside(source)[0]} lies outside its folder",
            hint="Do not use this copy.",
        )
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
        close_to_others(target)
    except (OSError, shutil.Error) as error:
        cause = getattr(error, "strerror", None) or "not all files could be copied"
        raise ValidationError(
            f"cannot clone the copy into {target}: {cause}",
            hint="Check the free space of that folder, and that the copy is whole.",
        ) from error


def prepare(programs: Programs, data: Path) -> None:
    """Apply the copied log to the copied files, in place. Raises ValidationError, ProgramError."""
    program = programs.matching("mariadb-backup", "mariabackup")
    settings_of(data)
    # Named outright, so that the machine's own configuration is never read.
    ended = run([program, f"--defaults-file={data / 'backup-my.cnf'}", "--prepare", f"--target-dir={data}"])
    if ended.code != 0 or "completed OK!" not in ended.err:
        raise ValidationError(
            f"cannot prepare the copy: mariadb-backup ended with status {ended.code}",
            hint="The copy is damaged, or the disk is full: take an older backup if there is room.",
        )
    require_prepared(data)


def require_prepared(data: Path) -> None:
    """Raises ValidationError where the log was not applied to this data folder."""
    try:
        told = (data / "xtrabackup_checkpoints").read_text("utf-8", "replace")
    except OSError:
        told = ""
    if not re.search(r"^backup_type = log-applied$", told, re.MULTILINE):
        raise ValidationError(
            "cannot open the copy: its log was not applied",
            hint="Prepare a fresh clone of the copy (mariadb-backup --prepare); never start one without it.",
        )


def pages(programs: Programs, data: Path) -> list[Finding]:
    """The checksum of every page of every InnoDB table, by innochecksum on a stopped, prepared clone."""
    # Not ibdata1: innochecksum takes the pages of its doublewrite buffer for wrong ones (MDEV-37138). The
    # server checks its pages when it starts and reads them.
    program = programs.find("innochecksum")
    files = sorted([*data.glob("*/*.ibd"), *data.glob("undo0*")])
    bad = [file for file in files if not file.stat().st_size or run([program, file]).code != 0]
    findings = [
        Finding(
            check="pages",
            passed=False,
            detail="pages with a wrong checksum, or cut off",
            table=f"{file.parent.name}/{file.stem}",
        )
        for file in bad
    ]
    return findings or [Finding(check="pages", passed=True, detail=f"{len(files)} files, every page checked")]


def dictionary(connection: Any, data: Path) -> list[Finding]:
    """Whether each table InnoDB knows has its definition and its data: without, it isn't even listed."""
    rows = fetch(connection, "SELECT NAME, SPACE FROM information_schema.INNODB_SYS_TABLES")
    findings = []
    for name, space in rows:
        if "/" not in name or re.search(r"/(#sql|FTS_)", name):
            continue
        base = re.split(r"#[Pp]#", name)[0]
        for file in [f"{base}.frm", *([f"{name}.ibd"] if space else [])]:
            if not (data / file).is_file():
                detail = f"{file} is missing"
                findings.append(Finding(check="dictionary", passed=False, detail=detail, table=base))
    return findings or [
        Finding(check="dictionary", passed=True, detail=f"{len(rows)} entries, all with files")
    ]


def _inside(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file() and not _NOT_COPIED.match(path.name))


def _databases(data: Path) -> Iterator[Path]:
    return (path for path in data.iterdir() if path.is_dir() and not path.name.startswith("#"))


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
