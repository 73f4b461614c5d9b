"""Users and their rights; the system catalog, written as an SQLite file that readers attach as SYS."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.standins.sqlanywhere.codes import denied, wrong_password

RIGHTS = {"DBA", "BACKUP", "VALIDATE", "SELECT"}

# From SYSDOMAIN; the first whose name is contained in the declared type.
DOMAINS = [
    ("bigint", 20),
    ("tinyint", 19),
    ("smallint", 1),
    ("int", 2),
    ("timestamp", 13),
    ("datetime", 13),
    ("date", 6),
    ("time", 14),
    ("numeric", 3),
    ("decimal", 3),
    ("double", 5),
    ("float", 4),
    ("long varchar", 10),
    ("varchar", 9),
    ("char", 8),
    ("text", 10),
    ("long binary", 12),
    ("blob", 12),
    ("binary", 11),
]

TABLES = """
CREATE TABLE SYSUSER (user_id INTEGER, object_id INTEGER, user_name TEXT, password BLOB,
  login_policy_id INTEGER);
CREATE TABLE SYSTAB (table_id INTEGER, dbspace_id INTEGER, "count" INTEGER, creator INTEGER,
  table_page_count INTEGER, object_id INTEGER, table_name TEXT, table_type INTEGER, table_type_str TEXT);
CREATE TABLE SYSTABCOL (table_id INTEGER, column_id INTEGER, domain_id INTEGER, nulls TEXT, width INTEGER,
  scale INTEGER, object_id INTEGER, column_name TEXT, "default" TEXT, column_type TEXT);
CREATE TABLE SYSDOMAIN (domain_id INTEGER, domain_name TEXT);
CREATE TABLE SYSTRIGGER (trigger_id INTEGER, table_id INTEGER, object_id INTEGER, event TEXT,
  trigger_time TEXT, trigger_name TEXT, trigger_defn TEXT);
CREATE TABLE SYSPROCEDURE (proc_id INTEGER, creator INTEGER, object_id INTEGER, proc_name TEXT,
  proc_defn TEXT);
CREATE TABLE SYSVIEW (view_object_id INTEGER, view_def TEXT);
CREATE TABLE SYSEVENT (event_id INTEGER, object_id INTEGER, creator INTEGER, event_name TEXT, source TEXT);
CREATE TABLE SYSDBSPACE (dbspace_id INTEGER, object_id INTEGER, dbspace_name TEXT, store_type INTEGER);
CREATE TABLE SYSDBFILE (dbfile_id INTEGER, dbspace_id INTEGER, dbfile_name TEXT, file_name TEXT);
CREATE TABLE DUMMY (dummy_col INTEGER);
CREATE TABLE standin_property (name TEXT COLLATE NOCASE, value TEXT);
CREATE VIEW SYSTABLE AS SELECT table_id, dbspace_id AS file_id, "count", creator, table_name,
  table_type_str AS table_type FROM SYSTAB;
CREATE VIEW SYSCOLUMN AS SELECT table_id, column_id, domain_id, nulls, width, scale, column_name, "default"
  FROM SYSTABCOL;
CREATE VIEW SYSFILE AS SELECT dbfile_id AS file_id, file_name, dbfile_name AS dbspace_name FROM SYSDBFILE;
CREATE VIEW SYSUSERPERM AS SELECT user_id, object_id, user_name, password FROM SYSUSER;
INSERT INTO DUMMY VALUES (0);
"""

# What every database has of its own: (object, creator, name, kind), SYS is 0 and dbo 3.
OWN_TABLES = [
    (1, 0, "ISYSTAB", 1, "BASE"),
    (2, 0, "SYSTAB", 21, "VIEW"),
    (3, 3, "RowGenerator", 1, "BASE"),
    (4, 3, "migrate_sql_defs", 1, "BASE"),
    (5, 3, "sysobjects", 21, "VIEW"),
]
OWN_PROCEDURES = [(1, 3, "sp_helptext"), (2, 0, "sa_validate")]

CONTENT = [
    "SYSUSER",
    "SYSTAB",
    "SYSTABCOL",
    "SYSTRIGGER",
    "SYSPROCEDURE",
    "SYSVIEW",
    "SYSDBSPACE",
    "SYSDBFILE",
    "standin_property",
]


def make_user(name: str, number: int, password: str | None, *rights: str) -> dict[str, Any]:
    """A user as the database keeps it; without a password nobody can log in as it."""
    assert set(rights) <= RIGHTS
    salt = secrets.token_hex(8)
    return {
        "name": name,
        "id": number,
        "salt": salt,
        "hash": None if password is None else digest(salt, password),
        "rights": list(rights),
    }


def digest(salt: str, password: str) -> str:
    return hashlib.sha256(f"{salt}{password}".encode()).hexdigest()


def log_in(users: list[dict[str, Any]], name: str, password: str) -> dict[str, Any]:
    for user in users:
        if user["name"].lower() == name.lower() and user["hash"] == digest(user["salt"], password):
            return user
    raise wrong_password()


def demand(user: Mapping[str, Any], right: str, what: str) -> None:
    if not {right, "DBA"} & set(user["rights"]):
        raise denied(what)


def create(path: Path) -> None:
    with closing(sqlite3.connect(path)) as catalog:
        catalog.execute("PRAGMA journal_mode = WAL")
        catalog.executescript(TABLES)
        catalog.executemany(
            "INSERT INTO SYSDOMAIN VALUES (?, ?)", [(n, d) for d, n in DOMAINS if d != "text"]
        )
        catalog.commit()


def refresh(
    connection: sqlite3.Connection,
    facts: Mapping[str, Any],
    files: Mapping[str, Path],
    properties: Mapping[str, str],
    counts: Mapping[tuple[str, str], int],
) -> None:
    """Fill SYS anew. ``connection`` has every owner attached, and SYS; ``counts`` as of the checkpoint."""
    sys = _Filler(connection, {user["name"]: user["id"] for user in facts["users"]}, counts)
    connection.execute("BEGIN")
    for table in CONTENT:
        connection.execute(f"DELETE FROM SYS.{table}")
    for user in facts["users"]:
        sys.add("SYSUSER", user["id"], user["id"], user["name"], None, 0)
    sys.own()
    for number, (owner, path) in enumerate(files.items()):
        name = "system" if number == 0 else owner
        sys.add("SYSDBSPACE", number, number, name, 4)
        sys.add("SYSDBFILE", number, number, name, str(path))
        sys.schema(number, owner)
    for number, procedure in enumerate(facts["procedures"]):
        owner_id = sys.users.get(procedure["owner"], 1)
        sys.add("SYSPROCEDURE", 100 + number, owner_id, 9000 + number, procedure["name"], procedure["sql"])
    connection.executemany("INSERT INTO SYS.standin_property VALUES (?, ?)", properties.items())
    connection.execute("COMMIT")


class _Filler:
    def __init__(
        self,
        connection: sqlite3.Connection,
        users: dict[str, int],
        counts: Mapping[tuple[str, str], int],
    ) -> None:
        self.connection = connection
        self.users = users
        self.counts = counts
        self.last = 700

    def add(self, table: str, *values: object) -> None:
        self.connection.execute(f"INSERT INTO SYS.{table} VALUES ({','.join('?' * len(values))})", values)

    def own(self) -> None:
        for object_, creator, name, *kind in OWN_TABLES:
            self.add("SYSTAB", object_, 0, 255, creator, 1, object_, name, *kind)
            if kind[1] == "VIEW":
                self.add("SYSVIEW", object_, f"CREATE VIEW {name} AS SELECT 1")
        for number, creator, name in OWN_PROCEDURES:
            self.add("SYSPROCEDURE", number, creator, 300 + number, name, "CREATE PROCEDURE")

    def schema(self, space: int, owner: str) -> None:
        tables: dict[str, int] = {}
        items = self.connection.execute(
            f'SELECT type, name, tbl_name, sql FROM "{owner}".sqlite_master '
            "WHERE type IN ('table', 'view', 'trigger') AND name NOT LIKE 'sqlite_%' ORDER BY type, name"
        ).fetchall()
        for type_, name, of_table, sql in items:
            self.last += 1
            if type_ == "trigger":
                time, event = _when(sql)
                self.add("SYSTRIGGER", self.last, tables.get(of_table), self.last, event, time, name, sql)
                continue
            tables[name] = self.last
            kind = (1, "BASE") if type_ == "table" else (21, "VIEW")
            count = self.counts.get((owner, name), 0)
            self.add("SYSTAB", self.last, space, count, self.users.get(owner), 0, self.last, name, *kind)
            if type_ == "view":
                self.add("SYSVIEW", self.last, sql)
            self._columns(owner, name)

    def _columns(self, owner: str, table: str) -> None:
        number = self.last
        for id_, name, declared, notnull, default, _key in self.connection.execute(
            f'PRAGMA "{owner}".table_info("{table}")'
        ).fetchall():
            domain = next((n for word, n in DOMAINS if word in declared.lower()), 10)
            nulls = "N" if notnull else "Y"
            self.add("SYSTABCOL", number, id_ + 1, domain, nulls, 0, 0, number, name, default, "C")


def _when(sql: str) -> tuple[str, str]:
    """A trigger's time (A, B) and event (I, U, D), as SYSTRIGGER has them."""
    before = "B" if re.search(r"\bBEFORE\b", sql, re.IGNORECASE) else "A"
    event = re.search(r"\b(INSERT|UPDATE|DELETE)\b", sql, re.IGNORECASE)
    return before, event[1][0].upper() if event else "I"
