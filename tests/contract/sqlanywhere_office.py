"""A practice's SQL Anywhere on the stand-in, and the adapter for it: for contract and fault tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pyodbc

from tasks.sources.sqlanywhere.source import SqlanywhereOptions, SqlanywhereSource
from tests.contract.source_contract import one_value
from tests.standins.sqlanywhere.install import StandIn
from tests.standins.sqlanywhere.production import NAME, PASSWORDS, SERVER

VARIABLE = "SQLANYWHERE_TEST_{}"


@contextmanager
def installed(folder: Path, version: int = 17) -> Iterator[StandIn]:
    """The stand-in, installed in ``folder``, and an environment in which ODBC and passwords are found."""
    standin = StandIn.install(folder, version)
    passwords = {VARIABLE.format(user): password for user, password in PASSWORDS.items()}
    with patch.dict(os.environ, {**standin.environment, **passwords}):
        pyodbc.pooling = False
        try:
            yield standin
        finally:
            standin.end_all()


def office(standin: StandIn, user: str = "CHECKER", **options: Any) -> SqlanywhereSource:
    """The adapter for the production server; ``options`` are added to the usual ones or replace them."""
    usual = {
        "version": standin.version,
        "server": SERVER,
        "database_name": NAME,
        "user": user,
        "password": f"env:{VARIABLE.format(user)}",
        "install": standin.folder,
        "driver": str(standin.driver),
    }
    return SqlanywhereSource(SqlanywhereOptions.model_validate({**usual, **options}))


@contextmanager
def started(standin: StandIn, file: Path) -> Iterator[Any]:
    """A connection to an engine over the database ``file``, started as RECOVER.md says."""
    server = f"trial_{uuid4().hex}"
    engine = [standin.program("dbeng"), "-n", server, "-x", "none", file, "-n", "trial", "-ds", file.parent]
    spawned = standin.run("dbspawn", "-f", *engine)
    assert spawned.returncode == 0, f"the restored database does not start: {spawned.returncode}"
    try:
        text = (
            f"Driver={{{standin.driver}}};SERVER={server};DBN=trial;UID=dba;PWD={PASSWORDS['dba']};ASTART=NO"
        )
        with closing(pyodbc.connect(text)) as connection:
            yield connection
    finally:
        standin.run("dbstop", "-y", server)


def number(connection: Any, sql: str) -> int:
    """The one number that a query gives: the stand-in's driver gives computed ones as text."""
    return int(one_value(connection, sql))


def commits_in(connection: Any) -> int:
    """How many of the writer's commits a copy holds; fails where it holds half of one."""
    commits = number(connection, "SELECT commits FROM counter")
    assert number(connection, "SELECT COALESCE(SUM(amount), 0) FROM entries") == 0
    assert number(connection, "SELECT COUNT(*) FROM entries") == 2 * commits
    apart = "SELECT COUNT(*) FROM left_half l JOIN right_half r ON l.id = r.id WHERE l.value <> r.value"
    assert number(connection, apart) == 0
    return commits


def database_of(copy: Path) -> Path:
    """The database file inside a copy."""
    return copy / "database" / f"{NAME}.db"
