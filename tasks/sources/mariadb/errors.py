"""MariaDB's and MySQL's error numbers in plain words. Their own texts quote accounts and rows.

Numbers: MariaDB's error code reference; 1000–1999 come from the server, 2000–2999 from the client.
"""

from __future__ import annotations

import re

from tasks.errors import CopyError, Fault, SourceError, SourceMissing
from tasks.platform.processes import Ended

DISK_FULL = 28  # the system's ENOSPC


_ACCOUNT = "Check `user` and `password` in the plan, and that the account may come from this machine."
_RIGHTS = "Give the account the rights that `datasave doctor --grants` prints."
_LATER = "Run the backup again when the server is less busy."

_FAULTS: dict[int, Fault[SourceError]] = {
    DISK_FULL: Fault(
        SourceError, "the disk is full", "Free some space there, then run the backup again.", permanent=False
    ),
    1021: Fault(SourceError, "the server's disk is full", "Free some space there.", permanent=False),
    1040: Fault(SourceError, "the server has too many connections", _LATER, permanent=False),
    1044: Fault(
        SourceError,
        "there is no such database, or the account may not use it",
        "Check `database` in the plan. " + _RIGHTS,
    ),
    1045: Fault(SourceError, "access denied: wrong account or password", _ACCOUNT),
    1049: Fault(SourceMissing, "there is no such database", "Check `database` in the plan."),
    1114: Fault(
        SourceError, "a table or the disk is full", "Free some space on the server.", permanent=False
    ),
    1129: Fault(
        SourceError,
        "the server has blocked this machine",
        "Run FLUSH HOSTS on the server, then check the account.",
    ),
    1130: Fault(SourceError, "the server takes no connections from this machine", _ACCOUNT),
    1142: Fault(SourceError, "the account lacks a privilege", _RIGHTS),
    1143: Fault(SourceError, "the account lacks a privilege", _RIGHTS),
    1203: Fault(SourceError, "the account has too many connections", _LATER, permanent=False),
    1205: Fault(SourceError, "another session held a lock for too long", _LATER, permanent=False),
    1213: Fault(SourceError, "the server ended a deadlock", _LATER, permanent=False),
    1226: Fault(SourceError, "the account has used up its resources", _LATER, permanent=False),
    1227: Fault(SourceError, "the account lacks a privilege", _RIGHTS),
    1317: Fault(SourceError, "the statement was interrupted", _LATER, permanent=False),
    1356: Fault(
        SourceError,
        "a view refers to something that no longer exists",
        "Drop or repair the view: a dump cannot hold it.",
    ),
    1370: Fault(SourceError, "the account lacks a privilege", _RIGHTS),
    1412: Fault(
        SourceError,
        "a table was altered meanwhile",
        "Run the backup again when nobody alters tables.",
        permanent=False,
    ),
    1524: Fault(SourceError, "the server lacks the way to authenticate that the account asks for", _ACCOUNT),
    1698: Fault(
        SourceError, "access denied: the account is known by the system's user, not by a password", _ACCOUNT
    ),
    1820: Fault(SourceError, "the account's password has expired", "Set a new one."),
    1862: Fault(SourceError, "the account's password has expired", "Set a new one."),
    1969: Fault(SourceError, "the server took too long to answer", _LATER, permanent=False),
    2002: Fault(
        SourceMissing,
        "no server answers there",
        "Check that the database server runs, and `socket`, `host`, `port` in the plan.",
    ),
    2005: Fault(SourceMissing, "no machine of that name", "Check `host` in the plan."),
    2013: Fault(
        SourceError,
        "the server closed the connection",
        "Check whether it was restarted, then run the backup again.",
        permanent=False,
    ),
    2026: Fault(
        SourceError,
        "no trusted encrypted connection came about",
        "Check `certificate` in the plan, and that the server offers TLS.",
    ),
    2059: Fault(SourceError, "this driver cannot authenticate the way the account asks for", _ACCOUNT),
    3159: Fault(SourceError, "the server wants an encrypted connection", "Set `certificate` in the plan."),
}
_ALSO = {2003: 2002, 1053: 2013, 1927: 2013, 2006: 2013}  # one cause, several numbers

_NO_DRIVER = Fault(
    SourceError,
    'the ODBC driver "MariaDB Unicode" is not installed',
    "Install MariaDB Connector/ODBC (Debian: apt install odbc-mariadb).",
)


def fault_of(code: int, state: str) -> Fault[SourceError]:
    """What an error number, or else an SQLSTATE, means."""
    code = _ALSO.get(code, code)
    if code in _FAULTS:
        return _FAULTS[code]
    if not code and state in ("IM002", "IM003", "01000"):
        return _NO_DRIVER
    what = f"error {code}" if code else f"SQLSTATE {state}" if state else "an error without a number"
    return Fault(
        SourceError,
        f"the database server or its driver reported {what}",
        "Look the number up in MariaDB's list of error codes, or in the server's error log.",
    )


def fault_in(output: str) -> Fault[SourceError]:
    """What the error output of one of MariaDB's programs means, judged by its numbers alone."""
    if re.search(r"(Errcode|errno|OS error|error number):? 28\b", output, re.IGNORECASE):
        return fault_of(DISK_FULL, "")
    numbered = re.findall(r"(?:error:?|\() ?(\d{4})\b", output, re.IGNORECASE)
    if not numbered and re.search(r"Failed to connect.*Access denied", output):
        numbered = ["1045"]
    return fault_of(int(numbered[-1]) if numbered else 0, "")


def copy_failure(operation: str, program: str, ended: Ended) -> CopyError:
    """The error for an ``operation`` that ended because one of MariaDB's programs failed."""
    meant = fault_in(ended.err)
    fault = Fault(CopyError, meant.cause, meant.hint, meant.permanent)
    return fault.error(operation, f" ({program} ended with status {ended.code})")
