"""A single file or table out of a backup: just that is written, and it is what was recorded."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.contract import postgresql_ledger
from tests.flows.engines import options_of
from tests.flows.nights import night
from tests.flows.site import Site
from tests.servers.postgresql import postgresql_server


def only(site: Site, what: str, to: Path, *more: str) -> int:
    key = str(site.keys[1])
    return site.run("restore", "--only", what, "--identity", key, "--to", str(to), *more)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_of_a_folder(tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert prefect_server
    for name, text in {
        "Forms/letter.docx": "Dear patient",
        "Forms/bill.docx": "42",
        "notes.txt": "x",
    }.items():
        path = tmp_path / "programs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    site = Site.make(tmp_path, ["nas"], source={"kind": "files", "path": "programs"})
    assert site.run("backup") == 0
    assert only(site, "Forms/letter.docx", tmp_path / "one") == 0
    assert names(tmp_path / "one") == ["files/Forms/letter.docx"]
    assert (tmp_path / "one" / "files" / "Forms" / "letter.docx").read_text() == "Dear patient"
    assert only(site, "*.docx", tmp_path / "two") == 0
    assert names(tmp_path / "two") == ["files/Forms/bill.docx", "files/Forms/letter.docx"]
    capsys.readouterr()
    assert only(site, "letter.pdf", tmp_path / "three") == 1
    assert "none of the 3 files" in capsys.readouterr().err and not (tmp_path / "three").exists()
    # A damaged archive leaves nothing, although the file itself came out of it before the damage.
    [archive] = site.archives("nas")
    data = bytearray(archive.read_bytes())
    data[-5] ^= 1
    archive.write_bytes(data)
    assert only(site, "Forms/letter.docx", tmp_path / "four") == 1
    assert not (tmp_path / "four").exists()


def test_a_table_of_a_database(running_site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site = running_site
    assert site.run("backup") == 0
    assert only(site, "Patients", site.root / "out") == 0
    assert names(site.root / "out") == ["patients.csv"]
    with (site.root / "out" / "patients.csv").open(encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream)
    with closing(sqlite3.connect(site.database)) as database:
        cursor = database.execute("SELECT * FROM patients")
        expected = [["" if value is None else str(value) for value in row] for row in cursor]
        assert head == [column[0] for column in cursor.description]
    assert rows == expected
    capsys.readouterr()
    assert only(site, "invoices", site.root / "none") == 1
    assert "visits" in capsys.readouterr().err and not (site.root / "none").exists()


FORMULAS = ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]


def test_s11_in_a_spreadsheet_no_cell_is_a_formula_where_that_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "clinic.db")) as database, database:
        database.execute('CREATE TABLE notes (id INTEGER, "=head" TEXT, cents NUMERIC)')
        database.executemany(
            "INSERT INTO notes VALUES (?, ?, ?)", [(n, t, -n) for n, t in enumerate(FORMULAS)]
        )
    site = Site.make(tmp_path, ["nas"])
    night(site, datetime(2026, 11, 23, 2, tzinfo=UTC))
    for name, more in (("raw", ()), ("inert", ("--csv-safe",))):
        assert only(site, "notes", tmp_path / name, *more) == 0
    read = {}
    for name in ("raw", "inert"):
        with (tmp_path / name / "notes.csv").open(encoding="utf-8", newline="") as stream:
            read[name] = list(csv.reader(stream))
    assert [row[1] for row in read["raw"]] == ["=head", *FORMULAS], "to the letter, where nothing is asked"
    assert [row[1] for row in read["inert"]] == [f"'{text}" for text in ("=head", *FORMULAS)]
    assert [row[2] for row in read["inert"][1:]] == [str(-n) for n in range(len(FORMULAS))], "numbers stay"
    assert site.run("restore", "-i", str(site.keys[0]), "--to", str(tmp_path / "new"), "--csv-safe") == 1
    assert "--csv-safe goes with --only" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_table_of_a_server(tmp_path: Path, prefect_server: str) -> None:
    assert prefect_server
    with postgresql_server() as server:
        postgresql_ledger.create_ledger(server, "clinic", 20)
        site = Site.make(tmp_path, ["nas"], source=options_of(server.source("physical", "clinic")))
        assert site.run("backup") == 0
    assert only(site, "left_half", tmp_path / "out") == 0, "the server itself is gone"
    [path] = (tmp_path / "out").iterdir()
    with path.open(encoding="utf-8", newline="") as stream:
        head, *rows = csv.reader(stream)
    assert head == ["id", "value", "filler"]
    assert [row[:2] for row in rows] == [[str(number)] * 2 for number in range(20)]
