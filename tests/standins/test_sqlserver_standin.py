"""The SQL Server stand-in keeps what it says about itself, seen through a real driver."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyodbc
import pytest

from tests.contract.source_contract import fresh
from tests.contract.sqlserver_ledger import DATABASE, Site, connect, ledger_site
from tests.standins.sqlserver.dialect import Refused, words
from tests.standins.sqlserver.statements import options

# What stands in for an engine is held to the documents, not the program to it: in `make test-all`.
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ledger_site(fresh(tmp_path_factory.mktemp("standin") / "site")) as site:
        yield site


@pytest.fixture
def cursor(site: Site) -> Iterator[Any]:
    connection = connect(site.server.port, DATABASE)
    yield connection.cursor()
    connection.close()


def backup_to(file: Path, extra: str = "COPY_ONLY, ") -> str:
    return f"BACKUP DATABASE [{DATABASE}] TO DISK = N'{file}' WITH {extra}CHECKSUM, INIT, STATS = 5"


def to_the_end(cursor: Any, sql: str) -> None:
    cursor.execute(sql)
    while cursor.nextset():
        pass


def test_values_come_through_the_driver(cursor: Any) -> None:
    long = "é" * 9_000
    cursor.execute(f"SELECT 1 AS a, N'it''s' AS b, NULL AS c, 1.5 AS d, 0x0102 AS e, N'{long}' AS f, -1 AS g")
    assert tuple(cursor.fetchone()) == (1, "it's", None, 1.5, b"\x01\x02", long, -1)


def test_names_in_brackets_and_catalog(cursor: Any) -> None:
    cursor.execute("SELECT [a b], [scan] FROM [lab].[odd ]]name]")
    assert tuple(cursor.fetchone()) == ("<a/>", b"\xff\xd8")
    cursor.execute("SELECT name FROM sys.triggers")
    assert cursor.fetchone()[0] == "no_deletes"


@pytest.mark.parametrize(
    ("sql", "number"),
    [
        ("SELEKT 1", 102),
        ("SELECT * FROM [nowhere]", 208),
        ("SELECT [nothing] FROM [dbo].[entries]", 207),
        ("SELECT NO_SUCH_FUNCTION(1)", 195),
        ("BACKUP DATABASE [clinic] TO DISK = N'/tmp/x.bak' WITH COPYONLY", 155),
        ("BACKUP DATABASE [clinic] TO N'/tmp/x.bak'", 102),
        ("BACKUP DATABASE [gone] TO DISK = N'/tmp/x.bak' WITH COPY_ONLY", 911),
        ("RESTORE DATABASE [x] FROM DISK = N'/tmp/not/there.bak'", 3201),
        ("DROP DATABASE [gone]", 3701),
    ],
)
def test_errors_have_their_numbers(cursor: Any, sql: str, number: int) -> None:
    with pytest.raises(pyodbc.Error) as caught:
        to_the_end(cursor, sql)
    assert f"({number})" in caught.value.args[1]


def test_a_backup_needs_its_reader(site: Site, cursor: Any) -> None:
    """Who reads the first result alone gets no error and no backup: a trap the adapter must avoid."""
    site.server.knobs.backup_seconds = 2
    file = site.folder / "cut.bak"
    cursor.execute(backup_to(file))
    assert file.exists()
    cursor.close()
    deadline = time.monotonic() + 5
    while file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not file.exists()
    site.server.knobs.backup_seconds = 0


def test_only_copy_only_leaves_the_differential_base(site: Site, cursor: Any) -> None:
    database, file = site.server.find(DATABASE), site.folder / "base.bak"
    before = database.differential_base
    to_the_end(cursor, backup_to(file))
    assert database.differential_base == before
    to_the_end(cursor, backup_to(file, extra=""))
    assert database.differential_base != before
    file.unlink()


def test_a_transaction_refuses_backups(site: Site) -> None:
    connection = connect(site.server.port, DATABASE)
    connection.autocommit = False
    with pytest.raises(pyodbc.Error, match="3021"):
        to_the_end(connection.cursor(), backup_to(site.folder / "never.bak"))
    connection.close()


def test_a_file_in_use_is_never_overwritten(site: Site, cursor: Any) -> None:
    """A restore without MOVE aims at the files of the database itself."""
    file = site.folder / "whole.bak"
    to_the_end(cursor, backup_to(file))
    with pytest.raises(pyodbc.Error, match="1834"):
        to_the_end(cursor, f"RESTORE DATABASE [other] FROM DISK = N'{file}'")
    with pytest.raises(pyodbc.Error, match="3159"):
        to_the_end(cursor, f"RESTORE DATABASE [{DATABASE}] FROM DISK = N'{file}'")
    file.unlink()


def test_rights(site: Site) -> None:
    """The backup's login may back up, and may not read a row."""
    connection = pyodbc.connect(
        f"Driver=FreeTDS;Server=127.0.0.1;Port={site.server.port};TDS_Version=7.4;Encryption=off;"
        f"UID=datasave;PWD={{{site.secret.read_text()}}};Database={DATABASE}",
        autocommit=True,
    )
    with pytest.raises(pyodbc.Error, match="229"):
        connection.cursor().execute("SELECT [amount] FROM [dbo].[entries]")
    with pytest.raises(pyodbc.Error, match="5011"):
        to_the_end(connection.cursor(), f"ALTER DATABASE [{DATABASE}] SET READ_ONLY")
    connection.close()


def test_options_are_parsed_strictly() -> None:
    assert options(words("WITH INIT, STATS = 5"), {"INIT"}, {"STATS"}) == {
        "MOVE": {},
        "INIT": True,
        "STATS": 5,
    }
    for wrong in ("WITH", "WITH INIT,", "WITH INIT STATS = 5", "INIT", "WITH STATS"):
        with pytest.raises(Refused):
            options(words(wrong), {"INIT"}, {"STATS"})
