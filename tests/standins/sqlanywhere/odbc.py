"""The part of the ODBC driver that shim.c leaves to Python: it logs in and says which files to attach.

Reads a connection string from standard input. Prints ``OK``, ``1`` or ``0`` (whether the user may read
tables), the version and then an SQL script; or ``ERR``, SQLSTATE, SQLCODE, message. A line each.
"""

from __future__ import annotations

import sys

from tests.standins.sqlanywhere.codes import Failure
from tests.standins.sqlanywhere.site import Site
from tests.standins.sqlanywhere.wire import connect, parameters


def main(site: Site) -> int:
    try:
        given = parameters(sys.stdin.read(), site, odbc=True)
        answer = connect(site, given, app="odbc").ask({"command": "working_files"})
    except Failure as failure:
        print(f"ERR\n{failure.state}\n{failure.native}\n{failure.message}")
        return 0
    print(f"OK\n{int(answer['select'])}\n{site.version:02d}.00.0000")
    for owner, path in answer["files"].items():
        quoted = path.replace("'", "''")
        print(f"ATTACH '{quoted}' AS \"{owner}\";")
    print("PRAGMA query_only = ON;")
    return 0
