"""Damage that says nothing by itself, done to copies of PostgreSQL: each is caught, by the check named here.

``pytest -s`` prints which check caught what.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tasks.checks.measure import profile
from tasks.errors import CopyError, ValidationError
from tasks.sources.postgresql.record import NAME
from tasks.sources.postgresql.source import PostgresqlSource
from tests.contract.postgresql_ledger import create_ledger, damage_text
from tests.contract.source_contract import fresh, snapshot
from tests.servers.postgresql import BIN, PostgresqlServer, one_initdb, postgresql, postgresql_server

__all__ = ["one_initdb", "postgresql"]

pytestmark = pytest.mark.usefixtures("one_initdb")

Damage = Callable[[Path, PostgresqlServer], None]


@pytest.fixture(scope="module")
def database(postgresql: PostgresqlServer) -> str:
    return create_ledger(postgresql, "clinic", rows=500)


@pytest.fixture(scope="module")
def physical(postgresql: PostgresqlServer, database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = fresh(tmp_path_factory.mktemp("physical") / "copy")
    postgresql.source("physical", database).copy_live(copy)
    return copy


@pytest.fixture(scope="module")
def logical(postgresql: PostgresqlServer, database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = fresh(tmp_path_factory.mktemp("logical") / "copy")
    postgresql.source("logical", database).copy_live(copy)
    return copy


def file_of(relation: str, copy: Path, server: PostgresqlServer) -> Path:
    """Where a table or index lies in a physical copy."""
    return copy / "data" / server.sql("clinic", f"SELECT pg_relation_filepath('{relation}')")


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 8192 * 8192)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def in_record(copy: Path, **changes: str) -> None:
    path = copy / NAME
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}))


def dump_instead(copy: Path, server: PostgresqlServer, *before: str, options: tuple[str, ...] = ()) -> None:
    """Put another dump in the place of the good one: of a database that ``before`` was done to."""
    server.sql("postgres", "ALTER DATABASE clinic RENAME TO kept")
    server.create("clinic", "kept")
    try:
        if before:
            server.sql("clinic", *before)
        shutil.rmtree(copy / "dump")
        server.program("pg_dump", "-Fd", "-Z0", "-f", copy / "dump", "-d", "clinic", *options)
    finally:
        server.drop("clinic")
        server.sql("postgres", "ALTER DATABASE kept RENAME TO clinic")


def data_file(copy: Path, word: bytes = b"the same words") -> Path:
    """The dump's file of a table whose rows hold ``word``."""
    return next(path for path in sorted((copy / "dump").glob("*.dat")) if word in path.read_bytes()[:4096])


def cut_after_a_row(data: bytes) -> bytes:
    return data[: data.index(b"\n", len(data) // 2) + 1]


PHYSICAL: list[tuple[str, Damage, str]] = [
    ("three bytes of a row", lambda copy, _: damage_text(copy), "files"),
    ("a table cut at a page", lambda copy, pg: halve(file_of("left_half", copy, pg)), "files"),
    ("an index is missing", lambda copy, pg: file_of("left_half_pkey", copy, pg).unlink(), "files"),
    ("a file too many", lambda copy, _: (copy / "data" / "base" / "99999").write_text("x"), "files"),
    ("no manifest", lambda copy, _: (copy / "data" / "backup_manifest").unlink(), "files"),
    ("a manifest cut short", lambda copy, _: halve(copy / "data" / "backup_manifest"), "files"),
    ("no log", lambda copy, _: [p.unlink() for p in (copy / "data" / "pg_wal").glob("0*")][:0], "files"),
    ("a log cut short", lambda copy, _: halve(max((copy / "data" / "pg_wal").glob("0*"))), "files"),
    ("of another version", lambda copy, _: (copy / "data" / "PG_VERSION").write_text("14\n"), "files"),
    ("no data folder", lambda copy, _: shutil.rmtree(copy / "data"), "files"),
    ("programs that nobody has", lambda copy, _: in_record(copy, version="99.1"), "opens"),
    ("no such database", lambda copy, _: in_record(copy, database="other"), "opens"),
    ("an empty database", lambda copy, _: in_record(copy, database="postgres"), "tables"),
    ("no record", lambda copy, _: (copy / NAME).unlink(), "opens"),
    ("a damaged record", lambda copy, _: halve_text(copy / NAME), "opens"),
]

LOGICAL: list[tuple[str, Damage, str]] = [
    (
        "lost its triggers",
        lambda copy, pg: dump_instead(copy, pg, "DROP TRIGGER stamped ON entries"),
        "triggers",
    ),
    ("lost a function", lambda copy, pg: dump_instead(copy, pg, "DROP FUNCTION stamp CASCADE"), "functions"),
    ("lost a view", lambda copy, pg: dump_instead(copy, pg, "DROP VIEW big_entries"), "views"),
    (
        "lost a key",
        lambda copy, pg: dump_instead(copy, pg, "ALTER TABLE left_half DROP CONSTRAINT left_half_pkey"),
        "constraints",
    ),
    ("lost a table", lambda copy, pg: dump_instead(copy, pg, options=("-T", "counter")), "rows"),
    (
        "lost a table's rows",
        lambda copy, pg: dump_instead(copy, pg, options=("--exclude-table-data=left_half",)),
        "rows",
    ),
    ("one row less", lambda copy, pg: dump_instead(copy, pg, "DELETE FROM left_half WHERE id = 7"), "rows"),
    ("schema only", lambda copy, pg: dump_instead(copy, pg, options=("-s",)), "rows"),
    ("rows cut in the middle of one", lambda copy, _: halve(data_file(copy)), "rows"),
    ("rows cut between two", lambda copy, _: rewrite(data_file(copy), cut_after_a_row), "rows"),
    ("a file of rows is missing", lambda copy, _: data_file(copy).unlink(), "opens"),
    (
        "contents cut short",
        lambda copy, _: rewrite(copy / "dump" / "toc.dat", lambda data: data[:300]),
        "files",
    ),
    ("no contents", lambda copy, _: (copy / "dump" / "toc.dat").unlink(), "files"),
    ("an empty dump", lambda copy, _: [p.unlink() for p in (copy / "dump").iterdir()][:0], "files"),
    ("three bytes of a row", lambda copy, _: damage_text(copy), "rows"),
    (
        "a word in other letters",
        lambda copy, _: rewrite(
            copy / "dump" / "toc.dat", lambda data: data.replace(b"bigint", b"BIGINT", 1)
        ),
        "definitions",
    ),
]


def halve_text(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def caught_by(source: PostgresqlSource, copy: Path, good: Path, folder: Path) -> dict[str, str]:
    """The checks that caught it, with their words; the fingerprint where validation saw nothing."""
    findings = source.validate(copy, fresh(folder / "v"))
    failed = {
        finding.check: f"{finding.table or ''} {finding.detail}".strip()
        for finding in findings
        if not finding.passed
    }
    if failed:
        return failed

    def held(of: Path, scratch: Path) -> object:
        with source.open(of, scratch) as connection:
            return profile(connection, source.tables(connection))

    same = held(copy, folder / "v") == held(good, fresh(folder / "g"))
    return {} if same else {"fingerprint": "differs from the good copy's"}


@pytest.mark.parametrize(("name", "damage", "check"), PHYSICAL, ids=[name for name, *_ in PHYSICAL])
def test_damage_to_a_physical_copy(
    physical: Path, postgresql: PostgresqlServer, tmp_path: Path, name: str, damage: Damage, check: str
) -> None:
    caught(physical, postgresql.source("physical", "clinic"), postgresql, tmp_path, name, damage, check)


@pytest.mark.parametrize(("name", "damage", "check"), LOGICAL, ids=[name for name, *_ in LOGICAL])
def test_damage_to_a_logical_copy(
    logical: Path, postgresql: PostgresqlServer, tmp_path: Path, name: str, damage: Damage, check: str
) -> None:
    caught(logical, postgresql.source("logical", "clinic"), postgresql, tmp_path, name, damage, check)


def caught(
    good: Path,
    source: PostgresqlSource,
    server: PostgresqlServer,
    folder: Path,
    name: str,
    damage: Damage,
    check: str,
) -> None:
    copy = folder / "copy"
    shutil.copytree(good, copy, symlinks=True)
    damage(copy, server)
    assert snapshot(copy) != snapshot(good), "the damage was not done"
    found = caught_by(source, copy, good, folder)
    for number, (by, detail) in enumerate(found.items()):
        print(f"{name if not number else '':32} {by:12} {detail}")
        assert "\n" not in detail
    assert check in found
    if "opens" in found:
        with pytest.raises(ValidationError), source.open(copy, fresh(folder / "opened")):
            pass


def test_the_good_copies_pass(
    physical: Path, logical: Path, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """Else the tests above would show nothing."""
    for method, copy in (("physical", physical), ("logical", logical)):
        source = postgresql.source(method, "clinic")
        (tmp_path / method).mkdir()
        assert caught_by(source, copy, copy, tmp_path / method) == {}


def test_a_lost_trigger_is_named(logical: Path, postgresql: PostgresqlServer, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(logical, copy)
    dump_instead(copy, postgresql, "DROP TRIGGER stamped ON entries")
    findings = postgresql.source("logical", "clinic").validate(copy, fresh(tmp_path / "v"))
    assert [(f.check, f.detail) for f in findings if not f.passed] == [
        ("triggers", "1 of 1 are missing: public.entries.stamped"),
        ("definitions", "not as at the source: TRIGGER public.entries stamped"),
    ]


@pytest.fixture
def damaged_server() -> Iterator[Callable[[bool, str, Callable[[bytearray], None]], PostgresqlServer]]:
    """Servers whose running database is damaged on disk, with and without page checksums."""
    with ExitStack() as stack:

        def make(checksums: bool, relation: str, change: Callable[[bytearray], None]) -> PostgresqlServer:
            server = stack.enter_context(postgresql_server(initdb=["-k"] if checksums else []))
            create_ledger(server, "clinic", rows=500)
            path = server.data / server.sql(
                "clinic", "CHECKPOINT", f"SELECT pg_relation_filepath('{relation}')"
            )
            data = bytearray(path.read_bytes())
            change(data)
            path.write_bytes(data)
            return server

        yield make


def scribble(data: bytearray) -> None:
    at = data.index(b"same words", 20_000)
    data[at : at + 3] = b"###"


def break_a_row(data: bytearray) -> None:
    """In the second page: the header of its first row says that the row begins beyond its end."""
    at = 8192 + (int.from_bytes(data[8192 + 24 : 8192 + 28], "little") & 0x7FFF)
    data[at + 22] = 255


def test_checksums_of_the_live_pages_stop_the_copy(
    damaged_server: Callable[..., PostgresqlServer], tmp_path: Path
) -> None:
    server = damaged_server(True, "left_half", scribble)
    with pytest.raises(CopyError, match="pages of the running database are damaged") as caught:
        server.source("physical", "clinic").copy_live(fresh(tmp_path / "copy"))
    assert caught.value.permanent
    assert snapshot(tmp_path / "copy") == {}


@pytest.mark.parametrize("relation", ["left_half", "left_half_pkey"])
def test_damage_that_was_there_before_the_copy(
    damaged_server: Callable[..., PostgresqlServer], relation: str, tmp_path: Path
) -> None:
    """Without page checksums it is copied faithfully; the engine's own check of the clone finds it."""
    server = damaged_server(False, relation, break_a_row)
    source = server.source("physical", "clinic")
    copy = source.copy_live(fresh(tmp_path / "copy"))
    findings = source.validate(copy.folder, fresh(tmp_path / "v"))
    failed = {finding.check: finding.detail for finding in findings if not finding.passed}
    print(failed)
    assert list(failed) == ["pages"]
    assert f"clinic.public.{relation}" in failed["pages"]


def test_without_amcheck_every_row_is_read(
    physical: Path, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """PostgreSQL 13 has no pg_amcheck; a folder of programs without it stands for that."""
    programs = fresh(tmp_path / "bin")
    for program in BIN.iterdir():
        if program.name != "pg_amcheck":
            (programs / program.name).symlink_to(program)
    source = postgresql.source("physical", "clinic", programs=programs)
    findings = source.validate(physical, fresh(tmp_path / "v"))
    assert all(finding.passed for finding in findings)
    assert "every row of every database was read" in findings[-1].detail
