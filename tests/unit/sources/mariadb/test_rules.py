"""MariaDB's rules that need no server: rights, causes, option files, options."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from tasks.sources.mariadb.check import missing_rights, pattern_of
from tasks.sources.mariadb.connection import MariadbLogin, ServerFacts, defaults_file
from tasks.sources.mariadb.errors import fault_in, fault_of
from tasks.sources.mariadb.record import CopyRecord
from tasks.sources.mariadb.source import MariadbOptions, MariadbSource

TO = "TO `b`@`localhost`"
PROC = f"GRANT SELECT ON `mysql`.`proc` {TO}"
FULL = "SELECT, SHOW VIEW, EVENT, TRIGGER"


@pytest.mark.parametrize(
    ("method", "database", "grants", "lacking"),
    [
        ("physical", "d", [f"GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* {TO}"], []),
        ("physical", "d", [f"GRANT RELOAD, PROCESS, REPLICATION CLIENT ON *.* {TO}"], []),
        ("physical", "d", [f"GRANT ALL PRIVILEGES ON *.* {TO}"], []),
        ("physical", "d", [f"GRANT ALL PRIVILEGES ON `d`.* {TO}"], ["RELOAD", "PROCESS", "BINLOG MONITOR"]),
        ("dump", "d", [f"GRANT RELOAD ON *.* {TO}", f"GRANT {FULL} ON `d`.* {TO}", PROC], []),
        ("dump", "d", [f"GRANT RELOAD ON *.* {TO}", f"GRANT {FULL} ON `d`.* {TO}"], ["SELECT ON mysql.proc"]),
        ("dump", "d", [f"GRANT {FULL} ON `d`.* {TO}", PROC], ["RELOAD"]),
        ("dump", "d", [f"GRANT RELOAD, {FULL} ON *.* {TO}"], []),
        ("dump", "d", [f"GRANT ALL PRIVILEGES ON *.* {TO} WITH GRANT OPTION"], []),
        ("dump", "a_b", [f"GRANT RELOAD ON *.* {TO}", f"GRANT {FULL} ON `a\\_b`.* {TO}", PROC], []),
        ("dump", "axb", [f"GRANT RELOAD ON *.* {TO}", f"GRANT {FULL} ON `a_b`.* {TO}", PROC], []),
        ("dump", "a_bc", [f"GRANT RELOAD ON *.* {TO}", f"GRANT {FULL} ON `a%`.* {TO}", PROC], []),
        (
            "dump",
            "axb",
            [f"GRANT RELOAD ON *.* {TO}", f"GRANT {FULL} ON `a\\_b`.* {TO}", PROC],
            ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"],
        ),
        # Rights on one table, or on single columns, are not rights on the database.
        (
            "dump",
            "d",
            [f"GRANT RELOAD ON *.* {TO}", f"GRANT {FULL} ON `d`.`t` {TO}", PROC],
            ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"],
        ),
        (
            "dump",
            "d",
            [
                f"GRANT RELOAD ON *.* {TO}",
                f"GRANT SELECT (a, b), SHOW VIEW, EVENT, TRIGGER ON `d`.* {TO}",
                PROC,
            ],
            ["SELECT"],
        ),
        ("dump", "d", ["GRANT `role` TO `b`@`localhost`", f"GRANT RELOAD, {FULL} ON *.* TO `role`"], []),
        (
            "dump",
            "d",
            [f"GRANT USAGE ON *.* {TO}"],
            ["RELOAD", "SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "proc"],
        ),
    ],
)
def test_missing_rights(method: str, database: str, grants: list[str], lacking: list[str]) -> None:
    found = missing_rights(method, database, grants)
    assert len(found) == len(lacking), found
    for told, word in zip(found, lacking, strict=True):
        assert word in told


def test_rights_on_mysql() -> None:
    grants = [f"GRANT RELOAD ON *.* {TO}", f"GRANT {FULL} ON `d`.* {TO}"]
    assert missing_rights("dump", "d", grants, mariadb=False) == ["SHOW_ROUTINE ON *.*"]
    assert missing_rights("dump", "d", [*grants, f"GRANT SHOW_ROUTINE ON *.* {TO}"], mariadb=False) == []


def test_database_name_in_a_grant() -> None:
    assert pattern_of("a_b%c`d\\") == "`a\\_b\\%c``d\\\\`"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("mariadb-dump: Got errno 28 on write", "the disk is full"),
        ('mariadb-backup: Error writing file (Errcode: 28 "No space left on device")', "the disk is full"),
        (
            "mariadb-dump: Got error: 1045: \"Access denied for user 'x'\" when trying to connect",
            "access denied",
        ),
        ("Failed to connect to MariaDB server: Access denied for user 'b'@'localhost'", "access denied"),
        ("mariadb-dump: Couldn't execute 'SHOW': Table definition has changed (1412)", "altered meanwhile"),
        ("mariadb-dump: Error 2013: Lost connection to server during query", "closed the connection"),
        ("mariadb-dump: Error 4711: Jane Roe, 555-0100", "error 4711"),
        ("Jane Roe, 555-0100", "an error without a number"),
    ],
)
def test_what_programs_say(output: str, words: str) -> None:
    fault = fault_in(output)
    assert words in fault.cause
    assert fault.hint
    assert "Jane" not in fault.cause + fault.hint
    assert "'" not in fault.cause


@pytest.mark.parametrize("state", ["IM002", "01000"])
def test_driver_not_installed(state: str) -> None:
    assert "odbc-mariadb" in fault_of(0, state).hint


def test_option_file_quotes(tmp_path: Path) -> None:
    login = MariadbLogin(
        user='a"b', password="c\\d#;", host="db.example", port=3307, certificate=tmp_path / "ca.pem"
    )
    with defaults_file(login) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        lines = path.read_text().splitlines()
    assert lines[:3] == ["[client]", 'user="a\\"b"', 'password="c\\\\d#;"']
    assert {'host="db.example"', "port=3307", "protocol=tcp"} <= set(lines)
    assert not path.parent.exists()
    assert "c\\\\d" not in repr(login)


@pytest.mark.parametrize("name", ["mysql", "Information_Schema", "sys", "", "a\nb"])
def test_databases_refused(name: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        MariadbOptions(database=name)


def test_passwords_only_by_reference() -> None:
    with pytest.raises(pydantic.ValidationError):
        MariadbOptions(database="d", password="secret")


@pytest.mark.parametrize(
    ("version", "release", "mariadb"),
    [
        ("10.11.19-MariaDB-0+deb12u1", "10.11", True),
        ("11.4.2-MariaDB", "11.4", True),
        ("8.0.36", "8.0 MySQL", False),
    ],
)
def test_releases(version: str, release: str, mariadb: bool) -> None:
    server = ServerFacts(version, "here", Path("/data"), 0, "ibdata1")
    record = CopyRecord(method="dump", server=version, database="d", names_folded=0)
    assert server.name == record.release == release
    assert server.mariadb is record.mariadb is mariadb


def test_grants_from_anywhere() -> None:
    options = MariadbOptions(database="d", method="dump", host="db.example", user="b", password="env:P")
    told = MariadbSource(options).grants()
    assert "'b'@'%' IDENTIFIED BY" in told
    assert "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `d`.* TO 'b'@'%';" in told
