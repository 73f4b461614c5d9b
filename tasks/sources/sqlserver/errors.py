"""What SQL Server's error numbers mean to a practice: one clear line and a hint for each.

The numbers and their meanings are those of Microsoft's list of database engine events and errors. The
server's own texts are never handed on: they quote rows (2627 gives the duplicate key), in its own language.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_NUMBER = re.compile(r"\((\d+)\)(?=\s*(?:\(SQL\w+\))?\s*(?:;|$))")
_SYSTEM_NUMBER = re.compile(r"[Oo]perating system error (\d+)|: (\d+)\(")


@dataclass(frozen=True)
class Meaning:
    """A cause in a few words, what to do, whether the same may work a little later."""

    cause: str
    hint: str
    permanent: bool = True


_FOLDER = "Let the account that the SQL Server service runs as write to `backup_folder` and read from it."
_ROOM = "Free some space on the server's disk, or set `backup_folder` to a larger one."
_RIGHTS = "Run what `datasave grants` prints, as an administrator of the SQL Server."
_SIGN_IN = "Check `user` and `password` in the plan, and that the server lets SQL Server logins in."
_OLDER = "The backup is damaged there: restore it again from the archive, or take an older one."
_DISK = (
    "The database itself is damaged: have DBCC CHECKDB run today, keep every older backup, and have the disk "
    "looked at."
)
_AGAIN = "Look whether the SQL Server service runs, then run the backup again."
_LOST = "the connection to the server was lost"
CONNECTION_LOST = "08S01"

_MEANINGS: dict[int, Meaning] = {
    18456: Meaning("the server refuses the login", _SIGN_IN),
    18452: Meaning(
        "the server does not trust this Windows account", "Give `user` and `password` in the plan."
    ),
    18470: Meaning("the login is disabled", "Have the administrator enable it: ALTER LOGIN … ENABLE."),
    18486: Meaning("the login is locked out", "Have it unlocked: ALTER LOGIN … WITH PASSWORD = … UNLOCK."),
    18487: Meaning(
        "the login's password has expired", "Set a new one, and put it where the plan looks for it."
    ),
    18488: Meaning(
        "the login's password must be changed", "Change it, and put it where the plan looks for it."
    ),
    4060: Meaning("the login may not open the database, or it is not there", _RIGHTS),
    4064: Meaning(
        "the login's default database is not there", "ALTER LOGIN … WITH DEFAULT_DATABASE = master."
    ),
    911: Meaning("there is no such database", "Check `database` in the plan."),
    916: Meaning("the login has no access to the database", _RIGHTS),
    262: Meaning("the login lacks the right for it", _RIGHTS),
    229: Meaning("the login may not read a table", _RIGHTS),
    300: Meaning("the login lacks a right on the server", _RIGHTS),
    5011: Meaning("the login may not alter the database", _RIGHTS),
    7983: Meaning("the login may not run DBCC CHECKDB", _RIGHTS),
    15151: Meaning("the login lacks the right for it", _RIGHTS),
    15247: Meaning("the login lacks the right for it", _RIGHTS),
    3201: Meaning("the server cannot open the file in the backup folder", _FOLDER),
    3202: Meaning("the server could not write the backup", _ROOM, permanent=False),
    3203: Meaning("the backup ends too early or cannot be read", _OLDER),
    3257: Meaning("the server's disk has no room for the restored database", _ROOM),
    5133: Meaning("the server cannot find the folder for the restored database", _FOLDER),
    5123: Meaning("the server cannot make the files of the restored database", _FOLDER),
    5149: Meaning("the server's disk filled up", _ROOM),
    1101: Meaning("the server's disk filled up", _ROOM),
    1105: Meaning("the server's disk filled up", _ROOM),
    1827: Meaning(
        "the restored database is larger than this edition of SQL Server allows",
        "Name an instance without that limit as `scratch_server`, such as a Developer edition.",
    ),
    1834: Meaning("a file of that name is in use by another database", "Run the backup again."),
    3013: Meaning("the server ended it before it was finished", "See the server's error log for the cause."),
    3021: Meaning("the server had a transaction open", "Report this: it should not happen."),
    3023: Meaning(
        "another backup of this database is under way",
        "Let it finish, and set the schedules some time apart.",
        permanent=False,
    ),
    3041: Meaning(
        "the server ended the backup", "See the server's error log for the cause.", permanent=False
    ),
    3043: Meaning("the server found a damaged page in the database", _DISK),
    823: Meaning("the server cannot read a page of the database", _DISK),
    824: Meaning("a page of the database is damaged", _DISK),
    3159: Meaning("a database of that name exists already", "Report this: it should not happen."),
    3154: Meaning("a database of that name exists already", "Report this: it should not happen."),
    3169: Meaning(
        "the backup was made by a newer SQL Server",
        "Name a server that is at least as new as the one it is of.",
    ),
    3183: Meaning("a page in the backup is damaged", _OLDER),
    3187: Meaning("the backup holds no checksums", _OLDER),
    3189: Meaning("the backup is damaged", _OLDER),
    3241: Meaning("the file is not a backup, or its beginning is damaged", _OLDER),
    3242: Meaning("the file is not a backup, or its header is damaged", _OLDER),
    3266: Meaning("the backup is damaged", _OLDER),
    33111: Meaning(
        "the database was encrypted, and the server has no certificate for it",
        "Restore the certificate on that server first (CREATE CERTIFICATE … FROM FILE).",
    ),
    12824: Meaning(
        "the server does not allow contained databases",
        "Allow them: EXEC sp_configure 'contained database authentication', 1; RECONFIGURE.",
    ),
    3702: Meaning("the database is in use", "Run the backup again.", permanent=False),
    924: Meaning(
        "the database is in single-user mode",
        "Wait until the work on it is done, or set it MULTI_USER.",
        False,
    ),
    927: Meaning("the database is being restored", "Wait until that is done.", permanent=False),
    942: Meaning("the database is offline", "Bring it online, then run the backup again.", permanent=False),
    945: Meaning("the server could not start the database", "See the server's error log for the cause."),
    1205: Meaning("the server chose it to resolve a deadlock", "Run the backup again.", permanent=False),
    9002: Meaning(
        "the log of the database is full", "Back up or enlarge the log, as its recovery model wants."
    ),
    102: Meaning("the server does not know the statement", "Check that it is SQL Server 2012 or newer."),
    155: Meaning("the server does not know an option of the statement", "Check that it is 2012 or newer."),
    1844: Meaning("this edition of SQL Server cannot do it", "Report this, with the edition."),
    20009: Meaning("the server does not answer", _AGAIN, permanent=False),
    20017: Meaning(_LOST, _AGAIN, permanent=False),
}

_SYSTEM_MEANINGS: dict[int, Meaning] = {
    2: Meaning("the server cannot find the file in the backup folder", "Check `server_folder` in the plan."),
    3: Meaning("the backup folder does not exist for the server", "Check `server_folder` in the plan."),
    5: Meaning("the server may not use the backup folder", _FOLDER),
    32: Meaning(
        "another program holds the file in the backup folder",
        "Except `backup_folder` from the virus scanner, then run the backup again.",
        permanent=False,
    ),
    112: Meaning("the server's disk is full", _ROOM),
}

_STATE_MEANINGS: dict[str, Meaning] = {
    "08": Meaning(_LOST, _AGAIN, permanent=False),
    "HYT": Meaning("the server did not answer in time", _AGAIN, permanent=False),
    "HY008": Meaning("it was cancelled", "Run it again.", permanent=False),
}

# What is wrong with the server, its disk or our rights there; never the copy's fault.
ENVIRONMENT = frozenset(
    {18456, 4060, 911, 916, 262, 229, 300, 5011, 7983, 15151, 15247, 3201, 3202, 3257, 5123, 5133, 5149}
    | {1101, 1105, 1827, 1834, 3021, 3169, 3702, 12824, 33111, 20009, 20017, 102, 155}
)


class SqlFault(Exception):
    """An error of the server or the driver: its numbers and its SQLSTATE, never its text."""

    def __init__(self, state: str, numbers: tuple[int, ...], system: int = 0) -> None:
        super().__init__(state, numbers, system)
        self.state, self.numbers, self.system = state, numbers, system

    def has(self, *numbers: int) -> bool:
        """Whether any of these is among the error's numbers."""
        return bool(set(numbers) & set(self.numbers))

    @property
    def of_the_copy(self) -> bool:
        """Whether this speaks against what was being read, rather than against the server or our rights."""
        return bool(self.numbers) and not self.has(*ENVIRONMENT) and not self.state.startswith(("08", "HYT"))

    @property
    def meaning(self) -> Meaning:
        """What it means, most telling first: the operating system's number, ours, the SQLSTATE."""
        if self.system in _SYSTEM_MEANINGS:
            return _SYSTEM_MEANINGS[self.system]
        # 3013 comes with every failed backup, after what really happened.
        for number in sorted(self.numbers, key=lambda number: number == 3013):
            if number in _MEANINGS:
                return _MEANINGS[number]
        for start, meaning in _STATE_MEANINGS.items():
            if self.state.startswith(start):
                return meaning
        named = f"SQL Server error {self.numbers[0]}" if self.numbers else f"SQLSTATE {self.state}"
        return Meaning(
            named, "Microsoft's list of SQL Server errors explains it; see the server's error log too."
        )


def fault_of(error: Any) -> SqlFault:
    """The SqlFault for a ``pyodbc.Error``: args are the SQLSTATE and all messages in one text.

    Each message ends in the server's number in brackets. FreeTDS gives the first message alone.
    """
    arguments = [str(argument) for argument in error.args] + ["", ""]
    state = arguments[0] if re.fullmatch(r"[0-9A-Z]{5}", arguments[0]) else "HY000"
    numbers = tuple(int(number) for number in _NUMBER.findall(arguments[1]) if int(number))
    system = _SYSTEM_NUMBER.search(arguments[1]) if {3201, 3202, 5123, 5133} & set(numbers) else None
    return SqlFault(state, numbers, int(system[1] or system[2]) if system else 0)
