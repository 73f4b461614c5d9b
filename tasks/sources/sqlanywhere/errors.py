"""What the exit codes of SAP's SQL Anywhere tools and the SQLSTATEs of its driver mean.

The codes are those of SAP's documentation, "Software component exit codes"; all tools share them. What tools
and driver print is in the language of the installation and may quote rows: it is neither read nor handed on.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.errors import Fault, SourceError, SourceMissing
from tasks.platform.system_errors import ended_by_system
from tasks.sources.shared.odbc import sqlstate

DONE = 0
CANNOT_CONNECT = 9
NOT_RUNNING = 10
SERVER_NOT_FOUND = 11
ABSENT = frozenset({NOT_RUNNING, SERVER_NOT_FOUND})
"""Codes that say: there is nothing of that name to talk to."""


FAULTS: dict[int, Fault[SourceError]] = {
    1: Fault(
        SourceError,
        "the tool reports a general failure",
        "Look into the engine's messages at the time of this run, then run the backup again.",
        permanent=False,
    ),
    2: Fault(
        SourceError,
        "data or a file's format is not valid",
        "The database may be damaged. Run the practice program's own database check today.",
    ),
    3: Fault(
        SourceError,
        "a file could not be read or written",
        "Check the free space and the rights of the staging folder, also for a virus scanner that blocks it.",
        permanent=False,
    ),
    4: Fault(
        SourceError,
        "there was not enough memory",
        "Close programs on this machine, or run the backup in quiet hours.",
        permanent=False,
    ),
    5: Fault(SourceError, "somebody stopped it", "Run the backup again.", permanent=False),
    6: Fault(
        SourceError,
        "the communication with the engine broke off",
        "See whether the engine still runs and whether anything interrupts its connections.",
        permanent=False,
    ),
    7: Fault(
        SourceError,
        "no database is named",
        "Set `dsn`, or `server` and `database_name`, under `source` in the plan.",
    ),
    8: Fault(
        SourceError,
        "tool and engine are of versions that do not understand each other",
        "Set `version` and `install` under `source` in the plan to the installation whose engine is running.",
    ),
    9: Fault(
        SourceError,
        "the connection was refused",
        "Check `user` and `password` in the plan, whether the account is locked or its password has expired, "
        "and whether the engine has a free connection.",
    ),
    10: Fault(
        SourceMissing,
        "the database is not running",
        "Start the database, and check `database_name` or the DSN in the plan.",
        permanent=False,
    ),
    11: Fault(
        SourceMissing,
        "the engine was not found",
        "Start the engine, and check `server` or the DSN in the plan. This must run on the computer that "
        "runs the database.",
        permanent=False,
    ),
    12: Fault(
        SourceError,
        "the database is encrypted and its key is missing or wrong",
        "Datasave has no option for such a key: have the DSN supply it, or ask the practice program's maker.",
    ),
    13: Fault(
        SourceError,
        "the engine is older than the database wants",
        "Set `version` and `install` under `source` in the plan to the newer installation, or upgrade it.",
    ),
    14: Fault(
        SourceError,
        "the file is not a database",
        "Whatever lies there is damaged or something else. Take another copy, or go back to an older backup.",
    ),
    15: Fault(
        SourceError,
        "the transaction log is missing or does not belong to the database",
        "Put the log of the same copy beside the database file; never one of another day.",
    ),
    16: Fault(
        SourceError,
        "a file is in use by another program",
        "Find out which program holds it: a second engine, a virus scanner, another backup.",
        permanent=False,
    ),
    17: Fault(
        SourceError,
        "the engine met a fatal error, usually an assertion about damaged pages",
        "Take the newest good backup in hand now, and have the database looked at today.",
    ),
    18: Fault(
        SourceError,
        "the engine's licence is missing",
        "Install the licence (dblic), or use an installation that has one.",
    ),
    19: Fault(
        SourceError,
        "a synchronization was aborted",
        "Wait until the synchronization has ended, then run the backup again.",
        permanent=False,
    ),
    20: Fault(
        SourceError,
        "access was denied: the account may not do this",
        "Grant it what `datasave doctor --grants` prints.",
    ),
    21: Fault(
        SourceError,
        "an engine of the same name runs already",
        "Run it again: every scratch engine gets a new name.",
        permanent=False,
    ),
    255: Fault(
        SourceError,
        "the tool did not understand its options",
        "Set `version` and `install` under `source` in the plan to what is really installed.",
    ),
}


_STATES: dict[str, Fault[SourceError]] = {
    "08001": Fault(
        SourceMissing,
        "the engine does not answer",
        "Start the engine, and check `dsn` or `server` in the plan.",
        permanent=False,
    ),
    "IM002": Fault(
        SourceMissing,
        "the DSN or the driver is not known to ODBC",
        "Check `dsn` in the plan. It must be a system DSN, or one of the account that runs Datasave.",
        permanent=False,
    ),
    "28000": Fault(
        SourceError,
        "user or password were refused",
        "Check `user` and `password` in the plan, and whether the account is locked.",
    ),
    "01000": Fault(
        SourceError,
        "the driver cannot be loaded",
        "On Linux start Datasave from a shell that has run `. bin64/sa_config.sh` of the installation.",
    ),
    "42000": Fault(
        SourceError,
        "the account may not do this",
        "Grant it what `datasave doctor --grants` prints.",
    ),
}

_UNKNOWN_STATE = Fault(
    SourceError, "ODBC refused", "Try the same connection with SAP's own tools, such as dbisql."
)


def fault_of(code: int) -> Fault[SourceError]:
    """What an exit code other than 0 means; also for codes that nobody has written down."""
    if code in FAULTS:
        return FAULTS[code]
    if cause := ended_by_system(code):
        return Fault(SourceError, cause, "Run the backup again.", permanent=False)
    return Fault(
        SourceError,
        "this code is not one that SAP lists",
        "Look into the engine's messages at the time of this run. Until then this counts as a failure.",
    )


def cause_of(program: str, code: int) -> str:
    """The cause with program and code, for messages and findings: "<cause> (dbvalid ended with code 9)"."""
    return f"{fault_of(code).cause}{_ended(program, code)}"


def failure(operation: str, program: str, code: int, kind: type[SourceError]) -> SourceError:
    """The error for a tool that ended with ``code``: SourceMissing where nothing answers, else ``kind``."""
    fault = fault_of(code)
    if fault.kind is not SourceMissing:
        fault = replace(fault, kind=kind)
    return fault.error(operation, _ended(program, code))


def state_of(error: Exception) -> str:
    """ODBC's five-letter SQLSTATE, or the exception's class. A driver's own text may quote rows."""
    state = sqlstate(error)
    return f"SQLSTATE {state}" if state else type(error).__name__


def odbc_failure(operation: str, error: Exception) -> SourceError:
    """The error for a connection that ODBC refused, by its SQLSTATE alone."""
    return _STATES.get(sqlstate(error), _UNKNOWN_STATE).error(operation, f" ({state_of(error)})")


def _ended(program: str, code: int) -> str:
    return f" ({program} ended with code {code})"
