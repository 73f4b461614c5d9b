"""How the SQL Server adapter talks to drivers, quotes names, and reads the numbers of errors."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.errors import SourceError
from tasks.sources.sqlserver.catalog import _column
from tasks.sources.sqlserver.connection import ServerLogin, _moment, bracketed, literal
from tasks.sources.sqlserver.copy import ExchangeFolder
from tasks.sources.sqlserver.errors import FAULTS, sql_error
from tasks.sources.sqlserver.source import SqlserverOptions, SqlserverSource


def options(**changes: Any) -> SqlserverOptions:
    given = {"server": "localhost\\SOS", "database": "Practice", "backup_folder": Path("/srv/SOSBU")}
    return SqlserverOptions(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"database": "MSDB"}, "of the server itself"),
        ({"user": "datasave"}, "go together"),
        ({"password": "env:SQL_PASSWORD"}, "go together"),
        ({"server": "x;Trusted_Connection=yes"}, "no such name"),
        ({"driver": "x};PWD={y"}, "no such name"),
        ({"user": "datasave", "password": "plain words"}, "reference"),
    ],
)
def test_options_that_cannot_be(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        options(**changes)


def test_microsofts_driver_is_told_to_encrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQL_PASSWORD", "a}b;c")
    server = ServerLogin(
        "localhost\\SOS", "ODBC Driver 18 for SQL Server", "yes", False, "sa", "env:SQL_PASSWORD"
    )
    assert server._string("odd}name") == (
        "Driver={ODBC Driver 18 for SQL Server};Server={localhost\\SOS};Encrypt=yes;"
        "TrustServerCertificate=no;APP=Datasave;Database={odd}}name};UID={sa};PWD={a}}b;c};"
    )


def test_without_a_user_windows_signs_in() -> None:
    server = ServerLogin("office,1433", "FreeTDS", "yes", False, "", "")
    assert server._string("x") == (
        "Driver={FreeTDS};Server=office;Port=1433;TDS_Version=7.4;Encryption=require;APP=Datasave;"
        "Database={x};Trusted_Connection=yes;"
    )


def test_quoting() -> None:
    assert bracketed("odd ]name") == "[odd ]]name]"
    assert literal("it's") == "N'it''s'"
    for run in (lambda: bracketed(""), lambda: bracketed("x" * 129), lambda: literal("C:\new")):
        with pytest.raises(SourceError):
            run()


def test_paths_as_the_server_writes_them() -> None:
    for there, path in (
        ("C:\\SOSBU", "C:\\SOSBU\\a.bak"),
        ("C:\\SOSBU\\", "C:\\SOSBU\\a.bak"),
        ("D:", "D:\\a.bak"),
        ("/var/opt/mssql/backup/", "/var/opt/mssql/backup/a.bak"),
    ):
        assert ExchangeFolder(Path("/x"), there).server_path("a.bak") == path


MICROSOFT = (
    "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Cannot open backup device "
    "'C:\\b (2)\\x.bak'. Operating system error 5(Access is denied.). (3201) (SQLExecDirectW); "
    "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]BACKUP DATABASE is terminating "
    "abnormally. (3013)"
)


def test_numbers_of_an_error() -> None:
    error = sql_error(Exception("42000", MICROSOFT))
    assert error.numbers == (3201, 3013)
    assert error.system == 5
    assert "may not use the backup folder" in error.fault.cause
    assert not error.of_the_copy


def test_a_row_in_a_message_goes_no_further() -> None:
    text = "[23000] [FreeTDS][SQL Server]The duplicate key value is (Doe, Jane). (2627) (SQLExecDirectW)"
    error = sql_error(Exception("23000", text))
    assert error.fault.cause == "SQL Server error 2627"
    assert "Doe" not in repr(error) + str(error.fault)


@pytest.mark.parametrize(
    "arguments", [(), ("x",), ("08S01", "gone"), ("HYT00", "[HYT00] late (0) (SQLConnect)")]
)
def test_errors_without_a_number(arguments: tuple[str, ...]) -> None:
    error = sql_error(Exception(*arguments))
    assert error.numbers == ()
    assert error.fault.hint
    assert error.fault.permanent == (not arguments or arguments == ("x",))


def test_every_fault_is_a_line_and_a_hint() -> None:
    for fault in FAULTS.values():
        assert "\n" not in fault.cause + fault.hint
        assert not fault.cause.endswith(".")
        assert fault.hint.endswith(".")
        assert fault.cause[0].islower()


def test_types_that_odbc_cannot_read() -> None:
    assert _column("a", "int") == "[a]"
    assert _column("a", "xml") == "CAST([a] AS nvarchar(max))"
    assert _column("a", "sql_variant") == "CAST([a] AS varbinary(8000))"
    assert _column("a", None) == "CAST([a] AS varbinary(max))"


def test_a_time_with_its_zone() -> None:
    data = struct.pack("<6hI2h", 2026, 3, 1, 12, 30, 15, 123456700, -5, -30)
    assert _moment(data).astimezone(UTC) == datetime(2026, 3, 1, 18, 0, 15, 123456, UTC)


def test_grants_name_the_database() -> None:
    text = SqlserverSource(options(database="odd ]name")).grants()
    assert "USE [odd ]]name];" in text
    assert "[db_backupoperator] ADD MEMBER [datasave]" in text
    assert "GRANT CREATE ANY DATABASE" in text
