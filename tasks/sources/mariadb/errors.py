"""MariaDB's and MySQL's error numbers in plain words. Their own texts quote accounts and rows.

Numbers: MariaDB's error code reference; 1000–1999 come from the server, 2000–2999 from the client.
"""

from __future__ import annotations

import re

from tasks.errors import CopyError, Fault, SourceError, SourceMissing, ValidationError
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
        "A dump cannot hold such a view: drop or repair it, or set `method: physical`, which copies it as it "
        "is.",
    ),
    1370: Fault(
        SourceError,
        "the account may not execute a routine that a view with SQL SECURITY INVOKER calls",
        "Give it EXECUTE too, with the same words for the database that `datasave doctor --grants` prints.",
    ),
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


NEEDED_ELSEWHERE = {
    1049: "reads another database",
    1109: "reads a table of a plugin",
    1146: "reads another database, or a view that does",
    1305: "calls a function of a plugin or of another database",
    1356: "reads a view that could not be made",
}
"""Why a private server cannot make a view of a dump that the source's server has."""

_OWN_ROWS = (
    "The server holds what its own rules no longer allow, so this dump loads nowhere. Mend those rows, or "
    "set `method: physical`, which copies files as they are."
)
_ELSEWHERE = "A private server lacks what this needs. Set `method: physical`, which copies files as they are."
_TORN = "Run the backup again. If it happens twice, set `method: physical`."
_REFUSED = {
    1048: ("a row has NULL where none may be", _OWN_ROWS),
    1062: ("two rows have one key", _OWN_ROWS),
    1264: ("a number is outside its column's range", _OWN_ROWS),
    1292: ("a value is none of its column's type", _OWN_ROWS),
    1366: ("a text is none of its column's character set", _OWN_ROWS),
    1406: ("a value is too long for its column", _OWN_ROWS),
    1452: ("a row points to a missing row", _OWN_ROWS),
    3819: ("a CHECK does not hold for a row", _OWN_ROWS),
    4025: ("a CHECK does not hold for a row", _OWN_ROWS),
    1005: ("the table cannot be made with these options", _ELSEWHERE),
    1071: ("a key is too long", _ELSEWHERE),
    1115: ("its character set is unknown", _ELSEWHERE),
    1118: ("a row is too large for a page", _ELSEWHERE),
    1273: ("its collation is unknown", _ELSEWHERE),
    1286: ("its storage engine is unknown", _ELSEWHERE),
    1064: ("its SQL is torn", _TORN),
}
# Names of a schema's own things, and never a value, stand at these places of the server's texts.
_NAMED = {4025: re.compile(r"CONSTRAINT (`[^`]+`) failed"), 3819: re.compile(r"constraint '([^']+)'")}
_OBJECT = re.compile(r"(?:View '([^']+)' references invalid|denied to user .* for routine '([^']+)')")


def load_failure(code: int, text: str, about: str) -> ValidationError:
    """The error for a statement of a dump that the server refused, with ``text``, which may quote a row."""
    cause, hint = _REFUSED.get(code, ("the server refuses it", _ELSEWHERE))
    found = _NAMED[code].search(text) if code in _NAMED else None
    if found:
        cause = cause.replace("a CHECK", f"CHECK {found[1]}")
    number = f"error {code}" if code else text
    return ValidationError(f"cannot load the dump: {about or 'a statement'}: {cause} ({number})", hint=hint)


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
    found = _OBJECT.search(ended.err)
    named = f", {found[1] or found[2]}" if found else ""
    return fault.error(operation, f"{named} ({program} ended with status {ended.code})")
