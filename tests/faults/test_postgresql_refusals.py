"""What PostgreSQL refuses, and what breaks while a copy is made: one line, a hint, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import CopyError, DatasaveError, SourceError, SourceMissing, ValidationError
from tasks.sources.postgresql import check as postgresql_check
from tasks.sources.postgresql import connection as postgresql_connection
from tasks.sources.postgresql import copy as postgresql_copy
from tasks.sources.postgresql import programs as postgresql_programs
from tasks.sources.postgresql.connection import PostgresqlLogin
from tasks.sources.postgresql.source import PostgresqlOptions, PostgresqlSource
from tests import mounts
from tests.contract.postgresql_ledger import create_ledger
from tests.contract.source_contract import fresh, snapshot
from tests.servers.postgresql import (
    ACCOUNT_OF,
    ACCOUNTS,
    SUPERUSER,
    PostgresqlServer,
    postgresql,
    postgresql_server,
)

__all__ = ["postgresql"]

METHODS = ("physical", "logical")


@pytest.fixture(scope="module")
def clinic(postgresql: PostgresqlServer) -> str:
    return create_ledger(postgresql, "clinic")


@pytest.fixture(scope="module")
def plain_account(postgresql: PostgresqlServer) -> str:
    """An account that may log in and nothing else, with bk_dump's password."""
    postgresql.sql("postgres", f"CREATE ROLE visitor LOGIN PASSWORD '{ACCOUNTS['bk_dump']}'")
    return "visitor"


def told_well(error: DatasaveError) -> None:
    assert "\n" not in error.message
    assert error.hint
    assert error.hint.endswith(".")
    for password in ACCOUNTS.values():
        assert password not in str(error)


def refused(source: PostgresqlSource, words: str, kind: type[DatasaveError] = SourceError) -> DatasaveError:
    """Both ways in say so, and the copy's folder stays empty."""
    with tempfile.TemporaryDirectory() as folder:
        for attempt in (source.check, lambda: source.copy_live(Path(folder))):
            with pytest.raises(kind, match=words) as caught:
                attempt()
            told_well(caught.value)
        assert snapshot(Path(folder)) == {}
    return caught.value


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_password(postgresql: PostgresqlServer, clinic: str, method: str, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("wrong")
    error = refused(postgresql.source(method, clinic, password=f"file:{secret}"), "refused the password")
    assert error.permanent


@pytest.mark.parametrize("method", METHODS)
def test_no_password(postgresql: PostgresqlServer, clinic: str, method: str) -> None:
    refused(postgresql.source(method, clinic, password=None), "refused the password")


@pytest.mark.parametrize("method", METHODS)
def test_no_such_database(postgresql: PostgresqlServer, method: str) -> None:
    error = refused(postgresql.source(method, "clinik"), "no such database", SourceMissing)
    assert error.permanent


@pytest.mark.parametrize("host", ["127.0.0.1", "/tmp", "no-such-host.invalid"])
def test_a_server_that_is_down(postgresql: PostgresqlServer, clinic: str, host: str) -> None:
    error = refused(
        postgresql.source("logical", clinic, host=host, port=1), "no server answers", SourceMissing
    )
    assert not error.permanent


def test_an_account_that_may_not_replicate(postgresql: PostgresqlServer, clinic: str) -> None:
    password = f"file:{postgresql.password_file('bk_dump')}"
    refused(postgresql.source("physical", clinic, user="bk_dump", password=password), "may not replicate")


def test_an_account_that_may_read_nothing(
    postgresql: PostgresqlServer, clinic: str, plain_account: str
) -> None:
    password = f"file:{postgresql.password_file('bk_dump')}"
    source = postgresql.source("logical", clinic, user=plain_account, password=password)
    error = refused(source, r"may not read public\.\w+, public\.")
    assert "--grants" in error.hint


def test_rows_that_a_policy_would_hide(postgresql: PostgresqlServer, plain_account: str) -> None:
    """With the right to read everything but not BYPASSRLS a dump would simply lack them."""
    database = postgresql.create("policies")
    postgresql.sql(
        database,
        "CREATE TABLE notes (id int)",
        "INSERT INTO notes VALUES (1)",
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
        f"GRANT pg_read_all_data TO {plain_account}",
    )
    try:
        assert postgresql.sql(database, f"SET ROLE {plain_account}", "SELECT count(*) FROM notes") == "0"
        password = f"file:{postgresql.password_file('bk_dump')}"
        source = postgresql.source("logical", database, user=plain_account, password=password)
        error = refused(source, "row security hides rows from the account in public.notes")
        assert "BYPASSRLS" in error.hint
    finally:
        postgresql.sql("postgres", f"REVOKE pg_read_all_data FROM {plain_account}")


def test_large_objects_that_may_not_be_read(postgresql: PostgresqlServer) -> None:
    database = postgresql.create("pictures")
    number = postgresql.sql(database, "SELECT lo_from_bytea(0, 'x')")
    source = postgresql.source("logical", database)
    error = refused(source, f"may not read the large objects {number}")
    assert "lo_compat_privileges" in error.hint
    postgresql.sql(database, f"GRANT SELECT ON LARGE OBJECT {number} TO bk_dump")
    assert source.check().bytes


def test_a_server_that_writes_no_log_for_copies() -> None:
    settings = {"wal_level": "minimal", "max_wal_senders": "0"}
    with postgresql_server(settings=settings) as server:
        error = refused(server.source("physical", "postgres"), "its wal_level is minimal")
        assert "method: logical" in error.hint


def test_pg_hba_lets_nobody_replicate(postgresql: PostgresqlServer, clinic: str) -> None:
    """Its lines for `replication` are others than those for databases."""
    hba = postgresql.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("".join(line for line in before.splitlines(True) if "replication" not in line))
    postgresql.sql("postgres", "SELECT pg_reload_conf()")
    try:
        error = refused(postgresql.source("physical", clinic), "pg_hba.conf does not let this account in")
        assert "--grants" in error.hint
    finally:
        hba.write_text(before)
        postgresql.sql("postgres", "SELECT pg_reload_conf()")


def test_a_server_that_is_too_old(
    postgresql: PostgresqlServer, clinic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_check, "OLDEST", 99)
    refused(postgresql.source("physical", clinic), "too old")


@pytest.mark.parametrize(
    ("method", "version"), [("physical", "14.9"), ("physical", "16.1"), ("logical", "14.9")]
)
def test_programs_of_another_version(
    postgresql: PostgresqlServer, clinic: str, method: str, version: str, tmp_path: Path
) -> None:
    for name in ("pg_basebackup", "psql", "pg_verifybackup", "postgres", "pg_controldata"):
        program(tmp_path / name, version)
    for name in ("pg_dump", "pg_dumpall", "pg_restore", "initdb"):
        program(tmp_path / name, version)
    error = refused(postgresql.source(method, clinic, programs=tmp_path), f"found {version}")
    assert "programs:" in error.hint


def program(path: Path, version: str) -> None:
    path.write_text(f"#!/bin/sh\necho '{path.name} (PostgreSQL) {version}'\n")
    path.chmod(0o755)


def test_encryption_that_the_server_does_not_have(postgresql: PostgresqlServer, clinic: str) -> None:
    refused(postgresql.source("physical", clinic, sslmode="require"), "encrypted connection")


def test_no_driver_on_this_machine(
    postgresql: PostgresqlServer, clinic: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = postgresql.source("logical", clinic)
    copy = source.copy_live(fresh(tmp_path / "copy"))
    monkeypatch.setattr(postgresql_connection, "DRIVERS", ("None such",))
    refused(source, "its ODBC driver is not on this machine")
    lacks(source, copy.folder, tmp_path, "ODBC driver")


def test_root_without_namespaces(
    postgresql: PostgresqlServer, clinic: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = postgresql.source("logical", clinic)
    copy = source.copy_live(fresh(tmp_path / "copy"))
    monkeypatch.setattr(postgresql_programs, "_namespace", list)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    refused(source, "refuses to run as root")
    lacks(source, copy.folder, tmp_path, "refuses to run as root")


def lacks(source: PostgresqlSource, copy: Path, folder: Path, words: str) -> None:
    """A machine that lacks something: a finding that says so, and no open copy."""
    (finding,) = source.validate(copy, fresh(folder / "v"))
    assert not finding.passed
    assert words in finding.detail
    with pytest.raises(ValidationError, match=words) as caught, source.open(copy, fresh(folder / "o")):
        pass
    told_well(caught.value)


@pytest.mark.parametrize("field", ["host", "database", "user"])
def test_names_that_would_become_part_of_a_connection_string(field: str) -> None:
    given = {"database": "clinic", field: "x;PWD=y"}
    with pytest.raises(ValueError, match="connection string"):
        PostgresqlOptions(**given)


def test_a_password_over_two_lines(postgresql: PostgresqlServer, clinic: str, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("one\ntwo")
    refused(postgresql.source("logical", clinic, password=f"file:{secret}"), "line break")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "file"])
def test_the_password_file_is_private_and_goes_away(
    postgresql: PostgresqlServer,
    clinic: str,
    method: str,
    in_memory: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Linux it is on no disk at all; elsewhere in a folder of its own."""
    temporary = fresh(tmp_path / "tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create")
    modes: set[int] = set()

    def look(_done: int, _total: int) -> None:
        modes.update(path.stat().st_mode & 0o077 for path in temporary.rglob("*"))

    postgresql.source(method, clinic).copy_live(fresh(tmp_path / "copy"), look)
    assert modes == (set() if in_memory else {0})
    assert list(temporary.iterdir()) == []


def test_the_engine_ends_with_a_killed_program(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    """kill -9 while a copy is open: no engine stays behind with patients' data."""
    source = postgresql.source("physical", clinic)
    copy, scratch = source.copy_live(fresh(tmp_path / "copy")).folder, fresh(tmp_path / "o")
    program = (
        "import sys, pathlib; from tasks.sources.registry import source_for_copies\n"
        "with source_for_copies('postgresql').open(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])):\n"
        "    print('open', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(copy), str(scratch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as opened:
        assert opened.stdout is not None
        assert opened.stdout.readline() == "open\n"
        data = str(scratch / "cluster" / "data")
        assert any("postgres" in line for line in commands_about(data))
        opened.kill()
    wait_until(lambda: not commands_about(data))


def commands_about(folder: str) -> list[str]:
    """The command lines of all that runs on this machine and names the folder, in a sandbox or not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_text("utf-8", "replace"))
    return [line for line in found if folder in line]


@pytest.mark.parametrize("method", METHODS)
def test_a_connection_that_breaks(
    postgresql: PostgresqlServer, clinic: str, method: str, tmp_path: Path
) -> None:
    """The server ends the program's session in the middle: no copy, and another try may work."""
    # A base backup is long enough to be caught in the act; pg_dump is made to wait for a table.
    physical = method == "physical"
    which = "backend_type = 'walsender'" if physical else "usename = 'bk_dump' AND wait_event_type = 'Lock'"
    waiting = (
        nullcontext() if physical else holding(postgresql, clinic, "LOCK counter IN ACCESS EXCLUSIVE MODE")
    )
    ended = False

    def end(_done: int, _total: int) -> None:
        nonlocal ended
        if not ended:
            sql = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"
            ended = "t" in postgresql.sql("postgres", sql)

    folder = fresh(tmp_path / "copy")
    with waiting, pytest.raises(CopyError, match="the connection to the server broke") as caught:
        postgresql.source(method, clinic).copy_live(folder, end)
    assert ended, "no session was ended"
    told_well(caught.value)
    assert not caught.value.permanent
    assert snapshot(folder) == {}


@pytest.mark.parametrize("method", METHODS)
def test_no_room_for_the_copy(postgresql: PostgresqlServer, clinic: str, method: str, tmp_path: Path) -> None:
    place = fresh(tmp_path / "small")
    with mounts.tmpfs(place, 1 if method == "logical" else 4):
        folder = fresh(place / "copy")
        with pytest.raises(CopyError, match="the disk is full") as caught:
            postgresql.source(method, clinic).copy_live(folder)
        told_well(caught.value)
        assert snapshot(folder) == {}


@pytest.mark.parametrize("method", METHODS)
def test_no_room_for_the_scratch_copy(
    postgresql: PostgresqlServer, clinic: str, method: str, tmp_path: Path
) -> None:
    source = postgresql.source(method, clinic)
    copy = source.copy_live(fresh(tmp_path / "copy"))
    place = fresh(tmp_path / "small")
    with mounts.tmpfs(place, 4):
        findings = source.validate(copy.folder, fresh(place / "v"))
        assert any(not finding.passed for finding in findings)
        with pytest.raises(ValidationError) as caught, source.open(copy.folder, fresh(place / "o")):
            pass
        told_well(caught.value)


def test_a_table_that_stays_locked(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_copy, "LOCK_SECONDS", 1)
    with (
        holding(postgresql, clinic, "LOCK TABLE counter IN ACCESS EXCLUSIVE MODE"),
        pytest.raises(CopyError, match="keeps a table locked") as caught,
    ):
        postgresql.source("logical", clinic).copy_live(fresh(tmp_path / "copy"))
    assert not caught.value.permanent
    told_well(caught.value)


@contextmanager
def holding(server: PostgresqlServer, database: str, statement: str) -> Iterator[None]:
    """A session that has run ``statement`` in a transaction and leaves it open."""
    here = PostgresqlLogin(
        server.host, server.port, SUPERUSER, database, pass_file=server.folder / f"{SUPERUSER}.pass"
    )
    with here.connected(autocommit=False) as connection:
        connection.cursor().execute(statement)
        yield
        connection.rollback()


def test_a_table_emptied_before_it_was_counted(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRUNCATE heeds no snapshot: the dump holds its rows, the count after it would say none."""
    postgresql.sql(clinic, "CREATE TABLE short_lived AS SELECT generate_series(1, 1000) AS id")
    dump = postgresql_copy._dump

    def dump_then_truncate(*arguments: Any) -> None:
        dump(*arguments)
        postgresql.sql(clinic, "TRUNCATE short_lived")

    monkeypatch.setattr(postgresql_copy, "_dump", dump_then_truncate)
    folder = fresh(tmp_path / "copy")
    with pytest.raises(CopyError, match=r"public\.short_lived was emptied or rebuilt meanwhile") as caught:
        postgresql.source("logical", clinic).copy_live(folder)
    assert not caught.value.permanent
    assert snapshot(folder) == {}
    postgresql.sql(clinic, "DROP TABLE short_lived")


@pytest.mark.parametrize(
    "method",
    [
        "physical",
        "logical",
    ],
)
def test_an_interrupted_caller_leaves_nothing(
    postgresql: PostgresqlServer, clinic: str, method: str, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(_done: int, _total: int) -> None:
        raise Stopped

    folder = fresh(tmp_path / "copy")
    with pytest.raises(Stopped):
        postgresql.source(method, clinic).copy_live(folder, stop)
    assert list(folder.iterdir()) == []
    sessions = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ACCOUNT_OF[method]}'"
    wait_until(lambda: postgresql.sql("postgres", sessions) == "0", 5)


def wait_until(true: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
