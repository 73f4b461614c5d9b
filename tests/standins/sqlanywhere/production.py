"""A practice's server on the stand-in: the database, its users, its programs."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.standins.sqlanywhere.catalog import make_user
from tests.standins.sqlanywhere.client import Client
from tests.standins.sqlanywhere.codes import OK
from tests.standins.sqlanywhere.creation import create

if TYPE_CHECKING:
    from tests.contract.source_contract import Writer
    from tests.standins.sqlanywhere.install import StandIn

SERVER = "SOSSERVER"
NAME = "sosdata"
FILLER = "the same words in every row "

PASSWORDS = {
    "dba": "sql",
    "BU_BILL": "PASSword#1",
    "CHECKER": "chEck=17 it",
    "VALIDATOR": "valid",
    "READER": "read",
    "NOBODY": "nothing",
}
"""BU_BILL may only back up, CHECKER back up, validate and read, VALIDATOR and READER do what they say."""

PATIENTS = """
CREATE TABLE patients (id INTEGER PRIMARY KEY, name VARCHAR(80) NOT NULL, born DATE);
CREATE TABLE visits (id INTEGER PRIMARY KEY, patient_id INTEGER NOT NULL REFERENCES patients, at TIMESTAMP,
  note LONG VARCHAR);
CREATE TABLE notes (id INTEGER PRIMARY KEY, words VARCHAR(200));
CREATE VIEW recent_visits AS SELECT * FROM visits WHERE at > '2026-01-01';
CREATE TRIGGER visit_note AFTER INSERT ON visits WHEN new.note = 'trigger' BEGIN
  INSERT INTO notes (words) VALUES ('by trigger'); END;
INSERT INTO patients VALUES (1, 'Ada Müller', '1961-02-03'), (2, 'Grace O''Neil', '1970-11-30'),
  (3, 'Søren Å', NULL);
INSERT INTO visits VALUES (1, 1, '2026-01-05 09:30:00', 'cough'), (2, 1, '2026-02-05 10:00:00', NULL),
  (3, 2, '2025-12-01 08:15:00', 'check-up — all well');
INSERT INTO notes VALUES (1, 'belongs to DBA');
"""

DOCUMENTS = """
CREATE TABLE documents (id INTEGER PRIMARY KEY, patient_id INTEGER, name VARCHAR(80), content BLOB);
CREATE TABLE notes (id INTEGER PRIMARY KEY, words VARCHAR(200));
INSERT INTO documents VALUES (1, 1, 'scan.png', x'00FF10'), (2, 3, 'letter.txt', zeroblob(60000));
INSERT INTO notes VALUES (1, 'belongs to sos'), (2, 'also'), (3, 'also');
"""


def ledger(rows: int, filler_bytes: int = 1_000) -> str:
    """SQL that makes the contract's ledger, about 2 × rows × filler_bytes."""
    parts = [
        "CREATE TABLE entries (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL);",
        "CREATE TABLE counter (commits INTEGER NOT NULL);",
        "INSERT INTO counter VALUES (0);",
    ]
    for half in ("left_half", "right_half"):
        parts.append(f"CREATE TABLE {half} (id INTEGER PRIMARY KEY, value INTEGER, filler LONG VARCHAR);")
        parts.append(
            f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows}) "
            f"INSERT INTO {half} SELECT i, i, "
            f"substr(replace(hex(zeroblob({filler_bytes // len(FILLER) + 1})), '00', '{FILLER}'), 1, "
            f"{filler_bytes}) FROM n;"
        )
    return "\n".join(parts)


@dataclass
class Production:
    standin: StandIn
    folder: Path
    options: dict[str, str] = field(default_factory=dict)

    server = SERVER
    name = NAME
    passwords = PASSWORDS

    @classmethod
    def make(cls, standin: StandIn, folder: Path, *, rows: int, checksums: bool, dba_id: int) -> Production:
        """The database files, not yet started: sosdata.db, documents.db (a dbspace), sosdata.log."""
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(standin, folder.absolute())
        create(
            made.database,
            script=f"BEGIN; {PATIENTS} {ledger(rows)} COMMIT;",
            users=_users(dba_id),
            spaces={"sos": (made.dbspace, DOCUMENTS)},
            checksums=checksums,
            version=standin.version,
        )
        standin.set_dsn(ServerName=SERVER, DatabaseName=NAME)
        return made

    @property
    def database(self) -> Path:
        return self.folder / f"{NAME}.db"

    @property
    def dbspace(self) -> Path:
        return self.folder / "documents.db"

    @property
    def log(self) -> Path:
        return self.folder / f"{NAME}.log"

    @property
    def files(self) -> list[Path]:
        return [self.database, self.dbspace, self.log]

    # The server

    def start(self, **options: str) -> None:
        """Start the server; where nothing else is said it lets everyone start databases (-gd all)."""
        self.options = {"n": SERVER, "gd": "all", "c": "64M", **options}
        words = [word for key, value in self.options.items() for word in (f"-{key}", value)]
        spawned = self.standin.run(
            "dbspawn", "-f", self.standin.program("dbsrv"), *words, self.database, "-n", NAME
        )
        assert spawned.returncode == OK, f"the production server did not start: {spawned.returncode}"

    @property
    def pid(self) -> int:
        started = self.standin.events("start", server=SERVER)[-1]
        return int(started["pid"])

    @property
    def port(self) -> int | None:
        """The TCP port it listens on."""
        port: int | None = self.standin.events("start", server=SERVER)[-1]["port"]
        return port

    @property
    def running(self) -> bool:
        return self.standin.site.answers(SERVER)

    def stop(self) -> None:
        """Shut down in order, if it runs."""
        if self.running:
            self.standin.run("dbstop", "-y", "-c", self.string("dba"))

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while self.running:
            assert time.monotonic() < deadline, "the killed server still answers"
            time.sleep(0.01)

    # Its clients

    def string(self, user: str = "dba", **keys: str) -> str:
        """A connection string for a tool or a client."""
        old = self.standin.version < 12
        pairs = {"ENG" if old else "SERVER": SERVER, "DBN": NAME, "UID": user, "PWD": PASSWORDS[user], **keys}
        return ";".join(f"{key}={value}" for key, value in {"ASTART": "NO", **pairs}.items())

    def client(self, user: str = "dba") -> Client:
        """A connection that may write: ``client.execute(sql, *values)``; a context manager."""
        return Client(self.standin.folder, self.string(user))

    def execute(self, sql: str, *values: Any) -> list[list[Any]]:
        with self.client() as client:
            return client.execute(sql, *values)

    def odbc(self, user: str = "dba") -> Any:
        """A pyodbc connection (read-only); needs ``standin.environment``."""
        import pyodbc

        return pyodbc.connect(f"Driver={{{self.standin.driver}}};{self.string(user)}")

    def writer(self, pause: float = 0.05) -> AbstractContextManager[Writer]:
        """A separate process that commits to the ledger every ``pause`` seconds."""
        from tests.contract.source_contract import running_writer

        program = Path(__file__).with_name("writer.py")
        command = ["/usr/bin/env", f"SQLCONNECT={self.string('dba')}", sys.executable, str(program)]
        return running_writer([*command, str(self.standin.folder), str(pause)])


def _users(dba_id: int) -> list[dict[str, Any]]:
    rights = {
        "BU_BILL": ["BACKUP"],
        "CHECKER": ["BACKUP", "VALIDATE", "SELECT"],
        "VALIDATOR": ["VALIDATE"],
        "READER": ["SELECT"],
        "NOBODY": [],
    }
    owners = [make_user("SYS", 0, None), make_user("PUBLIC", 2, None), make_user("dbo", 3, None)]
    people = [make_user(name, 110 + n, PASSWORDS[name], *rights[name]) for n, name in enumerate(rights)]
    return [*owners, make_user("DBA", dba_id, "sql", "DBA"), make_user("sos", 102, None), *people]


def damage_row(file: Path) -> None:
    """Alter three bytes inside one row's text, in the middle of a database file."""
    data = bytearray(file.read_bytes())
    at = data.index(b"same words", len(data) // 2)
    data[at + 1 : at + 4] = b"###"
    file.write_bytes(data)
