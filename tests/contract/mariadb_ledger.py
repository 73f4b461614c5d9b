"""The contract's ledger (source_contract.py) in MariaDB, with other objects; its writer; damage to copies."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pyodbc

from tasks.sources.mariadb.catalog import WHOLE_SERVER
from tasks.sources.mariadb.source import MariadbOptions, MariadbSource
from tests.contract.source_contract import SourceCase, Writer, running_writer
from tests.servers.mariadb import MariadbServer, connection_string, mariadb_server

DATABASE = "front-office_1"
FILLER = "the same words in every row "
PASSWORD = "a;b}c\"d\\e'f #g"  # each of these has broken somebody's quoting

# What must come back besides rows; the last two tables hold what drivers cut, round or stumble over.
OBJECTS = (
    "CREATE TRIGGER counted BEFORE UPDATE ON counter FOR EACH ROW SET NEW.commits = NEW.commits",
    "CREATE TRIGGER odd_text BEFORE INSERT ON entries FOR EACH ROW SET @note = 'it''s; -- ünïcode'",
    "CREATE PROCEDURE balance() SELECT SUM(amount) FROM entries",
    "CREATE FUNCTION doubled(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM entries WHERE FALSE",
    "CREATE VIEW newest AS SELECT MAX(id) AS id FROM entries",
    "CREATE SEQUENCE numbers START WITH 100 INCREMENT BY 5",
    "SELECT NEXTVAL(numbers)",
    "SET sql_mode = ''",
    "CREATE TABLE oddities (id INT PRIMARY KEY, note LONGTEXT, scan LONGBLOB, born DATE, seen DATETIME(6), "
    "stamp TIMESTAMP(3) NULL, took TIME(3), year YEAR, big BIGINT UNSIGNED, price DECIMAL(30, 10), "
    "ratio FLOAT, exact DOUBLE, flags BIT(12), face VARCHAR(40), kind ENUM('ä', 'b'), marks SET('x', 'y'), "
    "raw VARBINARY(20), tree JSON, place POINT, who UUID, address INET6, twice INT AS (id * 2) VIRTUAL, "
    "thrice INT AS (id * 3) STORED, KEY (face), KEY (big)) CHARACTER SET utf8mb4",
    "INSERT INTO oddities (id, note, scan, born, seen, stamp, took, year, big, price, ratio, exact, flags, "
    "face, kind, marks, raw, tree, place, who, address) VALUES (1, REPEAT('long text ', 10000), "
    "REPEAT(x'00ff', 60000), '0000-00-00', '0000-00-00', '2026-03-29 01:30:00.123', '-800:00:00.123', 0, "
    "18446744073709551615, -12345678901234567890.0123456789, 0.5, 0.1, b'101010101010', 'a😀\\0b', 'ä', "
    "'x,y', x'0001ff', '{\"a\": [1, 2]}', POINT(1.5, -2), '00112233-4455-6677-8899-aabbccddeeff', '::1')",
    "INSERT INTO oddities (id) VALUES (2)",
    "CREATE TABLE `old words; -- odd name` (`a column` VARCHAR(9) CHARACTER SET latin1) CHARACTER SET latin1",
    "INSERT INTO `old words; -- odd name` VALUES ('Müller€'), (''), (NULL)",
)


def create_ledger(server: MariadbServer, rows: int = 2_000, filler_bytes: int = 1_000) -> None:
    """The database with its ledger, of about 2 × rows × filler_bytes, and the objects."""
    server.run(f"DROP DATABASE IF EXISTS `{DATABASE}`", f"CREATE DATABASE `{DATABASE}` CHARACTER SET utf8mb4")
    filler = f"LEFT(REPEAT('{FILLER}', {filler_bytes // len(FILLER) + 1}), {filler_bytes})"
    server.run(
        "CREATE TABLE entries (id INT AUTO_INCREMENT PRIMARY KEY, amount BIGINT NOT NULL)",
        "CREATE TABLE counter (commits INT NOT NULL)",
        "INSERT INTO counter VALUES (0)",
        *(
            statement
            for half in ("left_half", "right_half")
            for statement in (
                f"CREATE TABLE {half} (id INT PRIMARY KEY, value BIGINT, filler TEXT)",
                f"INSERT INTO {half} SELECT seq, seq, {filler} FROM seq_0_to_{rows - 1}",
            )
        ),
        *OBJECTS,
        database=DATABASE,
    )
    flush(server)


def backup_account(server: MariadbServer, method: str, secret: Path) -> MariadbSource:
    """A source by the socket, whose account has just the rights that the source itself asks for."""
    user = f"backup_{method}"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    source = source_of(server, method, secret)
    server.run(f"DROP USER IF EXISTS {user}@localhost")
    server.script(source.grants())
    escaped = PASSWORD.replace("\\", "\\\\").replace("'", "''")
    server.run(f"ALTER USER {user}@localhost IDENTIFIED BY '{escaped}'")
    return source


def source_of(server: MariadbServer, method: str, secret: Path, **changes: Any) -> MariadbSource:
    options = {
        "database": DATABASE,
        "method": method,
        "socket": server.socket,
        "user": f"backup_{method}",
        "password": f"file:{secret}",
        **changes,
    }
    return MariadbSource(MariadbOptions.model_validate(options))


def writing(server: MariadbServer, pause: float = 0.05) -> AbstractContextManager[Writer]:
    """A separate process that commits to the ledger every ``pause`` seconds."""
    program = Path(__file__).with_name("mariadb_writer.py")
    target = connection_string(server.socket, DATABASE)
    return running_writer([sys.executable, str(program), target, str(pause)])


@contextmanager
def open_restored(restored: Path) -> Iterator[Any]:
    """What ``restore`` returned, under a stock server: its data folder, or loaded by the stock client."""
    with mariadb_server(data=restored if restored.is_dir() else None) as server:
        if restored.is_file():
            server.script(restored.read_text("utf-8"))
            target = connection_string(server.socket, DATABASE)
        else:
            # The server has the accounts of the one that was copied.
            target = connection_string(server.socket, DATABASE)
        with closing(pyodbc.connect(target, autocommit=True)) as connection:
            connection.execute("SET time_zone = '+00:00'")
            if restored.is_dir():
                connection.execute(f"SET {WHOLE_SERVER} = 1")
            yield connection


def damage_text(copy: Path) -> None:
    """Alter three bytes of one row's text, in the table's file or in the dump."""
    [file] = [*copy.glob("dump.sql"), *copy.glob("data/*/left_half.ibd"), *copy.glob("data/*/left_half.new")]
    size = file.stat().st_size
    data = bytearray(file.read_bytes())
    at = data.index(b"same words", (data.index(b"same words") + data.rindex(b"same words")) // 2)
    data[at + 1 : at + 4] = b"###"
    file.write_bytes(data)
    assert file.stat().st_size == size


def case_of(server: MariadbServer, method: str, folder: Path) -> SourceCase:
    secret = folder / "password"
    return SourceCase(
        source=backup_account(server, method, secret),
        missing=source_of(server, method, secret, socket=server.folder / "gone"),
        writer=lambda: writing(server),
        damage=damage_text,
        open_restored=open_restored,
    )


def flush(server: MariadbServer) -> None:
    """Have all rows in the tables' files, not only in the log, as on a server that has run for a while."""
    server.run("SET GLOBAL innodb_max_dirty_pages_pct = 0")
    dirty = "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'"
    with closing(server.connect()) as connection:
        while int(connection.execute(dirty).fetchone()[1]):
            time.sleep(0.05)
