"""The contract's ledger (source_contract.py) in the SQL Server stand-in, over ODBC, and its writer."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyodbc

from tasks.sources.sqlserver.source import SqlserverOptions, SqlserverSource
from tests.contract.source_contract import Writer, running_writer
from tests.standins.sqlserver.server import Login, Server, running
from tests.standins.sqlserver.storage import Database

DATABASE = "clinic"
FILLER = "the same words in every row "
ROWS, FILLER_LETTERS, ROWS_A_STATEMENT = 1_200, 1_000, 400

OBJECTS = [
    "CREATE TABLE [dbo].[entries] (id int IDENTITY(1,1) PRIMARY KEY, amount int NOT NULL)",
    "CREATE TABLE [dbo].[counter] (commits int NOT NULL)",
    "INSERT INTO [dbo].[counter] VALUES (0)",
    "CREATE TABLE [dbo].[left_half] (id int IDENTITY(1,1) PRIMARY KEY, value int, filler nvarchar(1000))",
    "CREATE TABLE [dbo].[right_half] (id int IDENTITY(1,1) PRIMARY KEY, value int, filler nvarchar(1000))",
    "CREATE TABLE [lab].[odd ]]name] ([a b] xml, [at] datetime2, [place] geography, [scan] varbinary(max), "
    "[any] sql_variant, [seen] rowversion)",
    "INSERT INTO [lab].[odd ]]name] "
    "VALUES (N'<a/>', N'2026-01-02 03:04:05.1234567', 0x0102, 0xFFD8, 0x07, 0x01)",
    "CREATE UNIQUE INDEX [by_value] ON [dbo].[entries] ([id], [amount])",
    "CREATE TRIGGER [dbo].[no_deletes] ON [dbo].[entries] INSTEAD OF DELETE AS BEGIN; RETURN; END",
    "CREATE PROCEDURE [dbo].[total] AS SELECT SUM(amount) FROM dbo.entries; RETURN",
    "CREATE VIEW [dbo].[large] AS SELECT id FROM dbo.entries WHERE amount > 100",
    "CREATE FUNCTION [dbo].[one]() RETURNS int AS BEGIN RETURN 1 END",
]


@dataclass
class Site:
    """A stand-in with the ledger in it, and the folder it shares with Datasave."""

    server: Server
    folder: Path
    secret: Path

    def options(self, **changes: Any) -> SqlserverOptions:
        given = {
            "server": self.server.address,
            "database": DATABASE,
            "user": "datasave",
            "password": f"file:{self.secret}",
            "driver": "FreeTDS",
            "encrypt": "no",
            "backup_folder": self.folder,
        }
        return SqlserverOptions(**(given | changes))

    def source(self, **changes: Any) -> SqlserverSource:
        return SqlserverSource(self.options(**changes))

    def scratch_databases(self) -> list[str]:
        return [each.name for each in self.server.listed() if each.name != DATABASE]


def connect(port: int, database: str = "master") -> Any:
    """A connection of the administrator's."""
    pyodbc.pooling = False
    return pyodbc.connect(
        f"Driver=FreeTDS;Server=127.0.0.1;Port={port};TDS_Version=7.4;Encryption=off;"
        f"UID=sa;PWD={{Strong}}Pass;1}};Database={database}",
        autocommit=True,
    )


@contextmanager
def ledger_site(folder: Path) -> Iterator[Site]:
    """A stand-in that holds the ledger, and a login with just the rights that ``grants`` gives."""
    shared, secret = folder / "SOSBU", folder / "password"
    shared.mkdir()
    secret.write_text("long & odd; {word}")
    secret.chmod(0o600)
    with running(folder / "server") as server:
        _take_ledger(server)
        rights = {"CREATE ANY DATABASE", "VIEW SERVER STATE"}
        server.logins["datasave"] = Login("datasave", "long & odd; {word}", rights=rights)
        server.find(DATABASE).users["datasave"] = {"db_backupoperator"}
        yield Site(server, shared, secret)


@cache
def _template() -> tempfile.TemporaryDirectory[str]:
    """The ledger's files, made once over ODBC; gone when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="datasave-ledger-")
    with running(Path(folder.name)) as server:
        fill(server.port)
        with closing(sqlite3.connect(server.find(DATABASE).mdf)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


def _take_ledger(server: Server) -> None:
    made = Path(_template().name) / "data"
    for ending in (".mdf", "_log.ldf"):
        shutil.copyfile(made / f"{DATABASE}{ending}", server.folder / f"{DATABASE}{ending}")
    server.add(Database(DATABASE, server.folder / f"{DATABASE}.mdf", "sa", family="5f3a"))


def fill(port: int) -> None:
    connection = connect(port)
    cursor = connection.cursor()
    cursor.execute(f"CREATE DATABASE [{DATABASE}]")
    cursor.execute(f"USE [{DATABASE}]")
    for sql in OBJECTS:
        cursor.execute(sql)
    words = (FILLER * (FILLER_LETTERS // len(FILLER) + 1))[:FILLER_LETTERS]
    for half in ("left_half", "right_half"):
        for start in range(1, ROWS + 1, ROWS_A_STATEMENT):
            rows = ", ".join(f"({place}, N'{words}')" for place in range(start, start + ROWS_A_STATEMENT))
            cursor.execute(f"INSERT INTO [dbo].[{half}] (value, filler) VALUES {rows}")
    connection.close()


def writing(site: Site, pause: float = 0.05) -> AbstractContextManager[Writer]:
    """A separate process that commits to the ledger over ODBC every ``pause`` seconds."""
    program = Path(__file__).with_name("sqlserver_writer.py")
    return running_writer([sys.executable, str(program), str(site.server.port), str(pause)])
