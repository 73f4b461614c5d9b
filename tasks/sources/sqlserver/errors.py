"""What SQL Server's error numbers mean to a practice: one clear line and a hint for each.

The numbers and their meanings are those of Microsoft's list of database engine events and errors. The
server's own texts are never handed on: they quote rows (2627 gives the duplicate key), in its own language.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tasks.errors import Fault, SourceError, SourceMissing
from tasks.sources.shared.odbc import sqlstate

_NUMBER = re.compile(r"\((\d+)\)(?=\s*(?:\(SQL\w+\))?\s*(?:;|$))")
_SYSTEM_NUMBER = re.compile(r"[Oo]perating system error (\d+)|: (\d+)\(")


_FOLDER = "Let the account that the SQL Server service runs as write to `backup_folder` and read from it."
_ROOM = "Free some space on the server's disk, or set `backup_folder` to a larger one."
RIGHTS = "Run what `datasave doctor --grants` prints, as an administrator of the SQL Server."
_SIGN_IN = "Check `user` and `password` in the plan, and that the server lets SQL Server logins in."
_OLDER = "The backup is damaged there: restore it again from the archive, or take an older one."
_DISK = (
    "The database itself is damaged: have DBCC CHECKDB run today, keep every older backup, and have the disk "
    "looked at."
)
_AGAIN = "Look whether the SQL Server service runs, then run the backup again."
_LOST = "the connection to the server was lost"
CONNECTION_LOST = "08S01"

FAULTS: dict[int, Fault[SourceError]] = {
    18456: Fault(SourceError, "the server refuses the login", _SIGN_IN),
    18452: Fault(
        SourceError,
        "the server does not trust this Windows account",
        "Give `user` and `password` in the plan.",
    ),
    18470: Fault(
        SourceError, "the login is disabled", "Have the administrator enable it: ALTER LOGIN … ENABLE."
    ),
    18486: Fault(
        SourceError, "the login is locked out", "Have it unlocked: ALTER LOGIN … WITH PASSWORD = … UNLOCK."
    ),
    18487: Fault(
        SourceError,
        "the login's password has expired",
        "Set a new one, and put it where the plan looks for it.",
    ),
    18488: Fault(
        SourceError,
        "the login's password must be changed",
        "Change it, and put it where the plan looks for it.",
    ),
    4060: Fault(SourceError, "the login may not open the database, or it is not there", RIGHTS),
    4064: Fault(
        SourceError,
        "the login's default database is not there",
        "ALTER LOGIN … WITH DEFAULT_DATABASE = master.",
    ),
    911: Fault(SourceMissing, "there is no such database", "Check `database` in the plan."),
    916: Fault(SourceError, "the login has no access to the database", RIGHTS),
    262: Fault(SourceError, "the login lacks the right for it", RIGHTS),
    229: Fault(SourceError, "the login may not read a table", RIGHTS),
    300: Fault(SourceError, "the login lacks a right on the server", RIGHTS),
    5011: Fault(SourceError, "the login may not alter the database", RIGHTS),
    7983: Fault(SourceError, "the login may not run DBCC CHECKDB", RIGHTS),
    15151: Fault(SourceError, "the login lacks the right for it", RIGHTS),
    15247: Fault(SourceError, "the login lacks the right for it", RIGHTS),
    3201: Fault(SourceError, "the server cannot open the file in the backup folder", _FOLDER),
    3202: Fault(SourceError, "the server could not write the backup", _ROOM, permanent=False),
    3203: Fault(SourceError, "the backup ends too early or cannot be read", _OLDER),
    3257: Fault(SourceError, "the server's disk has no room for the restored database", _ROOM),
    5133: Fault(SourceError, "the server cannot find the folder for the restored database", _FOLDER),
    5123: Fault(SourceError, "the server cannot make the files of the restored database", _FOLDER),
    5149: Fault(SourceError, "the server's disk filled up", _ROOM),
    1101: Fault(SourceError, "the server's disk filled up", _ROOM),
    1105: Fault(SourceError, "the server's disk filled up", _ROOM),
    1827: Fault(
        SourceError,
        "the restored database is larger than this edition of SQL Server allows",
        "Name an instance without that limit as `scratch_server`, such as a Developer edition.",
    ),
    1834: Fault(SourceError, "a file of that name is in use by another database", "Run the backup again."),
    3013: Fault(
        SourceError, "the server ended it before it was finished", "See the server's error log for the cause."
    ),
    3021: Fault(SourceError, "the server had a transaction open", "Report this: it should not happen."),
    3023: Fault(
        SourceError,
        "another backup of this database is under way",
        "Let it finish, and set the schedules some time apart.",
        permanent=False,
    ),
    3041: Fault(
        SourceError,
        "the server ended the backup",
        "See the server's error log for the cause.",
        permanent=False,
    ),
    3043: Fault(SourceError, "the server found a damaged page in the database", _DISK),
    823: Fault(SourceError, "the server cannot read a page of the database", _DISK),
    824: Fault(SourceError, "a page of the database is damaged", _DISK),
    3159: Fault(SourceError, "a database of that name exists already", "Report this: it should not happen."),
    3154: Fault(SourceError, "a database of that name exists already", "Report this: it should not happen."),
    3169: Fault(
        SourceError,
        "the backup was made by a newer SQL Server",
        "Name a server that is at least as new as the one it is of.",
    ),
    3183: Fault(SourceError, "a page in the backup is damaged", _OLDER),
    3187: Fault(SourceError, "the backup holds no checksums", _OLDER),
    3189: Fault(SourceError, "the backup is damaged", _OLDER),
    3241: Fault(SourceError, "the file is not a backup, or its beginning is damaged", _OLDER),
    3242: Fault(SourceError, "the file is not a backup, or its header is damaged", _OLDER),
    3266: Fault(SourceError, "the backup is damaged", _OLDER),
    33111: Fault(
        SourceError,
        "the database was encrypted, and the server has no certificate for it",
        "Restore the certificate on that server first (CREATE CERTIFICATE … FROM FILE).",
    ),
    12824: Fault(
        SourceError,
        "the server does not allow contained databases",
        "Allow them: EXEC sp_configure 'contained database authentication', 1; RECONFIGURE.",
    ),
    3702: Fault(SourceError, "the database is in use", "Run the backup again.", permanent=False),
    924: Fault(
        SourceError,
        "the database is in single-user mode",
        "Wait until the work on it is done, or set it MULTI_USER.",
        permanent=False,
    ),
    927: Fault(SourceError, "the database is being restored", "Wait until that is done.", permanent=False),
    942: Fault(
        SourceError, "the database is offline", "Bring it online, then run the backup again.", permanent=False
    ),
    945: Fault(
        SourceError, "the server could not start the database", "See the server's error log for the cause."
    ),
    1205: Fault(
        SourceError, "the server chose it to resolve a deadlock", "Run the backup again.", permanent=False
    ),
    9002: Fault(
        SourceError,
        "the log of the database is full",
        "Back up or enlarge the log, as its recovery model wants.",
    ),
    102: Fault(
        SourceError, "the server does not know the statement", "Check that it is SQL Server 2012 or newer."
    ),
    155: Fault(
        SourceError, "the server does not know an option of the statement", "Check that it is 2012 or newer."
    ),
    1844: Fault(SourceError, "this edition of SQL Server cannot do it", "Report this, with the edition."),
    20009: Fault(SourceError, "the server does not answer", _AGAIN, permanent=False),
    20017: Fault(SourceError, _LOST, _AGAIN, permanent=False),
}

_SYSTEM_FAULTS: dict[int, Fault[SourceError]] = {
    2: Fault(
        SourceError,
        "the server cannot find the file in the backup folder",
        "Check `server_folder` in the plan.",
    ),
    3: Fault(
        SourceError, "the backup folder does not exist for the server", "Check `server_folder` in the plan."
    ),
    5: Fault(SourceError, "the server may not use the backup folder", _FOLDER),
    32: Fault(
        SourceError,
        "another program holds the file in the backup folder",
        "Except `backup_folder` from the virus scanner, then run the backup again.",
        permanent=False,
    ),
    112: Fault(SourceError, "the server's disk is full", _ROOM),
}

_STATE_FAULTS: dict[str, Fault[SourceError]] = {
    "08": Fault(SourceError, _LOST, _AGAIN, permanent=False),
    "HYT": Fault(SourceError, "the server did not answer in time", _AGAIN, permanent=False),
    "HY008": Fault(SourceError, "it was cancelled", "Run it again.", permanent=False),
}

# What is wrong with the server, its disk or our rights there; never the copy's fault.
ENVIRONMENT = frozenset(
    {18456, 4060, 911, 916, 262, 229, 300, 5011, 7983, 15151, 15247, 3201, 3202, 3257, 5123, 5133, 5149}
    | {1101, 1105, 1827, 1834, 3021, 3169, 3702, 12824, 33111, 20009, 20017, 102, 155}
)


class SqlError(Exception):
    """An error of the server or the driver: its numbers and its SQLSTATE, never its text."""

    def __init__(self, state: str, numbers: tuple[int, ...], system: int = 0) -> None:
        super().__init__(state, numbers, system)
        self.state, self.numbers, self.system = state, numbers, system

    def has(self, *numbers: int) -> bool:
        """Whether any of these is among the error's numbers."""
        return bool(set(numbers) & set(self.numbers))

    @property
    def of_the_copy(self) -> bool:
        """Whether the fault lies in what was being read, not in the server or our rights."""
        return bool(self.numbers) and not self.has(*ENVIRONMENT) and not self.state.startswith(("08", "HYT"))

    @property
    def fault(self) -> Fault[SourceError]:
        """What it means, most telling first: the operating system's number, ours, the SQLSTATE."""
        if self.system in _SYSTEM_FAULTS:
            return _SYSTEM_FAULTS[self.system]
        # 3013 comes with every failed backup, after what really happened.
        for number in sorted(self.numbers, key=lambda number: number == 3013):
            if number in FAULTS:
                return FAULTS[number]
        for start, fault in _STATE_FAULTS.items():
            if self.state.startswith(start):
                return fault
        named = f"SQL Server error {self.numbers[0]}" if self.numbers else f"SQLSTATE {self.state}"
        hint = "Microsoft's list of SQL Server errors explains it; see the server's error log too."
        return Fault(SourceError, named, hint)


def failure(operation: str, error: SqlError, kind: type[SourceError] = SourceError) -> SourceError:
    """The error for a failed ``operation``: SourceMissing where the database is not there, else ``kind``."""
    fault = error.fault
    if fault.kind is not SourceMissing:
        fault = replace(fault, kind=kind)
    return fault.error(operation)


def sql_error(error: Any) -> SqlError:
    """The SqlError for a ``pyodbc.Error``: args are the SQLSTATE and all messages in one text.

    Each message ends in the server's number in brackets. FreeTDS gives the first message alone.
    """
    text = str(error.args[1]) if len(error.args) > 1 else ""
    numbers = tuple(int(number) for number in _NUMBER.findall(text) if int(number))
    system = _SYSTEM_NUMBER.search(text) if {3201, 3202, 5123, 5133} & set(numbers) else None
    return SqlError(sqlstate(error) or "HY000", numbers, int(system[1] or system[2]) if system else 0)
