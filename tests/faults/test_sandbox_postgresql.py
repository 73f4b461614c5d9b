"""What a copied database makes the private engine run gets no further than the engine's own folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.checks.measure import profile
from tasks.platform.sandbox import available
from tasks.sources.postgresql import scratch
from tests.contract.source_contract import fresh
from tests.servers.postgresql import PostgresqlServer, one_initdb, postgresql

__all__ = ["one_initdb", "postgresql"]

pytestmark = [
    pytest.mark.usefixtures("one_initdb"),
    pytest.mark.skipif(not available(), reason="this machine has no sandbox"),
]


@pytest.fixture
def clinic(postgresql: PostgresqlServer) -> Iterator[str]:
    postgresql.create("clinic")
    yield "clinic"
    postgresql.drop("clinic")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that stands for a target or a folder of keys: open to all, so that no mode protects it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "key").write_text("secret")
    return folder


def program(shell: str) -> str:
    """A function that runs ``shell`` where its caller may, and goes on quietly where it may not."""
    return (
        "CREATE FUNCTION public.reach() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN "
        f"EXECUTE $q$COPY (SELECT 1) TO PROGRAM $s${shell}$s$$q$; "
        "EXCEPTION WHEN OTHERS THEN NULL; END $f$"
    )


def judged(server: PostgresqlServer, folder: Path, method: str) -> list[str]:
    source = server.source(method, "clinic")
    copy = source.copy_live(fresh(folder / "copy")).folder
    return [one.check for one in source.validate(copy, fresh(folder / "scratch")) if one.failed]


def indexed(server: PostgresqlServer, shell: str) -> None:
    """An index whose function runs ``shell`` when a restore makes it again."""
    server.sql(
        "clinic",
        "CREATE TABLE patients (id int)",
        "INSERT INTO patients VALUES (1)",
        "CREATE FUNCTION public.f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$",
        "CREATE INDEX reaching ON patients (public.f(id))",
        program(shell),
        "CREATE OR REPLACE FUNCTION public.f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM public.reach(); RETURN $1; END $$",
    )


REACHES = ("echo 1 > {}/planted", "cp {}/key {}/planted")


@pytest.mark.parametrize("shell", REACHES)
def test_s1_an_index_of_a_dump_reaches_no_folder_outside(
    postgresql: PostgresqlServer, clinic: str, elsewhere: Path, tmp_path: Path, shell: str
) -> None:
    indexed(postgresql, shell.replace("{}", str(elsewhere)))
    assert judged(postgresql, tmp_path, "logical") == []
    assert not (elsewhere / "planted").exists()


def test_s1_what_an_index_runs_sees_no_account_process_or_network(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    """The command does run, and leaves what it saw in the one place it may write to: the engine's data."""
    indexed(postgresql, "(ls /; cat /etc/passwd; cat /proc/net/dev; ls -d /proc/[0-9]*) > saw; id -u >> saw")
    assert judged(postgresql, tmp_path, "logical") == []
    (saw,) = (tmp_path / "scratch").rglob("saw")
    text = saw.read_text()
    assert "root:" not in text and "home" not in text and "eth" not in text
    assert text.splitlines()[-1] != "0"
    assert f"/proc/{os.getpid()}\n" not in text


def cast(server: PostgresqlServer, folder: Path) -> None:
    """A type whose cast to text, which a fingerprint once made of every value, copies ``folder``'s key."""
    server.sql(
        "clinic",
        "CREATE TYPE public.worn AS (n int)",
        program(f"cp {folder}/key {folder}/planted"),
        "CREATE FUNCTION public.worn_text(public.worn) RETURNS text STABLE LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM public.reach(); RETURN ($1).n::text; END $$",
        "CREATE CAST (public.worn AS text) WITH FUNCTION public.worn_text(public.worn)",
        "CREATE TABLE patients (id int, worn public.worn)",
        "INSERT INTO patients VALUES (1, ROW(1))",
    )


def test_s1_a_fingerprint_calls_no_cast_of_a_physical_copy(
    postgresql: PostgresqlServer,
    clinic: str,
    elsewhere: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where there is no sandbox; the same connection does reach the folder when it is told to cast."""
    monkeypatch.setattr(scratch, "sandboxed", lambda *_, **__: None)
    cast(postgresql, elsewhere)
    source = postgresql.source("physical", clinic)
    copy = source.copy_live(fresh(tmp_path / "copy")).folder
    with source.open(copy, fresh(tmp_path / "scratch")) as connection:
        tables = profile(connection, source.tables(connection)).tables
        assert "public.patients" in [table.name for table in tables]
        assert not (elsewhere / "planted").exists()
        connection.execute("SELECT worn::text FROM public.patients").fetchall()
        assert (elsewhere / "planted").read_text() == "secret"


def test_s1_the_index_of_a_dump_does_reach_a_folder_without_a_sandbox(
    postgresql: PostgresqlServer,
    clinic: str,
    elsewhere: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scratch, "sandboxed", lambda *_, **__: None)
    indexed(postgresql, f"cp {elsewhere}/key {elsewhere}/planted")
    judged(postgresql, tmp_path, "logical")
    assert (elsewhere / "planted").read_text() == "secret"
