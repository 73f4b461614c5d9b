"""Log backups: what changed between two full copies, as a chain without gaps.

A log backup copies the live log and renames it on the server, where a new one begins (dbbackup -t -r -n;
never -x or -xo, which delete). The next one therefore starts at the offset where the last one ended; dblog
tells both. Chains are ordered by offset, never by date or name: a wrong order rolls back what spans two logs.

A full copy leaves the live log alone. The first log backup after it therefore begins where the full copy's
own log begins, and holds all of it: it is applied in its stead, never one after the other. All logs are
applied in one run of the engine (-ad), so that transactions may span them.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tasks.errors import CopyError, SourceError
from tasks.platform.files import PRIVATE_FILE, private_folder, sync_folder
from tasks.platform.mounts import refuse_network
from tasks.platform.processes import run
from tasks.sources.shared.folders import copy_whole
from tasks.sources.sqlanywhere.connection import Client
from tasks.sources.sqlanywhere.copy import CopyRecord, back_up
from tasks.sources.sqlanywhere.errors import DONE, failure
from tasks.sources.sqlanywhere.programs import Install
from tasks.sources.sqlanywhere.scratch import start_command

APPLIED = "applied-logs"
ASIDE = "own-log"
_LOOK_SECONDS = 600.0
_APPLY_SECONDS = 24 * 3600.0
_NAME_DIGITS = 20


@dataclass(frozen=True)
class LogFile:
    """A log and the offsets where it begins and ends, as dblog tells them."""

    path: Path
    start: int
    end: int


def back_up_log(client: Client, folder: Path) -> LogFile:
    """Add the log since the last log backup to ``folder``, named by its offset.

    Raises CopyError, also where the chain has a gap: then the new log is kept and begins another chain.
    """
    refuse_network(folder)
    private_folder(folder)
    chain = chain_of(client.install, folder)
    room = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        back_up(client, room / "log", lambda: None, options=("-t", "-r", "-n"))
        log = read_log(client.install, _only_log(room / "log"))
        kept = _keep(log, folder)
    except OSError as error:
        raise CopyError(
            f"cannot keep the log backup in {folder}: {error.strerror}",
            hint="The renamed log still lies beside the live one on this machine. Make a full backup now.",
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)
    if chain and kept.start != chain[-1].end:
        raise CopyError(
            f"the log backup begins at offset {kept.start}, the one before ended at {chain[-1].end}",
            hint="Something else renamed or deleted the live log in between. Make a full backup now: from "
            "it on the chain is whole again.",
            permanent=True,
        )
    return kept


def chain_of(install: Install, folder: Path) -> list[LogFile]:
    """The logs in ``folder``, by offset. Raises SourceError where one cannot be read."""
    return sorted(
        (read_log(install, path) for path in folder.glob("*.log")), key=lambda log: (log.start, log.end)
    )


def read_log(install: Install, path: Path) -> LogFile:
    """A log's offsets, from dblog. Raises SourceError where it is no log."""
    ended = run([install.program("dblog"), path], environment=install.environment, seconds=_LOOK_SECONDS)
    if ended.code != DONE:
        raise failure(f"cannot read the log {path.name}", "dblog", ended.code, SourceError)
    offsets = parse_offsets(ended.out, path, path.stat().st_size)
    if offsets is None:
        raise SourceError(
            f"dblog does not tell the offsets of {path.name} in a form that is known",
            hint="Run `datasave doctor --conformance` and report what it finds.",
        )
    return LogFile(path, *offsets)


def parse_offsets(text: str, path: Path, size: int) -> tuple[int, int] | None:
    """Start and end offset out of dblog's words, which are in the installation's language.

    Only numbers of at least ten digits are read: the start, then how far the log reaches from there, or
    where it ends. A log cannot reach farther than its ``size`` in bytes, which tells the two apart.
    """
    # The file's own path may hold long numbers.
    numbers = re.findall(r"(?<!\w)\d{10,}(?!\w)", text.replace(str(path), "").replace(path.name, ""))
    if len(numbers) < 2:
        return None
    start, second = int(numbers[0]), int(numbers[1])
    if second <= size:
        return start, start + second
    return (start, second) if 0 <= second - start <= size else None


def following(own: LogFile, chain: Sequence[LogFile]) -> list[LogFile]:
    """The logs to apply to a full copy with the log ``own``, to go on where that ends; itself where needed.

    Empty where ``chain`` holds nothing newer. Raises SourceError where there is a gap.
    """
    newer = [log for log in chain if log.end > own.end]
    if not newer:
        return []
    # Else the first of them is a later state of the same log.
    logs = newer if newer[0].start == own.start else [own, *newer]
    for before, log in itertools.pairwise(logs):
        if log.start != before.end:
            raise SourceError(
                f"the chain of logs has a gap: {log.path.name} begins at {log.start}, "
                f"{before.path.name} ends at {before.end}",
                hint="Find the log in between (the server keeps renamed logs beside the live one), or "
                "restore without later logs.",
            )
    return logs


def apply_logs(install: Install, record: CopyRecord, restored: Path, logs: Path) -> list[LogFile]:
    """Apply to the database restored in ``restored`` the logs in ``logs`` that follow it; those applied.

    They stay in ``applied-logs`` beside the database; its own log lies there too, or in ``own-log``.
    Raises SourceError: then the folder holds a database in between, and must be thrown away.
    """
    own = read_log(install, restored / record.log)
    chosen = following(own, chain_of(install, logs))
    if not chosen:
        return []
    place, aside = private_folder(restored / APPLIED), private_folder(restored / ASIDE)
    try:
        own.path.rename((place if own in chosen else aside) / own.path.name)
        for log in chosen:
            if log is not own:
                copy_whole(log.path, place / _name_of(log))
    except OSError as error:
        raise SourceError(
            f"cannot put the logs into {place}: {error.strerror}",
            hint="Check the free space there, and restore into a new folder.",
        ) from error
    _apply(install, record, restored, place)
    return chosen


def _apply(install: Install, record: CopyRecord, restored: Path, place: Path) -> None:
    """Run an engine that applies every log in ``place`` by offset and ends."""
    command = start_command(install, f"ds_{uuid4().hex}", restored / record.database)
    environment = install.environment
    ended = run([*command, "-ad", place], environment=environment, folder=restored, seconds=_APPLY_SECONDS)
    if ended.code != DONE:
        operation = f"cannot apply the logs to {record.database}"
        raise failure(operation, install.engine.stem, ended.code, SourceError)


def _only_log(folder: Path) -> Path:
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1 or not files[0].stat().st_size:
        raise CopyError(
            f"dbbackup reported success, but left {len(files)} files where one log was due",
            hint="Look whether the disk is full or a virus scanner takes files away. Make a full backup now.",
        )
    return files[0]


def _keep(log: LogFile, folder: Path) -> LogFile:
    """Move a new log into ``folder`` under its offset; it never takes another's place."""
    target = folder / _name_of(log)
    if target.exists():
        raise CopyError(
            f"{target} is there already, and the new log begins at the same offset",
            hint="Move the older one elsewhere: it is of another database, or of a time before a restore.",
            permanent=True,
        )
    log.path.chmod(PRIVATE_FILE)
    with log.path.open("r+b") as stream:
        os.fsync(stream.fileno())
    log.path.rename(target)
    sync_folder(folder)
    return LogFile(target, log.start, log.end)


def _name_of(log: LogFile) -> str:
    return f"{log.start:0{_NAME_DIGITS}d}.log"
