"""The contract's ledger (source_contract.py) in PostgreSQL, its writer, and ways to damage a copy."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from tests.contract.source_contract import Writer, running_writer
from tests.servers.postgresql import SUPERUSER, PostgresqlServer

ROOT = Path(__file__).parents[2]
FILLER = "the same words in every row "


def create_ledger(
    server: PostgresqlServer, database: str, rows: int = 2_000, filler_bytes: int = 1_000
) -> str:
    """A database of about 2 × rows × filler_bytes, with a little of all that is not rows."""
    server.create(database)
    filler = f"left(repeat('{FILLER}', {filler_bytes // len(FILLER) + 1}), {filler_bytes})"
    row = f"i AS id, i AS value, {filler} AS filler"
    halves = [
        f"CREATE TABLE {half} AS SELECT {row} FROM generate_series(0, {rows - 1}) i"
        for half in ("left_half", "right_half")
    ]
    server.sql(
        database,
        "CREATE TABLE entries (id bigserial PRIMARY KEY, amount bigint NOT NULL)",
        "CREATE TABLE counter (commits bigint NOT NULL)",
        "INSERT INTO counter VALUES (0)",
        *halves,
        "ALTER TABLE left_half ADD PRIMARY KEY (id)",
        "ALTER TABLE right_half ADD PRIMARY KEY (id)",
        "CREATE VIEW big_entries AS SELECT * FROM entries WHERE abs(amount) > 1000000",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER stamped BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION stamp()",
        "CHECKPOINT",
    )
    return database


def writing(server: PostgresqlServer, database: str, pause: float = 0.05) -> AbstractContextManager[Writer]:
    """A separate process that commits to the ledger every ``pause`` seconds."""
    program = Path(__file__).with_name("postgresql_writer.py")
    pass_file = server.folder / f"{SUPERUSER}.pass"
    target = [server.host, str(server.port), SUPERUSER, str(pass_file), database]
    return running_writer([sys.executable, str(program), *target, str(pause)])


def damage_text(copy: Path) -> None:
    """Alter three bytes inside one row's text, in a copy of either method."""
    for file in sorted(copy.rglob("*")):
        if not file.is_file() or "pg_wal" in file.parts:
            continue
        data = bytearray(file.read_bytes())
        at = data.find(b"same words", len(data) // 2)
        if at > 0:
            data[at + 1 : at + 4] = b"###"
            file.write_bytes(data)
            return
    raise AssertionError("no row to damage")
