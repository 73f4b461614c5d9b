"""A plan with more than one source: one run, one sealed archive each, one report."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deployments.cli import app as cli
from tests.flows.site import Site

pytestmark = pytest.mark.slow


def second_database(root: Path) -> Path:
    path = root / "letters.db"
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE letters(id INTEGER PRIMARY KEY, text TEXT)")
        made.executemany("INSERT INTO letters(text) VALUES (?)", [(f"Dear {n}",) for n in range(40)])
    return path


ALSO = [
    {
        "name": "letters",
        "kind": "sqlite",
        "path": "letters.db",
        "checks": [
            {
                "title": "enough letters",
                "sql": "SELECT COUNT(*) FROM letters",
                "expect": {"type": "expect_column_values_to_be_between", "kwargs": {"min_value": 40}},
            }
        ],
    }
]


@pytest.fixture
def several(running_site: Site) -> Site:
    second_database(running_site.root)
    running_site.change_plan(also=ALSO)
    return running_site


def sequences(site: Site, target: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for manifest in site.manifests(target):
        found.setdefault(manifest["source"], []).append(manifest["sequence"])
    return found


def rows_in(database: Path, table: str) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return int(opened.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_one_run_two_archives_one_report(several: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert several.run("backup") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "clinic #1 with letters is backed up and proven" in said
    for target in ("nas", "cellar"):
        assert sequences(several, target) == {"clinic": [1], "clinic.letters": [1]}
    assert len(list(several.context.reports.glob("*.html"))) == 1
    page = several.report()
    assert "Besides: letters" in page
    assert "nas (letters)" in page
    assert "enough letters" in page
    assert several.plaintext() == []
    recover = (several.root / "nas" / "RECOVER.md").read_text("utf-8")
    assert "### clinic.letters" in recover

    # On a bare machine all of it comes back at once, each source in a folder of its own.
    to = several.root / "rescued"
    rescue = [
        "rescue",
        str(several.root / "nas"),
        "-i",
        str(several.keys[1]),
        *several.signer,
        "--to",
        str(to),
    ]
    assert cli.main(rescue) == 0
    assert rows_in(to / "clinic.letters" / "letters.db", "letters") == 40
    assert rows_in(to / "clinic" / "clinic.db", "visits") == rows_in(several.database, "visits")
    assert cli.main([*rescue[:-1], str(several.root / "one"), "--source", "clinic.letters"]) == 0
    assert [path.name for path in (several.root / "one").iterdir()] == ["letters.db"]
    assert several.run("audit", "--read-all") == 0
    assert several.run("list") == 0
    assert "nas (letters)" in capsys.readouterr().out


def test_each_is_drilled_and_restored(several: Site, tmp_path: Path) -> None:
    assert several.run("backup") == 0
    assert several.run("drill", "--identity", str(several.keys[1])) == 0
    certificates = [json.loads(p.read_text()) for p in (several.root / "nas").rglob("*.drill-*.json")]
    assert sorted(c["source"] for c in certificates) == ["clinic", "clinic.letters"]
    assert all(c["passed"] for c in certificates)
    key = str(several.keys[0])
    place = tmp_path / "letters-back"
    assert several.run("restore", "--source", "letters", "--identity", key, "--to", str(place)) == 0
    assert rows_in(place / "letters.db", "letters") == 40
    place = tmp_path / "clinic-back"
    assert several.run("restore", "--identity", key, "--to", str(place)) == 0
    assert rows_in(place / "clinic.db", "patients") > 0


def test_a_folder_with_several_sources_asks_which(
    several: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from deployments.cli import app as cli

    assert several.run("backup") == 0
    bare = ["restore", "--folder", str(several.root / "nas"), "--identity", str(several.keys[0])]
    bare += several.signer
    capsys.readouterr()
    assert cli.main([*bare, "--to", str(tmp_path / "back")]) == 1
    assert "more than one backup fits" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "back").exists()
    assert cli.main([*bare, "--to", str(tmp_path / "back"), "--source", "clinic.letters"]) == 0
    assert rows_in(tmp_path / "back" / "letters.db", "letters") == 40


def test_one_that_fails_does_not_keep_the_other_from_its_backup(
    several: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = several.root / "letters.db"
    shutil.move(letters, several.root / "elsewhere.db")
    assert several.run("backup") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "clinic #1 is backed up and proven at nas, second-disk, cellar; No backup of" in said
    assert "there is no such file" in said
    assert sequences(several, "nas") == {"clinic": [1]}
    assert several.plaintext() == []

    copied: list[str] = []
    from tasks.backup import copy

    real = copy.live_copy

    def counted(office: Any, run: Any, progress: Any) -> Any:
        copied.append(run.source)
        return real(office, run, progress)

    monkeypatch.setattr(copy, "live_copy", counted)
    shutil.move(several.root / "elsewhere.db", letters)
    assert several.run("retry") == 0
    assert copied == ["clinic.letters"]
    assert sequences(several, "nas") == {"clinic": [1], "clinic.letters": [2]}
    assert sequences(several, "cellar") == {"clinic": [1], "clinic.letters": [2]}


def test_retention_counts_each_source_for_itself(several: Site) -> None:
    several.change_plan(
        targets=[
            {"name": "nas", "kind": "folder", "path": "nas", "keep": {"last": 1}, "floor": 1},
        ]
    )
    for _ in range(3):
        assert several.run("backup") == 0
    assert sequences(several, "nas") == {"clinic": [3], "clinic.letters": [3]}
