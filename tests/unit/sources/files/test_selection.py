"""Which files are backed up: patterns, and databases that may be running."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pydantic
import pytest

from tasks.errors import SourceError
from tasks.sources.files.source import FilesOptions
from tasks.sources.files.walk import Patterns
from tests.unit.sources.files.material import copied, source, told, tree, write


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("*.tmp", ["a.tmp", "deep/er/a.tmp", "odd\n/a.tmp", ".tmp"], ["a.tmp.txt", "atmp"]),
        ("~$*", ["~$letter.docx", "Forms/~$letter.docx"], ["letter~$.docx"]),
        ("cache/**", ["cache/a", "cache/b/c", "cache/a\nb"], ["other/cache/a", "cached"]),
        ("cache/", ["cache/a", "other/cache/a"], ["cache", "cached/a"]),
        ("Forms/*.pdf", ["Forms/a.pdf"], ["Forms/old/a.pdf", "x/Forms/a.pdf"]),
        ("/top.txt", ["top.txt"], ["sub/top.txt"]),
        ("**/logs/*.log", ["logs/a.log", "x/y/logs/a.log"], ["logs/x/a.log"]),
        ("#recycle/", ["#recycle/a"], ["recycle/a"]),
        ("!important", ["!important"], ["important"]),
        ("Forms\\old", ["Forms/old", "Forms/old/a"], ["old"]),
        ("report-[0-9].txt", ["report-1.txt"], ["report-x.txt"]),
    ],
)
def test_patterns(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    patterns = Patterns([pattern], fold=False)
    assert {path: patterns.fit(path) for path in fits} == dict.fromkeys(fits, True)
    assert {path: patterns.fit(path) for path in fits_not} == dict.fromkeys(fits_not, False)


def test_windows_ignores_case() -> None:
    assert Patterns(["*.TMP", "Cache/"], fold=True).fit("x/a.tmp")
    assert Patterns(["Cache/"], fold=True).fit("CACHE", folder=True)
    assert not Patterns(["*.TMP"], fold=False).fit("a.tmp")


@pytest.mark.parametrize("pattern", ["", " ", "/", "\\"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="pattern that cannot be used"):
        FilesOptions(path=Path("x"), exclude=(pattern,))


def office(folder: Path) -> Path:
    write(
        folder, letter_dot_txt="1", Forms__a_dot_pdf="22", Forms__old__b_dot_pdf="333", cache__x_dot_tmp="4"
    )
    (folder / "nothing").mkdir()
    return folder


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Forms Forms/a.pdf Forms/old Forms/old/b.pdf cache cache/x.tmp letter.txt nothing"),
        ({"exclude": ("*.pdf", "cache/")}, "Forms Forms/old letter.txt nothing"),
        ({"include": ("Forms/old/",)}, "Forms Forms/old Forms/old/b.pdf"),
        ({"include": ("*.pdf", "nothing/"), "exclude": ("old/",)}, "Forms Forms/a.pdf nothing"),
    ],
)
def test_include_and_exclude(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    folder = office(tmp_path / "office")
    copy = copied(folder, tmp_path, **options)
    restored = source(folder).restore(copy.folder, tmp_path / "restored")
    assert sorted(name.decode() for name in tree(restored)) == expected.split()
    expected_bytes = sum(len(look[3]) for look in tree(restored).values())
    assert source(folder, **options).check().bytes == expected_bytes


def test_what_is_excluded_is_told(tmp_path: Path) -> None:
    copy = copied(office(tmp_path / "office"), tmp_path, exclude=("*.pdf", "cache/"))
    assert told(copy.folder, tmp_path)["left out: by `exclude`"] == "3: cache, Forms/a.pdf, Forms/old/b.pdf"


def test_an_empty_selection_is_a_failure(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    for options in ({"include": ("*.xyz",)}, {"exclude": ("*",)}):
        for attempt in (source(folder, **options).check, lambda o=options: copied(folder, tmp_path, **o)):
            with pytest.raises(SourceError, match="no file that the plan selects") as caught:
                attempt()
            assert caught.value.hint
        (tmp_path / "copy").rmdir()


def sqlite_in_use(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    return connection


def sos(folder: Path) -> Path:
    """An application folder with every sort of live database, and documents beside."""
    write(
        folder,
        DATA__SOSDATA_dot_DB=b"\0\1\2\3",
        DATA__sosdata_dot_log="x",
        DATA__archive_dot_db="x",
        DATA__letter_dot_doc="kept",
        sql__clinic_dot_mdf="x",
        sql__clinic_dot_ldf="x",
        sql__notes_dot_txt="kept",
        pg__PG_VERSION="15",
        pg__base__1__2="x",
        maria__ibdata1="x",
        maria__clinic__t_dot_ibd="x",
        aria__aria_log_control="x",
        images__Thumbs_dot_db="kept",
        images__install_dot_log="kept",
        quiet__old_dot_db="SQLite format 3\0 kept",
        quiet__old_dot_log="kept",
        notes="kept",
    )
    write(folder, **{"notes-journal": "kept", "log-only_dot_log": "kept", "lone_dot_mdf": "kept"})
    return folder


KEPT = {
    "DATA/letter.doc",
    "images/Thumbs.db",
    "images/install.log",
    "log-only.log",
    "lone.mdf",
    "notes",
    "notes-journal",
    "quiet/old.db",
    "quiet/old.log",
    "sql/notes.txt",
}


def files_of(folder: Path) -> set[str]:
    return {name.decode() for name, look in tree(folder).items() if look[0] == "file"}


def test_live_databases_are_left_out_and_told(tmp_path: Path) -> None:
    folder = sos(tmp_path / "SOS")
    connection = sqlite_in_use(folder / "app" / "app.sqlite")
    try:
        assert (folder / "app" / "app.sqlite-wal").stat().st_size > 0
        engine = source(folder).check()
        copy = copied(folder, tmp_path)
    finally:
        connection.close()
    restored = source(folder).restore(copy.folder, tmp_path / "restored")
    assert files_of(restored) == KEPT
    assert engine.version.endswith("(11 files or folders of live databases left out)")
    assert not (restored / "pg").exists()
    said = told(copy.folder, tmp_path)["left out: live databases"]
    assert said.startswith("11: ")
    assert "back them up with a plan of their own kind" in said


def test_each_database_by_itself(tmp_path: Path) -> None:
    expected = {
        "DATA": "DATA/SOSDATA.DB (SQL Anywhere)",
        "sql": "sql/clinic.mdf (SQL Server)",
        "pg": "pg (PostgreSQL)",
        "maria": "maria (MariaDB)",
        "aria": "aria (MariaDB)",
    }
    folder = sos(tmp_path / "SOS")
    for number, (place, said) in enumerate(expected.items()):
        room = tmp_path / str(number)
        room.mkdir()
        copy = copied(folder, room, include=(f"{place}/", "notes"))
        assert said in told(copy.folder, room)["left out: live databases"]


def test_a_hot_journal_gives_a_database_away(tmp_path: Path) -> None:
    folder = tmp_path / "office"
    connection = sqlite3.connect(write(folder, note="kept") / "clinic.dat", isolation_level=None)
    connection.execute("CREATE TABLE t (a)")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.execute("PRAGMA cache_spill = 1")
    try:
        assert (folder / "clinic.dat-journal").stat().st_size > 0
        copy = copied(folder, tmp_path)
    finally:
        connection.close()
    assert {file.path for file in copy.files} == {"files/note", "index.jsonl"}


def test_databases_can_be_included(tmp_path: Path) -> None:
    folder = sos(tmp_path / "SOS")
    copy = copied(folder, tmp_path, live_databases="include")
    restored = source(folder).restore(copy.folder, tmp_path / "restored")
    assert {name: look[3] for name, look in tree(restored).items()} == {
        name: look[3] for name, look in tree(folder).items()
    }
    assert "left out: live databases" not in told(copy.folder, tmp_path)


def test_a_folder_that_is_only_a_database_is_a_failure(tmp_path: Path) -> None:
    folder = write(tmp_path / "pgdata", PG_VERSION="15", base__1="x")
    with pytest.raises(SourceError, match=r"all it holds is a database .*: \. \(PostgreSQL\)") as caught:
        source(folder).check()
    assert "kind" in caught.value.hint
