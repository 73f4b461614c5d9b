"""Silent damage to MariaDB copies: each kind is caught, and the test prints (pytest -rP) by which check."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.checks.measure import profile
from tasks.errors import SourceError, ValidationError
from tasks.records import Finding
from tasks.sources.mariadb.source import MariadbSource
from tests.contract.mariadb_ledger import (
    DATABASE,
    PASSWORD,
    backup_account,
    create_ledger,
    damage_text,
    flush,
    source_of,
)
from tests.contract.source_contract import fresh
from tests.servers.mariadb import MariadbServer, mariadb_server

FOLDER = "data/front@002doffice_1"


@dataclass
class Taken:
    """A server, and one good copy of it by each method."""

    server: MariadbServer
    sources: dict[str, MariadbSource]
    folder: Path

    def injured(self, method: str, injure: Callable[[Path], None], place: Path) -> list[Finding]:
        """Findings on a clone of the good copy, after ``injure`` altered it."""
        shutil.copytree(self.folder / method, place / "copy")
        injure(place / "copy")
        return self.sources[method].validate(place / "copy", fresh(place / "scratch"))


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    folder = tmp_path_factory.mktemp("taken")
    with mariadb_server("--debug-no-sync") as server:
        create_ledger(server)
        sources = {
            method: backup_account(server, method, folder / "password") for method in ("physical", "dump")
        }
        sources["dump"].copy_live(fresh(folder / "dump"))
        # A table that only a physical copy can hold.
        server.run(
            "CREATE TABLE aria_notes (id INT PRIMARY KEY, note VARCHAR(200)) ENGINE=Aria",
            "INSERT INTO aria_notes SELECT seq, CONCAT('aria note ', seq) FROM seq_1_to_2000",
            "FLUSH TABLES aria_notes",
            database=DATABASE,
        )
        flush(server)
        sources["physical"].copy_live(fresh(folder / "physical"))
        for method, source in sources.items():
            findings = source.validate(folder / method, fresh(folder / f"{method}-scratch"))
            assert all(finding.passed for finding in findings), findings
        yield Taken(server, sources, folder)


def caught(findings: list[Finding]) -> Finding:
    """The one check that failed first; printed for the reader."""
    failed = [finding for finding in findings if not finding.passed]
    assert failed, "nothing was noticed"
    print(f"caught by {failed[0].check!r}: {failed[0].table or ''} {failed[0].detail}")
    assert "same words" not in failed[0].detail
    return failed[0]


def rewrite_record(copy: Path) -> None:
    """Have datasave.json agree with the files, so that only the engine's own checks are left."""
    record = json.loads((copy / "datasave.json").read_text())
    data = copy / "data"
    record["files"] = {
        path.relative_to(data).as_posix(): path.stat().st_size for path in data.rglob("*") if path.is_file()
    }
    (copy / "datasave.json").write_text(json.dumps(record))


def overwrite(file: Path, text: bytes, by: bytes) -> None:
    data = file.read_bytes()
    at = data.index(text, len(data) // 3)
    file.write_bytes(data[:at] + by + data[at + len(by) :])


def cut(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def test_three_bytes_of_an_innodb_page(taken: Taken, tmp_path: Path) -> None:
    found = caught(taken.injured("physical", damage_text, tmp_path))
    assert (found.check, found.table) == ("pages", "front@002doffice_1/left_half")


def test_three_bytes_of_a_row_in_an_aria_table(taken: Taken, tmp_path: Path) -> None:
    findings = taken.injured(
        "physical",
        lambda copy: overwrite(copy / FOLDER / "aria_notes.MAD", b"aria note", b"###"),
        tmp_path,
    )
    found = caught(findings)
    assert (found.check, found.table) == ("tables", f"{DATABASE}.aria_notes")


def test_cut_table_file(taken: Taken, tmp_path: Path) -> None:
    found = caught(taken.injured("physical", lambda copy: cut(copy / FOLDER / "left_half.ibd"), tmp_path))
    assert found.check == "copy complete"


def test_missing_table_file(taken: Taken, tmp_path: Path) -> None:
    found = caught(
        taken.injured("physical", lambda copy: (copy / FOLDER / "left_half.ibd").unlink(), tmp_path)
    )
    assert found.check == "copy complete"


@pytest.mark.parametrize("name", ["left_half.ibd", "aria_notes.MAD", "aria_notes.MAI"])
def test_cut_before_it_was_recorded(taken: Taken, tmp_path: Path, name: str) -> None:
    """The copy agrees with its record: the engine's own checks must see it."""

    def injure(copy: Path) -> None:
        data = (copy / FOLDER / name).read_bytes()
        (copy / FOLDER / name).write_bytes(data[: min(len(data) // 2, 1 << 20)])
        rewrite_record(copy)

    assert caught(taken.injured("physical", injure, tmp_path)).check in ("pages", "tables", "opens")


@pytest.mark.parametrize(
    ("names", "check"),
    [
        (["left_half.ibd"], "dictionary"),
        (["left_half.frm"], "dictionary"),
        (["left_half.ibd", "left_half.frm"], "dictionary"),
        (["aria_notes.MAI"], "tables"),
    ],
    ids=str,
)
def test_missing_when_it_was_recorded(taken: Taken, tmp_path: Path, names: list[str], check: str) -> None:
    def injure(copy: Path) -> None:
        for name in names:
            (copy / FOLDER / name).unlink()
        rewrite_record(copy)

    assert caught(taken.injured("physical", injure, tmp_path)).check == check


def test_missing_log(taken: Taken, tmp_path: Path) -> None:
    def injure(copy: Path) -> None:
        (copy / "data" / "ib_logfile0").unlink()
        rewrite_record(copy)

    caught(taken.injured("physical", injure, tmp_path))


def test_unprepared_clone_is_not_opened(taken: Taken, tmp_path: Path) -> None:
    """It would start and look right: the stock server does."""
    copy, scratch = taken.folder / "physical", fresh(tmp_path / "scratch")
    shutil.copytree(copy / "data", scratch / "data")
    (scratch / "ready").touch()
    with (
        pytest.raises(ValidationError, match="log was not applied"),
        taken.sources["physical"].open(copy, scratch),
    ):
        pass
    print("caught by: log applied")
    with (
        mariadb_server("--skip-grant-tables", data=scratch / "data") as server,
        closing(server.connect(DATABASE)) as connection,
    ):
        assert connection.execute("SELECT COUNT(*) FROM left_half").fetchone()[0] == 2_000


def test_a_table_that_lies_outside_the_copy_is_not_followed(taken: Taken, tmp_path: Path) -> None:
    def injure(copy: Path) -> None:
        (copy / FOLDER / "left_half.isl").write_text(str(taken.server.data / "left_half.ibd"))
        rewrite_record(copy)

    assert "outside" in caught(taken.injured("physical", injure, tmp_path)).detail


LOSSES = {
    "trigger counted": r"/\*!50003 CREATE\*/ /\*!50017 DEFINER=`root`@`localhost`\*/ /\*!50003 TRIGGER.*?;;",
    "procedure balance": r"CREATE DEFINER=`root`@`localhost` PROCEDURE.*?;;",
    "function doubled": r"CREATE DEFINER=`root`@`localhost` FUNCTION.*?;;",
    "event nightly": r"/\*!50106 CREATE\*/ /\*!50117 DEFINER=`root`@`localhost`\*/ /\*!50106 EVENT.*?;;",
    "view newest": r"/\*!50001 CREATE ALGORITHM=.*?;",
    "oddities": r",\n  KEY `face` \(`face`\)",
    "old words; -- odd name": r"CREATE TABLE `old words; -- odd name` .*?UNLOCK TABLES;",
    "left_half": r",\n\(17,17,[^\n]*?\)(?=,\n\(18,)",
    "right_half": r"INSERT INTO `right_half` VALUES.*?;\n",
}


def test_dump_that_lost_something(taken: Taken, tmp_path: Path) -> None:
    """Each loss is told by the name of the object."""

    def injure(copy: Path) -> None:
        dump = copy / "dump.sql"
        text = dump.read_text("utf-8")
        for lost, pattern in LOSSES.items():
            text, count = re.subn(pattern, "", text, flags=re.DOTALL | re.IGNORECASE)
            assert count, f"the fault did not fire: {lost}"
        dump.write_text(text, "utf-8")

    findings = taken.injured("dump", injure, tmp_path)
    failed = [finding for finding in findings if not finding.passed]
    for finding in failed:
        print(f"caught by {finding.check!r}: {finding.table} {finding.detail}")
    assert {finding.check for finding in failed} == {"dump complete"}
    assert {finding.table for finding in failed} == {*LOSSES, "trigger odd_text"}


def test_three_bytes_of_a_dump(taken: Taken, tmp_path: Path) -> None:
    found = caught(taken.injured("dump", damage_text, tmp_path))
    assert found.check == "dump complete"
    assert found.table in ("left_half", "right_half")


def test_dump_cut_in_half(taken: Taken, tmp_path: Path) -> None:
    found = caught(taken.injured("dump", lambda copy: cut(copy / "dump.sql"), tmp_path))
    assert found.check == "dump ends"


def test_dump_with_a_hole_in_the_middle(taken: Taken, tmp_path: Path) -> None:
    """The end is there: loading it must stop at the torn statement, which the stock client passes over."""

    def injure(copy: Path) -> None:
        dump = copy / "dump.sql"
        data = dump.read_bytes()
        dump.write_bytes(data[: len(data) // 2] + data[-200:])

    found = caught(taken.injured("dump", injure, tmp_path))
    assert found.check == "opens"


def test_account_without_trigger_privilege(taken: Taken, tmp_path: Path) -> None:
    """mariadb-dump ends with 0, its triggers gone: so such an account is refused before."""
    secret = tmp_path / "password"
    source = backup_account(taken.server, "dump", secret)
    user = "backup_dump@localhost"
    pattern = DATABASE.replace("_", "\\_")
    taken.server.run("DROP TABLE IF EXISTS aria_notes", database=DATABASE)
    source.check()
    taken.server.run(f"REVOKE TRIGGER ON `{pattern}`.* FROM {user}")
    defaults = tmp_path / "client.cnf"
    defaults.write_text(
        f'[client]\nsocket="{taken.server.socket}"\nuser="backup_dump"\npassword="'
        + PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        + '"\n'
    )
    dump = tmp_path / "dump.sql"
    command = ["mariadb-dump", f"--defaults-file={defaults}", "--single-transaction", "--triggers"]
    subprocess.run([*command, f"--result-file={dump}", DATABASE], check=True)
    assert b"Dump completed" in dump.read_bytes()
    assert b"TRIGGER" not in dump.read_bytes()
    for attempt in (source.check, lambda: source.copy_live(fresh(tmp_path / "copy"))):
        with pytest.raises(SourceError, match=re.escape(f"lacks TRIGGER ON {DATABASE}.*")) as refused:
            attempt()
    print(f"caught by check(): {refused.value.message}")
    assert not any((tmp_path / "copy").iterdir())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE oddities SET note = INSERT(note, 50001, 1, 'X') WHERE id = 1",
        "UPDATE oddities SET scan = INSERT(scan, 110001, 1, x'7f') WHERE id = 1",
        "UPDATE oddities SET born = NULL WHERE id = 1",
        "UPDATE oddities SET seen = '2026-01-01 00:00:00.000001' WHERE id = 1",
        "UPDATE oddities SET stamp = stamp + INTERVAL 1000 MICROSECOND WHERE id = 1",
        "UPDATE oddities SET took = '-800:00:00.124' WHERE id = 1",
        "UPDATE oddities SET year = 1901 WHERE id = 1",
        "UPDATE oddities SET big = big - 1 WHERE id = 1",
        "UPDATE oddities SET price = price + 0.0000000001 WHERE id = 1",
        "UPDATE oddities SET ratio = 0.50000006 WHERE id = 1",
        "UPDATE oddities SET exact = 0.10000000000000002 WHERE id = 1",
        "UPDATE oddities SET flags = flags ^ 1 WHERE id = 1",
        "UPDATE oddities SET face = 'a😀\\0c' WHERE id = 1",
        "UPDATE oddities SET face = 'a😁\\0b' WHERE id = 1",
        "UPDATE oddities SET kind = 'b' WHERE id = 1",
        "UPDATE oddities SET marks = 'x' WHERE id = 1",
        "UPDATE oddities SET raw = x'0001fe' WHERE id = 1",
        "UPDATE oddities SET tree = '{\"a\": [1, 3]}' WHERE id = 1",
        "UPDATE oddities SET place = POINT(1.5, -2.0000000000000004) WHERE id = 1",
        "UPDATE oddities SET who = '00112233-4455-6677-8899-aabbccddeefe' WHERE id = 1",
        "UPDATE oddities SET address = '::2' WHERE id = 1",
        "UPDATE oddities SET note = '' WHERE id = 2",
        "UPDATE oddities SET note = 'N', face = NULL WHERE id = 2",
    ],
    ids=lambda change: change.split()[3],
)
def test_any_change_of_a_value_shows(taken: Taken, change: str) -> None:
    """In the fingerprint, of either version."""
    source = taken.sources["dump"]
    with closing(taken.server.connect(DATABASE)) as connection:
        connection.execute("SET sql_mode = ''")
        listed = [*source.tables(connection), *source.earlier_tables(connection)]
        tables = [table for table in listed if table.name == "oddities"]
        connection.autocommit = False
        before = profile(connection, tables).tables
        assert connection.execute(change).rowcount == 1, "the fault did not fire"
        after = profile(connection, tables).tables
        connection.rollback()
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_an_empty_server_is_no_copy(taken: Taken, tmp_path: Path) -> None:
    """A database without tables is refused before the copy, by either method."""
    taken.server.run("CREATE OR REPLACE DATABASE hollow")
    secret = tmp_path / "password"
    for method in ("physical", "dump"):
        backup_account(taken.server, method, secret)
        taken.server.run(f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON hollow.* TO backup_{method}@localhost")
        with pytest.raises(SourceError, match="no tables"):
            source_of(taken.server, method, secret, database="hollow").check()
