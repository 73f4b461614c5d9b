"""The programs' exit codes, and the one exception of the stand-in that carries them."""

from __future__ import annotations

OK = 0
GENERAL = 1
BAD_DATA = 2
FILE = 3
MEMORY = 4
USER_BREAK = 5
COMMUNICATIONS = 6
NO_DATABASE_NAME = 7
PROTOCOL = 8
UNABLE_TO_CONNECT = 9
DATABASE_NOT_RUNNING = 10
SERVER_NOT_FOUND = 11
ENCRYPTION_KEY = 12
SERVER_TOO_OLD = 13
NOT_A_DATABASE = 14
LOG = 15
FILE_IN_USE = 16
FATAL = 17
LICENCE = 18
SYNC_ABORTED = 19
ACCESS_DENIED = 20
NAME_IN_USE = 21
USAGE = 255

# What ODBC says for a refused connection or statement: SQLSTATE and SQLCODE.
STATES = {
    UNABLE_TO_CONNECT: ("08001", -308),
    DATABASE_NOT_RUNNING: ("08001", -83),
    SERVER_NOT_FOUND: ("08001", -100),
    ACCESS_DENIED: ("42000", -121),
    COMMUNICATIONS: ("08S01", -85),
}


class Failure(Exception):
    """What went wrong, with the exit code that a program ends with for it."""

    def __init__(self, code: int, message: str, state: str = "", native: int = 0) -> None:
        super().__init__(message)
        known = STATES.get(code, ("HY000", -86))
        self.code = code
        self.message = message
        self.state = state or known[0]
        self.native = native or known[1]


def wrong_password() -> Failure:
    return Failure(UNABLE_TO_CONNECT, "Invalid user ID or password", "28000", -103)


def denied(what: str) -> Failure:
    return Failure(ACCESS_DENIED, f"Permission denied: you do not have permission to {what}")


def usage(message: str) -> Failure:
    return Failure(USAGE, f"{message}\nUsage: see the manual")
