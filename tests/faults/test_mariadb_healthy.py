"""Healthy MariaDB databases that are odd: backed up; what could not be checked is named, not called damage.

And those that cannot be dumped: the object is named, the engine's own reason, and the way out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.checks.measure import profile
from tasks.errors import CopyError, SourceError
from tasks.records import Finding
from tasks.sources.mariadb import copy as copying
from tasks.sources.mariadb.catalog import earlier_digests
from tasks.sources.mariadb.compare import hold
from tasks.sources.mariadb.record import read_record, write_record
from tasks.sources.mariadb.source import MariadbSource
from tests.contract.mariadb_ledger import source_of
from tests.contract.source_contract import fresh
from tests.servers.mariadb import MariadbServer, mariadb_server

OFFICE = "office_1"
SETTINGS = ("--debug-no-sync", "--default-time-zone=+05:00", "--transaction-isolation=READ-COMMITTED")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    with mariadb_server(*SETTINGS) as running:
        yield running


@pytest.fixture
def office(server: MariadbServer) -> MariadbServer:
    """A server with an empty database."""
    server.run(f"DROP DATABASE IF EXISTS {OFFICE}", f"CREATE DATABASE {OFFICE} CHARACTER SET utf8mb4")
    return server


def source(server: MariadbServer, folder: Path, method: str = "dump") -> MariadbSource:
    secret = folder / "password"
    secret.write_text("put-a-long-password-here")
    secret.chmod(0o600)
    made = source_of(server, method, secret, database=OFFICE, user="keeper")
    server.run("DROP USER IF EXISTS keeper@localhost")
    server.script(made.grants())
    return made


def judged(taken: MariadbSource, folder: Path) -> list[Finding]:
    """What is not good about a copy taken now, which is left in ``folder``/copy."""
    taken.check()
    shutil.rmtree(folder / "copy", ignore_errors=True)
    taken.copy_live(fresh(folder / "copy"))
    return bad(taken, folder)


def bad(taken: MariadbSource, folder: Path) -> list[Finding]:
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    findings = taken.validate(folder / "copy", fresh(folder / "scratch"))
    return [finding for finding in findings if not finding.passed]


@pytest.mark.parametrize("method", ["dump", "physical"])
def test_the_temporary_tables_of_other_servers_outlive_our_private_one(
    office: MariadbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A server that starts empties its tmpdir; the tables of the office's own server lie in the usual one."""
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("TMPDIR", str(shared))
    theirs = [shared / name for name in ("#sql-temptable-48ee-38-499.MAI", "#sql-temptable-48ee-38-499.MAD")]
    for path in theirs:
        path.write_bytes(b"rows")
    office.run("CREATE TABLE visits (id INT PRIMARY KEY)", database=OFFICE)
    assert judged(source(office, tmp_path, method), tmp_path) == []
    assert all(path.exists() for path in theirs)


def test_c1_times_are_the_same_whatever_zone_the_server_keeps(office: MariadbServer, tmp_path: Path) -> None:
    office.run(
        "CREATE TABLE visits (id INT PRIMARY KEY, at TIMESTAMP NOT NULL, ratio FLOAT)",
        "INSERT INTO visits VALUES (1, '2026-03-29 02:30:00', 0.5), (2, '1970-01-02 00:00:00', NULL)",
        database=OFFICE,
    )
    assert judged(source(office, tmp_path), tmp_path) == []


def test_c1_the_snapshot_is_the_dumps_own_whatever_isolation_is_usual(
    office: MariadbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On READ COMMITTED a snapshot is asked for in vain, and what is written meanwhile would be counted."""
    office.run("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", database=OFFICE)

    def late(*given: object) -> object:
        office.run("INSERT INTO t VALUES (2)", database=OFFICE)
        return hold(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "hold", late)
    assert judged(source(office, tmp_path), tmp_path) == []


def test_c2_sequences_and_counters_may_move_on_while_the_dump_runs(
    office: MariadbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.run(
        "CREATE SEQUENCE tickets NOCACHE",
        "CREATE SEQUENCE down START WITH 50 INCREMENT BY -1 MINVALUE 1 MAXVALUE 50 NOCACHE",
        "CREATE SEQUENCE round_again MINVALUE 1 MAXVALUE 3 START WITH 2 NOCACHE CYCLE",
        *["SELECT NEXTVAL(round_again)"] * 4,
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)",
        "INSERT INTO t VALUES (), ()",
        "CREATE TABLE moved (id INT AUTO_INCREMENT PRIMARY KEY)",
        "INSERT INTO moved VALUES (), ()",
        "UPDATE moved SET id = 4000 WHERE id = 1",
        database=OFFICE,
    )

    def late(*given: object) -> object:
        office.run(
            *[f"SELECT NEXTVAL({name})" for name in ("tickets", "down", "round_again")],
            "INSERT INTO t VALUES ()",
            database=OFFICE,
        )
        return hold(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "hold", late)
    taken = source(office, tmp_path)
    assert judged(taken, tmp_path) == []
    findings = taken.validate(tmp_path / "copy", fresh(tmp_path / "again"))
    (left,) = [finding.detail for finding in findings if finding.check == "not in a dump"]
    assert "sequences have come that began anew: sequence round_again" in left
    assert "passwords and grants" in left
    dump = tmp_path / "copy" / "dump.sql"
    text = dump.read_text()
    assert "SETVAL(`tickets`, 1," in text
    dump.write_text(
        text.replace("SETVAL(`tickets`, 1,", "SETVAL(`tickets`, 9,").replace(
            "AUTO_INCREMENT=3 ", "AUTO_INCREMENT=7 ", 1
        )
    )
    assert {finding.table for finding in bad(taken, tmp_path)} == {"sequence tickets", "t"}


def test_digits_that_a_dump_shortens_are_named_and_nothing_else_is_excused(
    office: MariadbServer, tmp_path: Path
) -> None:
    """mariadb-dump writes FLOAT with six digits: 123456.78 comes back as 123457."""
    office.run(
        "CREATE TABLE results (id INT PRIMARY KEY, measured FLOAT, note TEXT)",
        "INSERT INTO results VALUES (1, 123456.78, 'a'), (2, 0.5, 'b')",
        database=OFFICE,
    )
    taken = source(office, tmp_path)
    (found,) = judged(taken, tmp_path)
    assert (found.check, found.table, found.unchecked) == ("digits of FLOAT", "results", True)
    assert "the last digits of measured" in found.detail
    assert "method: physical" in found.detail
    dump = tmp_path / "copy" / "dump.sql"
    dump.write_text(dump.read_text().replace("(2,0.5,'b')", "(2,0.5,'c')"))
    (found,) = bad(taken, tmp_path)
    assert found.failed
    assert "FLOAT" not in found.detail


def test_c4_a_view_that_needs_what_only_its_own_server_has(office: MariadbServer, tmp_path: Path) -> None:
    """Another database, or a plugin: the view is named, all else is checked, and its words are held too."""
    office.run(
        "CREATE OR REPLACE DATABASE elsewhere",
        "CREATE TABLE elsewhere.prices (id INT)",
        "INSTALL SONAME 'metadata_lock_info'",
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE VIEW here AS SELECT id FROM t",
        "CREATE VIEW prices AS SELECT id FROM elsewhere.prices WHERE id > 5 WITH CHECK OPTION",
        "CREATE SQL SECURITY INVOKER VIEW stock AS SELECT id FROM prices",
        "CREATE VIEW locks AS SELECT THREAD_ID FROM information_schema.METADATA_LOCK_INFO",
        database=OFFICE,
    )
    office.run("DROP USER IF EXISTS keeper@localhost")
    taken = source(office, tmp_path)
    office.run("GRANT SELECT ON elsewhere.* TO keeper@localhost")
    found = judged(taken, tmp_path)
    assert {finding.table for finding in found} == {"view prices", "view stock", "view locks"}
    assert all(finding.unchecked for finding in found), found
    assert "reads a table of a plugin" in {f.table: f.detail for f in found}["view locks"]
    with taken.open(tmp_path / "copy", tmp_path / "scratch") as connection:
        assert {table.name for table in profile(connection, taken.tables(connection)).tables} > {
            "t",
            "(views)",
        }
    dump = tmp_path / "copy" / "dump.sql"
    for before, after in (
        ("`id` > 5", "`id` > 6"),
        ("`elsewhere`.`prices` where", "`elsewhere`.`price` where"),
    ):
        text = dump.read_text()
        assert before in text
        dump.write_text(text.replace(before, after))
        assert [(one.table, one.failed) for one in bad(taken, tmp_path) if one.failed] == [
            ("view prices", True)
        ]
        dump.write_text(text)
    office.run("UNINSTALL SONAME 'metadata_lock_info'")


def test_c4_tables_of_an_engine_that_is_a_plugin(office: MariadbServer, tmp_path: Path) -> None:
    """In a physical copy: the file came whole, but a private server cannot read it."""
    office.run(
        "INSTALL SONAME 'ha_archive'",
        "CREATE TABLE old_visits (id INT) ENGINE=ARCHIVE",
        "INSERT INTO old_visits VALUES (1)",
        "CREATE TABLE t (id INT PRIMARY KEY)",
        database=OFFICE,
    )
    taken = source(office, tmp_path, "physical")
    found = judged(taken, tmp_path)
    assert [(one.table, one.unchecked) for one in found] == [(f"{OFFICE}.old_visits", True)]
    assert "ARCHIVE" in found[0].detail
    with taken.open(tmp_path / "copy", tmp_path / "scratch") as connection:
        names = [table.name for table in profile(connection, taken.tables(connection)).tables]
    assert "t" in names
    assert "old_visits" not in names
    assert {"(definitions)", "(mysql.db)", "(mysql.global_priv)"} <= set(names), "with accounts and grants"
    office.run("DROP TABLE old_visits", "UNINSTALL SONAME 'ha_archive'", database=OFFICE)


def test_c5_rows_that_break_a_check(office: MariadbServer, tmp_path: Path) -> None:
    office.run(
        "CREATE TABLE bills (id INT, cents INT, who VARCHAR(20), CONSTRAINT sane CHECK (cents > 0))",
        "SET check_constraint_checks = 0",
        "INSERT INTO bills VALUES (1, -1, 'Miller')",
        database=OFFICE,
    )
    (found,) = judged(source(office, tmp_path), tmp_path)
    assert found.detail.startswith(
        "cannot load the dump: table bills: CHECK `sane` does not hold for a row (error 4025). The server"
    )
    assert "method: physical" in found.detail
    assert "Miller" not in found.detail


def test_c5_a_view_on_what_is_gone(office: MariadbServer, tmp_path: Path) -> None:
    office.run(
        "CREATE TABLE t (id INT)",
        "CREATE TABLE gone (id INT)",
        "CREATE VIEW broken AS SELECT id FROM gone",
        "DROP TABLE gone",
        database=OFFICE,
    )
    taken = source(office, tmp_path)
    with pytest.raises(SourceError, match=rf"no longer exists, {OFFICE}\.broken") as refused:
        taken.copy_live(fresh(tmp_path / "copy"))
    assert "method: physical" in refused.value.hint
    assert judged(source(office, tmp_path, "physical"), tmp_path) == [], "the way out is one"


def test_c5_a_view_that_calls_a_routine_as_whoever_reads_it(office: MariadbServer, tmp_path: Path) -> None:
    office.run(
        "CREATE TABLE t (id INT)",
        "CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
        "CREATE SQL SECURITY INVOKER VIEW v AS SELECT twice(id) AS d FROM t",
        database=OFFICE,
    )
    taken = source(office, tmp_path)
    with pytest.raises(SourceError, match=rf"{OFFICE}\.twice") as refused:
        taken.copy_live(fresh(tmp_path / "copy"))
    assert "EXECUTE" in refused.value.hint
    office.run(f"GRANT EXECUTE ON `{OFFICE.replace('_', chr(92) + '_')}`.* TO keeper@localhost")
    assert judged(taken, tmp_path) == []


def test_events_that_end_of_themselves_may_be_gone_after_their_time_and_not_before(
    office: MariadbServer, tmp_path: Path
) -> None:
    office.run(
        "CREATE TABLE t (id INT)",
        "CREATE EVENT once ON SCHEDULE AT '2037-01-01 00:00:00' DO SELECT 1",
        "CREATE EVENT for_a_while ON SCHEDULE EVERY 1 DAY ENDS '2037-01-01 00:00:00' DO SELECT 1",
        database=OFFICE,
    )
    taken = source(office, tmp_path)
    assert judged(taken, tmp_path) == []
    dump = tmp_path / "copy" / "dump.sql"
    text = dump.read_text()
    # As the server does when their time has come.
    dump.write_text(
        text.replace("EVENT `once`", "EVENT `other`").replace("EVENT `for_a_while`", "EVENT `o2`")
    )
    assert {f.table for f in bad(taken, tmp_path)} > {"event once", "event for_a_while"}
    dump.write_text(text)
    with taken.open(tmp_path / "copy", fresh(tmp_path / "s1")) as connection:
        before = profile(connection, taken.tables(connection))
    record = read_record(tmp_path / "copy")
    assert record.held is not None
    past = datetime.now(UTC) - timedelta(days=1)
    ending = dict.fromkeys(record.held.definitions.ending, past)
    definitions = record.held.definitions.model_copy(update={"ending": ending})
    held = record.held.model_copy(update={"definitions": definitions})
    write_record(tmp_path / "copy", record.model_copy(update={"held": held}))
    dump.write_text(text.replace("2037-01-01", "2007-01-01").replace("STARTS '2026", "STARTS '2006"))
    assert bad(taken, tmp_path) == []
    with taken.open(tmp_path / "copy", fresh(tmp_path / "s2")) as connection:
        assert profile(connection, taken.tables(connection)) == before, "an old backup is not called damaged"


def test_what_is_altered_while_the_dump_runs_is_told_and_tried_again(
    office: MariadbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.run("CREATE TABLE t (id INT)", database=OFFICE)

    def late(*given: object) -> object:
        office.run("CREATE VIEW new AS SELECT 1 AS one", database=OFFICE)
        return hold(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "hold", late)
    with pytest.raises(CopyError, match="view new was altered meanwhile") as told:
        source(office, tmp_path).copy_live(fresh(tmp_path / "copy"))
    assert not told.value.permanent


def test_history_that_counts_transactions_is_not_dumped(office: MariadbServer, tmp_path: Path) -> None:
    office.run(
        "CREATE TABLE kept (id INT, a BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, "
        "b BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b)) "
        "WITH SYSTEM VERSIONING",
        database=OFFICE,
    )
    with pytest.raises(SourceError, match=r"kept \(SYSTEM VERSIONED\)"):
        source(office, tmp_path).check()


def test_a_copy_of_the_first_format_is_compared_as_it_was_taken(
    office: MariadbServer, tmp_path: Path
) -> None:
    """``contents`` of datasave.json named objects and sequences as tables; checksums in hexadecimal."""
    office.run(
        "CREATE TABLE t (id INT PRIMARY KEY, note TEXT)",
        "INSERT INTO t VALUES (1, 'a'), (2, NULL)",
        "CREATE SEQUENCE s",
        "CREATE VIEW v AS SELECT id FROM t",
        database=OFFICE,
    )
    taken = source(office, tmp_path)
    assert judged(taken, tmp_path) == []
    with closing(office.connect(OFFICE)) as connection:
        contents = {
            table.name: (rows, format(int(digest or 0), "x"))
            for table in earlier_digests(connection)
            for rows, digest in connection.execute(table.query).fetchall()
        }
    record = read_record(tmp_path / "copy")
    old = record.model_copy(update={"format": 1, "held": None, "contents": contents})
    write_record(tmp_path / "copy", old)
    assert bad(taken, tmp_path) == []
    assert {"(columns)", "s", "t", "(views)"} < set(contents)
    dump = tmp_path / "copy" / "dump.sql"
    dump.write_text(dump.read_text().replace("(1,'a')", "(1,'b')"))
    assert [finding.table for finding in bad(taken, tmp_path)] == ["t"]
