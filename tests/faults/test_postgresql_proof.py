"""What a copy of PostgreSQL proves: all that its source held comes back as RECOVER.md says, or is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.records import Finding
from tasks.sources.postgresql.record import read_record
from tasks.sources.postgresql.validate import within
from tests.contract.source_contract import fresh
from tests.servers.postgresql import PostgresqlServer, one_initdb, postgresql

__all__ = ["one_initdb", "postgresql"]

pytestmark = pytest.mark.usefixtures("one_initdb")


@pytest.fixture
def clinic(postgresql: PostgresqlServer) -> Iterator[str]:
    """A small database with a function that says which day a moment fell on, wherever the session is."""
    postgresql.create("clinic")
    postgresql.sql(
        "clinic",
        "CREATE FUNCTION day(timestamptz) RETURNS date IMMUTABLE LANGUAGE sql AS 'SELECT $1::date'",
        "CREATE TABLE visits (id int PRIMARY KEY, at timestamptz, "
        "on_day date GENERATED ALWAYS AS (day(at)) STORED)",
    )
    yield "clinic"
    postgresql.drop("clinic")


def copied(server: PostgresqlServer, database: str, folder: Path, method: str = "logical") -> Path:
    return server.source(method, database).copy_live(fresh(folder / "copy")).folder


def judged(server: PostgresqlServer, copy: Path, folder: Path, method: str = "logical") -> list[Finding]:
    """What did not pass."""
    findings = server.source(method, "clinic").validate(copy, fresh(folder / "scratch"))
    return [finding for finding in findings if not finding.passed]


ROW = "INSERT INTO visits VALUES (1, '2026-03-01 02:00+00')"


def test_b1_a_column_comes_back_as_the_databases_own_zone_computed_it(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    postgresql.sql("postgres", "ALTER DATABASE clinic SET timezone = 'America/New_York'")
    postgresql.sql(clinic, ROW)
    assert judged(postgresql, copied(postgresql, clinic, tmp_path), tmp_path) == []


def test_b1_a_column_comes_back_as_the_servers_zone_computed_it(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    reload = "SELECT pg_reload_conf()"
    postgresql.sql("postgres", "ALTER SYSTEM SET timezone = 'Asia/Tokyo'", reload)
    try:
        postgresql.sql(clinic, "INSERT INTO visits VALUES (1, '2026-03-01 20:00+00')")
        assert postgresql.sql(clinic, "SELECT on_day FROM visits") == "2026-03-02"
        copy = copied(postgresql, clinic, tmp_path)
    finally:
        postgresql.sql("postgres", "ALTER SYSTEM RESET timezone", reload)
    assert judged(postgresql, copy, tmp_path) == []


def test_b1_a_column_that_a_restore_computes_otherwise_is_no_good_copy(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    """It was computed in a session of another zone, which no dump knows of."""
    postgresql.sql(clinic, "SET timezone = 'America/New_York'", ROW)
    (found,) = judged(postgresql, copied(postgresql, clinic, tmp_path), tmp_path)
    assert (found.check, found.table, found.failed) == ("rows", "public.visits", True)
    assert "`method: physical`" in found.detail
    (tmp_path / "p").mkdir()
    copy = copied(postgresql, clinic, tmp_path / "p", "physical")
    assert judged(postgresql, copy, tmp_path / "p", "physical") == []


def test_b1_sequences_are_held_to_their_values(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    postgresql.sql(clinic, "CREATE SEQUENCE invoice", "SELECT setval('invoice', 41)")
    copy = copied(postgresql, clinic, tmp_path)
    record = read_record(copy)
    assert record.sequences == {"public.invoice": ("41 true", "41 true")}
    record.model_copy(update={"sequences": {"public.invoice": ("7 true", "7 true")}}).write(copy)
    (found,) = judged(postgresql, copy, tmp_path)
    assert (found.check, found.detail) == (
        "values of sequences",
        "not as in the dumped snapshot: public.invoice",
    )


@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [
        ("41 true", "41 true", True),
        ("40 true", "45 true", True),
        ("41 false", "41 true", True),
        ("45 true", "40 true", True),
        ("42 true", "45 true", False),
        ("41 false", "41 false", False),
        ("7 true", "7 true", False),
    ],
)
def test_b1_a_sequence_that_is_used_meanwhile_is_right_at_or_past_its_value(
    before: str, after: str, passes: bool
) -> None:
    assert within("41 true", (before, after)) is passes


def test_b2_the_database_itself_comes_back(postgresql: PostgresqlServer, clinic: str, tmp_path: Path) -> None:
    """Settings, rights and owner; the copy is no good where one of them is lost on the way."""
    postgresql.sql(
        "postgres",
        "CREATE ROLE boss",
        "CREATE ROLE worker IN ROLE boss",
        "ALTER ROLE worker SET work_mem = '5MB'",
        "ALTER DATABASE clinic OWNER TO boss",
        "ALTER DATABASE clinic SET search_path = archive, public",
        "ALTER ROLE worker IN DATABASE clinic SET statement_timeout = '5s'",
        "COMMENT ON DATABASE clinic IS 'the office''s'",
        "REVOKE CONNECT ON DATABASE clinic FROM PUBLIC",
        "GRANT CONNECT ON DATABASE clinic TO worker, bk_dump",
        "ALTER DATABASE clinic CONNECTION LIMIT 7",
    )
    postgresql.sql(clinic, "ALTER DEFAULT PRIVILEGES FOR ROLE boss GRANT SELECT ON TABLES TO worker")
    try:
        copy = copied(postgresql, clinic, tmp_path)
        assert judged(postgresql, copy, tmp_path) == []
        shutil.rmtree(copy / "dump")
        postgresql.sql("postgres", "GRANT CONNECT ON DATABASE clinic TO PUBLIC")
        postgresql.program("pg_dump", "-Fd", "-Z0", "-f", copy / "dump", "-d", clinic)
        lost = judged(postgresql, copy, fresh(tmp_path / "lost"))
        assert {finding.table for finding in lost if finding.check == "rows"} == {"(grants)"}
        assert lost[-1].detail == "not as at the source: ACL -.DATABASE clinic"
        script = copy / "roles.sql"
        script.write_text(script.read_text().replace("5MB", "6MB"))
        assert "(roles)" in {finding.table for finding in judged(postgresql, copy, fresh(tmp_path / "r"))}
    finally:
        postgresql.drop(clinic)
        postgresql.sql("postgres", "DROP ROLE worker", "DROP ROLE boss")


def test_b2_what_no_dump_holds_is_named(postgresql: PostgresqlServer, clinic: str, tmp_path: Path) -> None:
    postgresql.sql(
        clinic,
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER lab FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE USER MAPPING FOR bk_phys SERVER lab OPTIONS (user 'x', password 'not told')",
    )
    copy = copied(postgresql, clinic, tmp_path)
    findings = postgresql.source("logical", clinic).validate(copy, fresh(tmp_path / "scratch"))
    (told,) = [finding.detail for finding in findings if finding.check == "left out"]
    assert "the options of the user mapping of bk_phys for the server lab" in told
    assert "the password of the role bk_phys" in told
    assert "not told" not in (copy / "datasave.json").read_text()


def test_b3_a_view_that_cannot_be_computed_anew_is_named(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    postgresql.sql(
        clinic,
        ROW,
        "CREATE MATERIALIZED VIEW shares AS SELECT 1 / (id - 2) AS share FROM visits",
        "CREATE MATERIALIZED VIEW good AS SELECT count(*) FROM visits",
        "INSERT INTO visits VALUES (2, now())",
    )
    (unmade,) = judged(postgresql, copied(postgresql, clinic, tmp_path), tmp_path)
    assert (unmade.check, unmade.table) == ("contents of materialized views", "public.shares")
    assert unmade.unchecked
    assert "division by zero" in unmade.detail


CODE = (
    "CREATE FUNCTION plain(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1'",
    "CREATE FUNCTION calls(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN plain($1); END'",
    "CREATE FUNCTION telling(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
    "'BEGIN IF current_setting(''search_path'') !~ ''public'' THEN "
    "RAISE EXCEPTION ''relation \"Ursula\" does not exist''; END IF; RETURN 1; END'",
    ROW,
    "CREATE INDEX by_code ON visits (calls(id))",
    "CREATE INDEX telling ON visits (telling(id))",
)


@pytest.mark.parametrize("method", ["physical", "logical"])
def test_c3_an_index_whose_function_fails_is_named_and_the_copy_good(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path, method: str
) -> None:
    postgresql.sql(clinic, *CODE)
    found = judged(postgresql, copied(postgresql, clinic, tmp_path, method), tmp_path, method)
    where = "clinic.public" if method == "physical" else "public"
    assert {finding.table for finding in found} == {f"{where}.by_code", f"{where}.telling"}
    assert {finding.check for finding in found} == {"indexes"}
    assert all(finding.unchecked for finding in found)
    (code,) = [finding.detail for finding in found if finding.table == f"{where}.by_code"]
    assert "function plain(integer) does not exist, in the function public.calls" in code
    assert "Ursula" not in str(found)


def test_c5_what_cannot_be_restored_is_named_with_the_engines_reason(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    """No row's value is; the way out is."""
    postgresql.sql(
        clinic,
        "CREATE TABLE twice (name text)",
        "INSERT INTO twice VALUES ('Ursula'), ('Ursula')",
        "CREATE FUNCTION fine(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true'",
        "ALTER TABLE twice ADD CONSTRAINT checked CHECK (fine(name))",
        "CREATE OR REPLACE FUNCTION fine(text) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT false'",
    )
    (found,) = judged(postgresql, copied(postgresql, clinic, tmp_path), tmp_path)
    detail = found.detail
    assert found.check == "opens"
    assert 'new row for relation "twice" violates check constraint "checked"' in detail
    assert "rows of twice" in detail or 'rows of "twice"' in detail
    assert "`method: physical`" in detail
    assert "Ursula" not in detail


def test_b2_a_database_that_every_server_has(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    """Many keep their data in the one that a server comes with."""
    postgresql.sql("postgres", "CREATE TABLE here (id int)", "INSERT INTO here VALUES (1)")
    try:
        copy = copied(postgresql, "postgres", tmp_path)
        assert judged(postgresql, copy, tmp_path) == []
    finally:
        postgresql.sql("postgres", "DROP TABLE here")


def test_b3_what_this_machine_lacks_is_told(
    postgresql: PostgresqlServer, clinic: str, tmp_path: Path
) -> None:
    """The locale, and what labels a role: neither says anything of the copy."""
    postgresql.sql("postgres", "CREATE ROLE boss", "ALTER DATABASE clinic OWNER TO boss")
    postgresql.sql("postgres", "ALTER DATABASE clinic SET work_mem = '5MB'")
    postgresql.sql(clinic, ROW)
    try:
        copy = copied(postgresql, clinic, tmp_path)
    finally:
        postgresql.sql("postgres", "ALTER DATABASE clinic OWNER TO postgres", "DROP ROLE boss")
    contents = copy / "dump" / "toc.dat"
    contents.write_bytes(contents.read_bytes().replace(b"LOCALE = 'C.UTF-8'", b"LOCALE = 'X.UTF-8'"))
    with (copy / "roles.sql").open("a") as script:
        script.write("SECURITY LABEL FOR 'selinux' ON ROLE boss IS 'secret;x';\n")
    findings = postgresql.source("logical", clinic).validate(copy, fresh(tmp_path / "scratch"))
    assert "no locale C.UTF-8: restored with the locale C" in findings[1].detail
    failed = {finding.check: finding for finding in findings if not finding.passed}
    assert set(failed) == {"definitions", "roles"}, failed  # the definitions because they were changed
    assert failed["definitions"].detail.startswith("not as at the source: DATABASE -.clinic")
    assert failed["roles"].unchecked
    assert 'security label provider "selinux" is not loaded' in failed["roles"].detail
