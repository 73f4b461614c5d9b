"""A restore that is not what was recorded: the run fails, says which table, and delivers nothing."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.age.file import decrypt, encrypt
from tasks.backup import rehearse
from tasks.checks import measure
from tasks.keys.identities import read_identities
from tasks.records import Profile
from tests.flows.site import Site

Damage = Callable[[Path], None]


def three_bytes(database: Path) -> None:
    """Change three letters of one visit's note, in the middle of the file."""
    data = bytearray(database.read_bytes())
    place = data.find(b" ", len(data) // 2)
    while not data[place : place + 4].replace(b" ", b"a").isalpha():
        place = data.find(b" ", place + 1)
    data[place + 1 : place + 4] = b"XYZ"
    database.write_bytes(data)


def one_row_missing(database: Path) -> None:
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("DELETE FROM ledger WHERE id = 100")


def one_table_missing(database: Path) -> None:
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("DROP TABLE ledger")


def emptied(database: Path) -> None:
    database.write_bytes(b"")


def truncated(database: Path) -> None:
    with database.open("r+b") as stream:
        stream.truncate(database.stat().st_size // 2)


def swapped(database: Path) -> None:
    """Another database in its place, whole in itself."""
    database.unlink()
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("CREATE TABLE recipes (title TEXT)")
        opened.execute("INSERT INTO recipes VALUES ('soup')")


DAMAGES: list[tuple[Damage, str]] = [
    (three_bytes, "visits"),
    (one_row_missing, "ledger"),
    (one_table_missing, "ledger"),
    (emptied, "clinic.db"),
    (truncated, "clinic.db"),
    (swapped, "recipes"),
]


def certificates(site: Site) -> list[dict[str, Any]]:
    """The certificates of drills that lie on the first target."""
    names = [name for name in site.objects("nas") if ".drill-" in name]
    return [json.loads((site.root / "nas" / name).read_text()) for name in names]


@pytest.fixture
def damaged_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Damage], list[Path]]:
    """Let a damage happen between unpacking and checking; returns where it fired."""

    def install(damage: Damage) -> list[Path]:
        fired: list[Path] = []
        unpack = rehearse.unpack

        def unpack_and_damage(*arguments: Any) -> str:
            digest = unpack(*arguments)
            database = arguments[2] / "clinic.db"
            damage(database)
            fired.append(database)
            return digest

        monkeypatch.setattr(rehearse, "unpack", unpack_and_damage)
        monkeypatch.setattr("tasks.recovery.recover.unpack", unpack_and_damage)
        return fired

    return install


@pytest.mark.parametrize(("damage", "named"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
def test_rehearsal_fails_and_nothing_is_delivered(
    running_site: Site,
    damaged_by: Callable[[Damage], list[Path]],
    damage: Damage,
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = running_site
    fired = damaged_by(damage)
    assert site.run("backup") == 1
    assert len(fired) == 1
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said
    for target in ("nas", "second-disk", "cellar"):
        assert site.objects(target) == []
    assert site.plaintext() == []
    page = site.report()
    assert named in page and "FAILED" in page


@pytest.mark.parametrize(
    ("damage", "named"), DAMAGES[:4], ids=lambda value: getattr(value, "__name__", value)
)
def test_drill_fails_and_certifies_the_failure(
    running_site: Site,
    damaged_by: Callable[[Damage], list[Path]],
    damage: Damage,
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    fired = damaged_by(damage)
    capsys.readouterr()
    assert site.run("drill", "--identity", str(site.keys[0])) == 1
    assert len(fired) == 1
    assert named in capsys.readouterr().err
    (certificate,) = certificates(site)
    assert certificate["passed"] is False
    assert not all(check["passed"] for check in certificate["checks"])


def test_a_damaged_archive_on_the_target_fails_drill_and_audit(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    (archive,) = site.archives("nas")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    assert site.run("drill", "--identity", str(site.keys[0])) == 1
    (certificate,) = certificates(site)
    assert certificate["passed"] is False
    assert [check["check"] for check in certificate["checks"]] == ["archive opens"]
    assert site.run("audit", "--target", "nas") == 1
    assert "sha256 differs" in capsys.readouterr().err


def test_an_archive_sealed_by_somebody_else_is_not_taken_for_ours(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recipients are public: whoever can write to a target can seal something that a holder's key opens."""
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    (archive,) = site.archives("nas")
    plain, sealed = io.BytesIO(), io.BytesIO()
    with archive.open("rb") as stream:
        decrypt(stream, plain, read_identities([site.keys[0]]))
    encrypt(io.BytesIO(plain.getvalue()), sealed, site.context.recipients())
    assert len(sealed.getvalue()) == archive.stat().st_size, "nothing shows from outside"
    archive.write_bytes(sealed.getvalue())
    back = site.root / "back"
    assert site.run("drill", "--identity", str(site.keys[0])) == 1
    (certificate,) = certificates(site)
    assert certificate["passed"] is False
    assert "the sealed archive" in capsys.readouterr().err
    assert site.run("restore", "--identity", str(site.keys[0]), "--to", str(back)) == 1
    assert "found damaged" in capsys.readouterr().err, "what the drill met is remembered"
    assert not back.exists()


def test_a_plans_own_check_can_stop_a_backup(running_site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site = running_site
    between = {"type": "expect_column_values_to_be_between", "kwargs": {"min_value": -1, "max_value": 3}}
    fresh = {"title": "newest visit at most 3 days old", "sql": "SELECT max(at) FROM visits"}
    site.change_plan(checks=[{**fresh, "as": "age_days", "expect": between}])
    assert site.run("backup", "--target", "nas") == 0
    with closing(sqlite3.connect(site.database)) as database, database:
        database.execute("UPDATE visits SET at = '2001-01-01T10:00:00'")
    assert site.run("backup", "--target", "nas") == 1
    assert "newest visit at most 3 days old" in capsys.readouterr().err
    assert len(site.archives("nas")) == 1


def test_a_copy_that_fails_its_engines_check_goes_nowhere(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    with closing(sqlite3.connect(site.database)) as database:
        database.execute("PRAGMA foreign_keys=OFF")
        with database:
            database.execute("INSERT INTO ledger (visit, booked, cents) VALUES (99999999, 'x', 1)")
    assert site.run("backup") == 1
    said = capsys.readouterr().err
    assert "ledger" in said and "foreign_keys: report" in said
    assert site.objects("nas") == []
    assert site.plaintext() == []
    # The way out it names: old faults are reported then, and a backup is made, drilled and restored.
    site.change_plan(source={"kind": "sqlite", "path": "clinic.db", "foreign_keys": "report"})
    assert site.run("backup") == 0
    assert "point to missing rows of visits" in site.report()
    assert site.run("drill", "--identity", str(site.keys[0])) == 0
    assert site.run("restore", "--identity", str(site.keys[0]), "--to", str(site.root / "back")) == 0


def test_what_lies_in_the_live_place_is_held_to_the_manifest_before_the_engine_starts(
    running_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All before it was proven beside the live place; only reading it there shows what went wrong last."""
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    before = site.database.read_bytes()

    def one_row_less(connection: Any, tables: Any) -> Profile:
        found = measure.profile(connection, tables)
        first, *others = found.tables
        return Profile(tables=(first.model_copy(update={"rows": first.rows - 1}), *others))

    monkeypatch.setattr("tasks.recovery.in_place.replace.profile", one_row_less)
    assert site.run("restore", "--in-place", "--yes", "--identity", str(site.keys[0])) == 1
    said = capsys.readouterr()
    assert "is not what was recorded" in said.err
    assert "the old data is back in" in f"{said.out}{said.err}".replace("\n", " ")
    assert site.database.read_bytes() == before
