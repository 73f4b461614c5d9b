"""A database with everything in it comes back by either method, and each part is counted and compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.checks.measure import measure_checks, profile
from tasks.options import Expectation, UserCheck
from tasks.records import Finding, LiveCopy, Profile
from tasks.sources.postgresql.connection import PostgresqlLogin
from tasks.sources.postgresql.source import PostgresqlSource
from tests.contract.source_contract import fresh, one_value
from tests.servers.postgresql import SUPERUSER, PostgresqlServer, one_initdb, postgresql
from tests.servers.postgresql_practice import create_practice

__all__ = ["one_initdb", "postgresql"]

pytestmark = pytest.mark.usefixtures("one_initdb")


@pytest.fixture(scope="module")
def practice(postgresql: PostgresqlServer) -> str:
    return create_practice(postgresql, "practice")


class Brought:
    """A copy by one method, validated, and what it holds."""

    def __init__(self, source: PostgresqlSource, folder: Path) -> None:
        self.source = source
        self.copy: LiveCopy = source.copy_live(fresh(folder / "copy"))
        self.scratch = fresh(folder / "scratch")
        self.findings: list[Finding] = source.validate(self.copy.folder, self.scratch)
        with source.open(self.copy.folder, self.scratch) as connection:
            self.profile: Profile = profile(connection, source.tables(connection))
        self.rows = {table.name: table.rows for table in self.profile.tables}

    def detail(self, check: str) -> str:
        return " ".join(finding.detail for finding in self.findings if finding.check == check)


@pytest.fixture(scope="module", params=["physical", "logical"])
def brought(
    request: pytest.FixtureRequest,
    postgresql: PostgresqlServer,
    practice: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Brought:
    return Brought(postgresql.source(request.param, practice), tmp_path_factory.mktemp(request.param))


@pytest.fixture
def connection(brought: Brought) -> Iterator[Any]:
    with brought.source.open(brought.copy.folder, brought.scratch) as connection:
        yield connection


def method_of(brought: Brought) -> str:
    return brought.source._options.method


def test_every_check_passes(brought: Brought) -> None:
    assert [finding for finding in brought.findings if not finding.passed] == []


def test_tables_are_counted_once(brought: Brought) -> None:
    expected = {
        "public.kinds": 203,
        "public.letters": 5,
        '"Old Files"."Näme ""quoted"""': 1,
        "public.nothing": 1,
        "public.visits_2025": 214,
        "public.visits_rest": 187,
        "public.parents": 1,
        "public.children": 2,
        "public.secrets": 2,
    }
    only_there = {"public.busy_days": 400} if method_of(brought) == "physical" else {"public.sessions": 50}
    found = {name: rows for name, rows in brought.rows.items() if not name.startswith("(")}
    assert found == {**expected, **only_there}


def test_all_that_is_not_rows_is_told(brought: Brought) -> None:
    expected = {
        "(triggers)": 2,
        "(functions)": 2,
        "(views)": 1,
        "(materialized views)": 2,
        "(policies)": 1,
        "(rules)": 1,
        "(types)": 2,
        "(event triggers)": 1,
        "(publications)": 1,
        "(foreign tables)": 1,
        "(partitioned tables)": 1,
        "(sequences)": 3,
        "(schemas)": 2,
        "(extensions)": 3,
        "(large objects)": 2,
        "(comments)": 0,
    }
    assert {name: brought.rows[name] for name in expected} == expected
    assert brought.rows["(constraints)"] == 5
    assert brought.rows["(indexes)"] >= 6
    assert brought.rows["(columns)"] > 30


def test_what_a_method_cannot_bring_back_is_said(brought: Brought) -> None:
    if method_of(brought) == "physical":
        assert "public.sessions: restored empty" in brought.detail("unlogged tables")
    else:
        assert "public.busy_days" in brought.detail("contents of materialized views")


def test_a_second_restore_has_the_same_profile(brought: Brought, tmp_path: Path) -> None:
    with brought.source.open(brought.copy.folder, fresh(tmp_path / "o")) as connection:
        assert profile(connection, brought.source.tables(connection)) == brought.profile


def test_nothing_can_be_written_to_an_open_copy(connection: Any) -> None:
    with pytest.raises(Exception, match="25006"):
        connection.cursor().execute("INSERT INTO parents VALUES (4)")


def test_a_failed_check_does_not_spoil_the_next(brought: Brought, connection: Any) -> None:
    expect = Expectation(type="expect_column_values_to_be_between", kwargs={"min_value": 1})
    questions = (
        "SELECT 1 / (count(*) - count(*)) FROM kinds",
        "SELECT count(*) FROM kinds",
        "SELECT max(born) FROM kinds WHERE id < 200",
    )
    checks = [
        UserCheck.model_validate({"title": "q", "sql": sql, "expect": expect, "as": how})
        for sql, how in zip(questions, ("number", "number", "age_days"), strict=True)
    ]
    broken, counted, age = measure_checks(connection, checks, brought.copy.started)
    assert "SQLSTATE 22012" in broken.problem
    assert counted.value == 203
    assert isinstance(age.value, float)
    assert age.value > 0


def test_the_scratch_engine_reaches_nothing(brought: Brought, connection: Any) -> None:
    """No address to be reached at, no network to reach out by, nothing loaded, no trigger firing."""
    assert one_value(connection, "SELECT current_setting('listen_addresses')") == ""
    assert one_value(connection, "SELECT current_setting('session_replication_role')") == "replica"
    assert one_value(connection, "SELECT current_setting('session_preload_libraries')") == ""
    with pytest.raises(Exception, match="Network is unreachable"):
        connection.cursor().execute("SELECT count(*) FROM elsewhere")


@contextmanager
def live(server: PostgresqlServer, database: str, **settings: str) -> Iterator[Any]:
    """The running database, as its superuser; nothing that is done there stays."""
    quiet = {"session_preload_libraries": "", "session_replication_role": "replica"}
    pass_file = server.folder / f"{SUPERUSER}.pass"
    here = PostgresqlLogin(
        server.host, server.port, SUPERUSER, database, pass_file=pass_file, options={**quiet, **settings}
    )
    with here.connected(autocommit=False) as connection:
        yield connection
        connection.rollback()


def test_a_sessions_settings_change_nothing(postgresql: PostgresqlServer, practice: str) -> None:
    source = postgresql.source("physical", practice)
    odd = {
        "DateStyle": "German",
        "TimeZone": "Asia/Tokyo",
        "IntervalStyle": "sql_standard",
        "bytea_output": "escape",
        "extra_float_digits": "-3",
        "xmlbinary": "hex",
    }
    found = []
    for settings in ({}, odd):
        with live(postgresql, practice, **settings) as connection:
            found.append(profile(connection, source.tables(connection)))
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def at_rest(postgresql: PostgresqlServer, practice: str) -> Profile:
    """What the live database holds, read as a physical copy is."""
    source = postgresql.source("physical", practice)
    with live(postgresql, practice) as connection:
        return profile(connection, source.tables(connection))


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("public.letters", "UPDATE letters SET body = overlay(body PLACING 'X' FROM 12000) WHERE id = 3"),
        ("public.letters", "UPDATE letters SET scan = set_byte(scan, 200000, 7) WHERE id = 3"),
        ("public.kinds", 'UPDATE kinds SET doc = \'{"a": [2, 1], "b": 1}\' WHERE id = 7'),
        ("public.kinds", "UPDATE kinds SET amount = amount + 1 WHERE id = 7"),
        ("public.kinds", "UPDATE kinds SET ratio = 'Infinity' WHERE amount = 'NaN'"),
        ("public.kinds", "UPDATE kinds SET words = 'Zoë Ångström 😁 7' WHERE id = 7"),
        ("public.kinds", "UPDATE kinds SET at = at + interval '1 microsecond' WHERE id = 7"),
        ("public.kinds", "UPDATE kinds SET born = 'infinity' WHERE born = '-infinity'"),
        ("public.kinds", "UPDATE kinds SET words = NULL WHERE words = ''"),
        ("public.kinds", "UPDATE kinds SET raw = NULL WHERE octet_length(raw) = 0"),
        ("public.kinds", "UPDATE kinds SET words = words || ' ' WHERE id = 7"),
        ("public.kinds", "UPDATE kinds SET words = upper(words) WHERE id = 7"),
        ("public.kinds", "UPDATE kinds SET ratio = '0' WHERE ratio = '-0'"),
        ("public.kinds", "UPDATE kinds SET amount = '0.0' WHERE amount = '0'"),
        ("public.kinds", "UPDATE kinds SET amount = '-Infinity' WHERE amount = 'NaN'"),
        ("public.kinds", 'UPDATE kinds SET plain = \'{"b":1,  "a":2}\' WHERE id = 7'),
        ("public.kinds", "UPDATE kinds SET ratio = amount::float8, amount = ratio::numeric WHERE id = 7"),
        (
            "public.kinds",
            "UPDATE kinds k SET who = o.who FROM kinds o WHERE k.id + o.id = 15 AND k.id IN (7, 8)",
        ),
        ("public.nothing", "INSERT INTO nothing DEFAULT VALUES"),
        ("(comments)", "COMMENT ON COLUMN kinds.words IS 'as they came'"),
        ("(grants)", "REVOKE EXECUTE ON FUNCTION touch() FROM PUBLIC"),
        ("(grants)", "GRANT SELECT (id) ON kinds TO bk_phys"),
        ("(default privileges)", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bk_phys"),
        ("(owners)", "ALTER SEQUENCE untouched OWNER TO bk_dump"),
        ("(database)", "ALTER DATABASE practice SET enable_seqscan = off"),
        ("(database)", "ALTER ROLE bk_phys IN DATABASE practice SET search_path = x"),
        ("(database)", "COMMENT ON DATABASE practice IS 'moved'"),
        ("(grants)", "REVOKE CONNECT ON DATABASE practice FROM PUBLIC"),
        ("(roles)", "ALTER ROLE bk_phys SET work_mem = '5MB'"),
        ("(large objects)", "UPDATE pg_largeobject SET data = set_byte(data, 900, 1) WHERE pageno = 1"),
        ("(triggers)", "ALTER TABLE letters DISABLE TRIGGER touched"),
        ("(columns)", "ALTER TABLE letters ALTER body SET DEFAULT 'x'"),
        (
            "(functions)",
            "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        ),
        ("(policies)", "ALTER POLICY own_only ON secrets USING (true)"),
        (
            "(constraints)",
            "ALTER TABLE letters DROP CONSTRAINT known, ADD CONSTRAINT known CHECK (id < 1001)",
        ),
        # Last, because it cannot be taken back.
        ("(sequences)", "SELECT nextval('invoice')"),
    ],
)
def test_each_small_change_shows(
    postgresql: PostgresqlServer, practice: str, at_rest: Profile, table: str, change: str
) -> None:
    """Read with the same queries, in the live database, before and after; nothing else changes with it."""
    source = postgresql.source("physical", practice)
    with live(postgresql, practice, allow_system_table_mods="on") as connection:
        connection.cursor().execute(change)
        after = profile(connection, source.tables(connection))
    changed = [old.name for old, new in zip(at_rest.tables, after.tables, strict=True) if old != new]
    assert changed == [table]
