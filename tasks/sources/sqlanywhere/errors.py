"""What the exit codes of SAP's SQL Anywhere tools mean, in words that say what to do.

The codes are those of SAP's documentation, "Software component exit codes"; all tools share them. What the
tools print is in the language of the installation and may quote rows: it is neither read nor handed on.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.errors import SourceError, SourceMissing

DONE = 0
CANNOT_CONNECT = 9
NOT_RUNNING = 10
SERVER_NOT_FOUND = 11
ABSENT = frozenset({NOT_RUNNING, SERVER_NOT_FOUND})
"""Codes that say: there is nothing of that name to talk to."""


@dataclass(frozen=True)
class Meaning:
    """Why a tool ended with a code, what to do, and whether the same again may well work."""

    cause: str
    hint: str
    permanent: bool = True


MEANINGS = {
    1: Meaning(
        "the tool reports a general failure",
        "Look into the engine's messages at the time of this run, then run the backup again.",
        permanent=False,
    ),
    2: Meaning(
        "data or a file's format is not valid",
        "The database may be damaged. Run the practice program's own database check today.",
    ),
    3: Meaning(
        "a file could not be read or written",
        "Check the free space and the rights of the staging folder, also for a virus scanner that blocks it.",
        permanent=False,
    ),
    4: Meaning(
        "there was not enough memory",
        "Close programs on this machine, or run the backup in quiet hours.",
        permanent=False,
    ),
    5: Meaning("somebody stopped it", "Run the backup again.", permanent=False),
    6: Meaning(
        "the communication with the engine broke off",
        "See whether the engine still runs and whether anything interrupts its connections.",
        permanent=False,
    ),
    7: Meaning(
        "no database is named",
        "Set `dsn`, or `server` and `database_name`, under `source` in the plan.",
    ),
    8: Meaning(
        "tool and engine are of versions that do not understand each other",
        "Set `version` and `install` under `source` in the plan to the installation whose engine is running.",
    ),
    9: Meaning(
        "the connection was refused",
        "Check `user` and `password` in the plan, whether the account is locked or its password has expired, "
        "and whether the engine has a free connection.",
    ),
    10: Meaning(
        "the database is not running",
        "Start the database, and check `database_name` or the DSN in the plan.",
        permanent=False,
    ),
    11: Meaning(
        "the engine was not found",
        "Start the engine, and check `server` or the DSN in the plan. This must run on the computer that "
        "runs the database.",
        permanent=False,
    ),
    12: Meaning(
        "the database is encrypted and its key is missing or wrong",
        "Datasave has no option for such a key: have the DSN supply it, or ask the practice program's maker.",
    ),
    13: Meaning(
        "the engine is older than the database wants",
        "Set `version` and `install` under `source` in the plan to the newer installation, or upgrade it.",
    ),
    14: Meaning(
        "the file is not a database",
        "Whatever lies there is damaged or something else. Take another copy, or go back to an older backup.",
    ),
    15: Meaning(
        "the transaction log is missing or does not belong to the database",
        "Put the log of the same copy beside the database file; never one of another day.",
    ),
    16: Meaning(
        "a file is in use by another program",
        "Find out which program holds it: a second engine, a virus scanner, another backup.",
        permanent=False,
    ),
    17: Meaning(
        "the engine met a fatal error, usually an assertion about damaged pages",
        "Take the newest good backup in hand now, and have the database looked at today.",
    ),
    18: Meaning(
        "the engine's licence is missing",
        "Install the licence (dblic), or use an installation that has one.",
    ),
    19: Meaning(
        "a synchronization was aborted",
        "Wait until the synchronization has ended, then run the backup again.",
        permanent=False,
    ),
    20: Meaning(
        "access was denied: the account may not do this",
        "Grant it what `datasave doctor --grants` prints.",
    ),
    21: Meaning(
        "an engine of the same name runs already",
        "Run it again: every scratch engine gets a new name.",
        permanent=False,
    ),
    255: Meaning(
        "the tool did not understand its options",
        "Set `version` and `install` under `source` in the plan to what is really installed.",
    ),
}


def meaning_of(code: int) -> Meaning:
    """What an exit code other than 0 means; also for codes that nobody has written down."""
    if code in MEANINGS:
        return MEANINGS[code]
    if code > 128:
        return Meaning(f"signal {code - 128} ended it", "Run the backup again.", permanent=False)
    return Meaning(
        "this code is not one that SAP lists",
        "Look into the engine's messages at the time of this run. Until then this counts as a failure.",
    )


def cause_of(program: str, code: int) -> str:
    """The cause with program and code, for messages and findings: "…: <cause> (dbvalid ended with 9)"."""
    return f"{meaning_of(code).cause} ({program} ended with code {code})"


def failure(operation: str, program: str, code: int, kind: type[SourceError]) -> SourceError:
    """The error for a tool that ended with ``code``: SourceMissing where nothing answers, else ``kind``."""
    meaning = meaning_of(code)
    chosen = SourceMissing if code in ABSENT else kind
    message = f"{operation}: {cause_of(program, code)}"
    return chosen(message, hint=meaning.hint, permanent=meaning.permanent)
