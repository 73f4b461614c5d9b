"""MariaDB's and MySQL's error numbers in plain words. Their own texts quote accounts and rows.

Numbers: MariaDB's error code reference; 1000–1999 come from the server, 2000–2999 from the client.
"""

from __future__ import annotations

from dataclasses import dataclass

DISK_FULL = 28  # the system's ENOSPC


@dataclass(frozen=True)
class Cause:
    """One cause of failure. ``missing``: what was asked for is not there at all."""

    text: str
    hint: str
    permanent: bool = True
    missing: bool = False


_ACCOUNT = "Check `user` and `password` in the plan, and that the account may come from this machine."
_RIGHTS = "Give the account the rights that `datasave doctor --grants` prints."
_LATER = "Run the backup again when the server is less busy."

_CAUSES = {
    DISK_FULL: Cause(
        "the disk is full", "Free some space there, then run the backup again.", permanent=False
    ),
    1021: Cause("the server's disk is full", "Free some space there.", permanent=False),
    1040: Cause("the server has too many connections", _LATER, permanent=False),
    1044: Cause(
        "there is no such database, or the account may not use it",
        "Check `database` in the plan. " + _RIGHTS,
    ),
    1045: Cause("access denied: wrong account or password", _ACCOUNT),
    1049: Cause("there is no such database", "Check `database` in the plan.", missing=True),
    1114: Cause("a table or the disk is full", "Free some space on the server.", permanent=False),
    1129: Cause(
        "the server has blocked this machine", "Run FLUSH HOSTS on the server, then check the account."
    ),
    1130: Cause("the server takes no connections from this machine", _ACCOUNT),
    1142: Cause("the account lacks a privilege", _RIGHTS),
    1143: Cause("the account lacks a privilege", _RIGHTS),
    1203: Cause("the account has too many connections", _LATER, permanent=False),
    1205: Cause("another session held a lock for too long", _LATER, permanent=False),
    1213: Cause("the server ended a deadlock", _LATER, permanent=False),
    1226: Cause("the account has used up its resources", _LATER, permanent=False),
    1227: Cause("the account lacks a privilege", _RIGHTS),
    1317: Cause("the statement was interrupted", _LATER, permanent=False),
    1356: Cause(
        "a view refers to something that no longer exists",
        "Drop or repair the view: a dump cannot hold it.",
    ),
    1370: Cause("the account lacks a privilege", _RIGHTS),
    1412: Cause(
        "a table was altered meanwhile", "Run the backup again when nobody alters tables.", permanent=False
    ),
    1524: Cause("the server lacks the way to authenticate that the account asks for", _ACCOUNT),
    1698: Cause("access denied: the account is known by the system's user, not by a password", _ACCOUNT),
    1820: Cause("the account's password has expired", "Set a new one."),
    1862: Cause("the account's password has expired", "Set a new one."),
    1969: Cause("the server took too long to answer", _LATER, permanent=False),
    2002: Cause(
        "no server answers there",
        "Check that the database server runs, and `socket`, `host`, `port` in the plan.",
        missing=True,
    ),
    2005: Cause("no machine of that name", "Check `host` in the plan.", missing=True),
    2013: Cause(
        "the server closed the connection",
        "Check whether it was restarted, then run the backup again.",
        permanent=False,
    ),
    2026: Cause(
        "no trusted encrypted connection came about",
        "Check `certificate` in the plan, and that the server offers TLS.",
    ),
    2059: Cause("this driver cannot authenticate the way the account asks for", _ACCOUNT),
    3159: Cause("the server wants an encrypted connection", "Set `certificate` in the plan."),
}
_ALSO = {2003: 2002, 1053: 2013, 1927: 2013, 2006: 2013}  # one cause, several numbers

_NO_DRIVER = Cause(
    'the ODBC driver "MariaDB Unicode" is not installed',
    "Install MariaDB Connector/ODBC (Debian: apt install odbc-mariadb).",
)


def cause_of(code: int, state: str) -> Cause:
    """What an error number, or else an SQLSTATE, means."""
    code = _ALSO.get(code, code)
    if code in _CAUSES:
        return _CAUSES[code]
    if not code and state in ("IM002", "IM003", "01000"):
        return _NO_DRIVER
    told = f"error {code}" if code else f"SQLSTATE {state}" if state else "an error without a number"
    return Cause(
        f"the database server or its driver told {told}",
        "Look the number up in MariaDB's list of error codes, or in the server's error log.",
    )
