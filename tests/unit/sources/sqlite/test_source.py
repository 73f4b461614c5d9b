"""SQLite where it is special: names, journals, rights, damage."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest

from tasks.checks.measure import profile
from tasks.errors import CopyError, DatasaveError, SourceError, SourceMissing, ValidationError
from tasks.records import Finding, Profile
from tasks.sources.registry import make_source, option_models
from tasks.sources.sqlite import connection as sqlite_connection
from tasks.sources.sqlite.connection import file_uri, printable
from tasks.sources.sqlite.source import SqliteOptions, SqliteSource

NAME = "clinic.db"
SECRET = "Ursula Ungenannt"


def source_of(path: Path) -> SqliteSource:
    return SqliteSource(SqliteOptions(path=path))


def make(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def visits(path: Path, rows: int = 400) -> Path:
    """A small database of several b-trees; its texts hold a name that must not get into a finding."""
    return make(
        path,
        f"""
        CREATE TABLE patients (id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE visits (id INTEGER PRIMARY KEY, patient INTEGER REFERENCES patients, note TEXT);
        CREATE INDEX by_patient ON visits (patient);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO patients SELECT i, '{SECRET} ' || i FROM n;
        INSERT INTO visits SELECT id, id, '{SECRET} came, ' || hex(randomblob(40)) FROM patients;
        """,
    )


def copied(database: Path, folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    source_of(database).copy_live(folder)
    return folder


def findings_of(folder: Path) -> list[Finding]:
    return source_of(folder / NAME).validate(folder, folder)


def profile_of(folder: Path) -> Profile:
    source = source_of(folder / NAME)
    with source.open(folder, folder) as connection:
        return profile(connection, source.tables(connection))


def failed(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.passed]


def leaks(findings: list[Finding]) -> bool:
    return any("Ursula" in finding.detail or "Ungenannt" in finding.detail for finding in findings)


class TestRegistry:
    def test_a_plan_entry_becomes_a_source(self, tmp_path: Path) -> None:
        options = option_models()["sqlite"].model_validate(
            {"kind": "sqlite", "path": str(visits(tmp_path / NAME))}
        )
        assert make_source(options).check().kind == "sqlite"


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["a b.db", "what?.db", "no#1.db", "100%41.db", "o'brien;--.db", "file:x.db", "ü漢.db", "-v.db"],
    )
    def test_hostile_names_are_only_names(self, tmp_path: Path, name: str) -> None:
        if os.name != "posix" and set(name) & set('?:"'):
            pytest.skip("Windows has no such file name")
        folder = tmp_path / "what? mode=rw&x#y%20"
        folder.mkdir()
        visits(folder / name)
        copy = copied(folder / name, tmp_path / "copy")
        assert [file.name for file in copy.iterdir()] == [name]
        assert not failed(findings_of(copy))
        restored = source_of(folder / name).restore(copy, tmp_path / "new")
        assert restored == tmp_path / "new" / name
        assert sorted(file.name for file in folder.iterdir()) == [name]

    def test_windows_paths(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for text, uri in [
            (r"C:\SOS\DATA\a b.db", "file:///C:/SOS/DATA/a%20b.db?mode=ro"),
            (r"\\server\share\a#b.db", "file:////server/share/a%23b.db?mode=ro"),
        ]:
            path = PureWindowsPath(text)
            monkeypatch.setattr(PureWindowsPath, "absolute", lambda self: self, raising=False)
            assert file_uri(path, "mode=ro").replace("%3A", ":") == uri  # type: ignore[arg-type]

    def test_looking_never_creates_a_database(self, tmp_path: Path) -> None:
        for path in (tmp_path / "gone.db", tmp_path / "no" / "folder.db"):
            with pytest.raises(SourceMissing):
                source_of(path).check()
            with pytest.raises(sqlite3.OperationalError), sqlite_connection.open_live(path):
                pass
            with pytest.raises(sqlite3.OperationalError), sqlite_connection.open_copy(path) as connection:
                connection.execute("SELECT 1 FROM sqlite_master")
        assert not list(tmp_path.iterdir())


class TestCheck:
    def test_size_counts_pages_that_are_only_in_the_wal(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / NAME)) as writer:
            writer.execute("PRAGMA journal_mode = wal")
            writer.execute("PRAGMA wal_autocheckpoint = 0")
            writer.execute("CREATE TABLE t (a)")
            writer.execute("INSERT INTO t VALUES (zeroblob(1000000))")
            writer.commit()
            in_file = (tmp_path / NAME).stat().st_size
            assert in_file < 10_000
            assert source_of(tmp_path / NAME).check().bytes > 1_000_000

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "is empty"),
            (b"Dear diary, " * 500, "SQLITE_NOTADB"),
            (random.Random(1).randbytes(8192), "SQLITE_NOTADB"),
        ],
    )
    def test_what_is_no_database(self, tmp_path: Path, content: bytes, words: str) -> None:
        path = tmp_path / NAME
        path.write_bytes(content)
        (tmp_path / "copy").mkdir()
        for attempt in (source_of(path).check, lambda: source_of(path).copy_live(tmp_path / "copy")):
            with pytest.raises(SourceError, match=words) as caught:
                attempt()
            assert caught.value.hint
        assert path.read_bytes() == content
        assert not list((tmp_path / "copy").iterdir())

    def test_a_folder_is_no_database(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="not a file"):
            source_of(tmp_path).check()

    def test_leaves_nothing_beside_the_database(self, tmp_path: Path) -> None:
        database = make(tmp_path / NAME, "PRAGMA journal_mode = wal; CREATE TABLE t (a);")
        before = database.read_bytes()
        source_of(database).check()
        copied(database, tmp_path / "copy")
        assert sorted(entry.name for entry in tmp_path.iterdir()) == [NAME, "copy"]
        assert database.read_bytes() == before

    def test_locked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_connection, "PATIENCE", 0.2)
        database = visits(tmp_path / NAME)
        (tmp_path / "copy").mkdir()
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(SourceError, match="SQLITE_BUSY") as checked:
                source_of(database).check()
            with pytest.raises(CopyError, match="SQLITE_BUSY") as copying:
                source_of(database).copy_live(tmp_path / "copy")
        assert not checked.value.permanent
        assert not copying.value.permanent
        assert "locked" in copying.value.hint
        assert not list((tmp_path / "copy").iterdir())


class TestCopy:
    def test_all_committed_rows_of_a_wal_that_was_never_checkpointed(self, tmp_path: Path) -> None:
        database = make(tmp_path / NAME, "PRAGMA journal_mode = wal; CREATE TABLE t (a INTEGER);")
        with closing(sqlite3.connect(database)) as writer:
            writer.execute("PRAGMA wal_autocheckpoint = 0")
            writer.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(1200)])
            writer.commit()
            copy = copied(database, tmp_path / "copy")
            plain = tmp_path / "plain"
            plain.mkdir()
            shutil.copy(database, plain / NAME)
        # What copying the file alone gives proves that the rows were in the WAL.
        assert profile_of(plain).rows == 0
        assert profile_of(copy).rows == 1200
        assert [file.name for file in copy.iterdir()] == [NAME]

    def test_uncommitted_rows_are_left_out(self, tmp_path: Path) -> None:
        database = make(
            tmp_path / NAME, "PRAGMA journal_mode = wal; CREATE TABLE t (a); INSERT INTO t VALUES (1);"
        )
        with closing(sqlite3.connect(database)) as writer:
            writer.execute("INSERT INTO t VALUES (2)")
            assert writer.in_transaction
            assert profile_of(copied(database, tmp_path / "copy")).rows == 1

    def test_hot_journal_of_a_killed_writer(self, tmp_path: Path) -> None:
        database, original = visits(tmp_path / NAME), tmp_path / "before"
        original.mkdir()
        shutil.copy(database, original / NAME)
        program = """
            import os, sqlite3, sys
            connection = sqlite3.connect(sys.argv[1], isolation_level=None)
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("BEGIN")
            connection.execute("UPDATE visits SET note = upper(hex(randomblob(40)))")
            connection.execute("DELETE FROM patients WHERE id % 2")
            os._exit(9)
        """
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(database)], check=False)
        assert killed.returncode == 9
        journal = tmp_path / f"{NAME}-journal"
        assert journal.stat().st_size > 0
        assert database.read_bytes() != (original / NAME).read_bytes()

        copy = copied(database, tmp_path / "copy")
        assert not failed(findings_of(copy))
        assert profile_of(copy) == profile_of(original)
        with closing(sqlite3.connect(database)) as again:
            assert again.execute("SELECT count(*) FROM patients").fetchone() == (400,)

    @pytest.mark.parametrize("page_bytes", [512, 65536])
    def test_page_sizes(self, tmp_path: Path, page_bytes: int) -> None:
        make(tmp_path / NAME, f"PRAGMA page_size = {page_bytes}; VACUUM;")
        copy = copied(visits(tmp_path / NAME, 5000), tmp_path / "copy")
        assert not failed(findings_of(copy))
        assert profile_of(copy).rows == 10_000

    def test_never_overwrites(self, tmp_path: Path) -> None:
        database = visits(tmp_path / NAME)
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / NAME).write_text("mine")
        with pytest.raises(CopyError, match="exists"):
            source_of(database).copy_live(tmp_path / "copy")
        assert (tmp_path / "copy" / NAME).read_text() == "mine"

    def test_what_progress_raises_comes_through(self, tmp_path: Path) -> None:
        def cancel(_done: int, _total: int) -> None:
            raise KeyboardInterrupt

        (tmp_path / "copy").mkdir()
        with pytest.raises(KeyboardInterrupt):
            source_of(visits(tmp_path / NAME)).copy_live(tmp_path / "copy", cancel)
        assert not list((tmp_path / "copy").iterdir())


class TestRights:
    @pytest.fixture
    def open_folder(self) -> Iterator[Path]:
        # Not tmp_path: its parents are closed to other users.
        folder = Path(tempfile.mkdtemp())
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)
        shutil.rmtree(folder)

    def test_read_only_folder(self, open_folder: Path, tmp_path: Path) -> None:
        database = visits(open_folder / NAME)
        database.chmod(0o444)
        open_folder.chmod(0o555)
        assert as_nobody(lambda: source_of(database).check().kind) == "sqlite"

    def test_wal_in_a_read_only_folder_says_what_is_missing(self, open_folder: Path) -> None:
        database = make(open_folder / NAME, "PRAGMA journal_mode = wal; CREATE TABLE t (a);")
        database.chmod(0o444)
        open_folder.chmod(0o555)
        said = as_nobody(lambda: source_of(database).check().kind)
        assert said.startswith("SourceError")
        assert "-wal and -shm" in said

    def test_unreadable_file(self, open_folder: Path) -> None:
        database = visits(open_folder / NAME)
        database.chmod(0o000)
        said = as_nobody(lambda: source_of(database).check().kind)
        assert said.startswith("SourceError")
        assert "allowed to read" in said


def as_nobody(step: Callable[[], str]) -> str:
    """What ``step`` returns or raises when run by a user without rights."""
    if os.name != "posix":
        pytest.skip("rights of this kind are POSIX only")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            answer = step()
        except DatasaveError as error:
            answer = f"{type(error).__name__}: {error}"
        except BaseException as error:
            answer = repr(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return answer


class TestValidate:
    def test_whole(self, tmp_path: Path) -> None:
        findings = findings_of(copied(visits(tmp_path / NAME), tmp_path / "copy"))
        assert [(finding.check, finding.passed) for finding in findings] == [
            ("opens", True),
            ("tables", True),
            ("integrity", True),
            ("foreign keys", True),
        ]

    @pytest.mark.parametrize("content", [b"", b"Dear diary, " * 500, random.Random(2).randbytes(12288)])
    def test_no_database(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / NAME).write_bytes(content)
        assert [(finding.check, finding.passed) for finding in findings_of(tmp_path)] == [("opens", False)]
        with pytest.raises(ValidationError), source_of(tmp_path / NAME).open(tmp_path, tmp_path):
            pass
        assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(NAME, content)]

    def test_no_tables(self, tmp_path: Path) -> None:
        make(tmp_path / NAME, "CREATE TABLE t (a); CREATE VIEW v AS SELECT 1; DROP TABLE t;")
        assert [finding.check for finding in failed(findings_of(tmp_path))] == ["tables"]

    def test_a_journal_beside_the_copy(self, tmp_path: Path) -> None:
        visits(tmp_path / NAME)
        (tmp_path / f"{NAME}-wal").write_bytes(b"")
        assert "one database file" in findings_of(tmp_path)[0].detail
        assert failed(findings_of(tmp_path))

    def test_encrypted_header(self, tmp_path: Path) -> None:
        copy = copied(visits(tmp_path / NAME), tmp_path / "copy")
        data = bytearray((copy / NAME).read_bytes())
        data[:16] = random.Random(3).randbytes(16)
        (copy / NAME).write_bytes(data)
        assert "SQLITE_NOTADB" in failed(findings_of(copy))[0].detail

    def test_foreign_key_violation_is_counted_by_table(self, tmp_path: Path) -> None:
        visits(tmp_path / NAME)
        make(tmp_path / NAME, "DELETE FROM patients WHERE id IN (3, 4, 5);")
        (found,) = failed(findings_of(tmp_path))
        assert (found.check, found.table) == ("foreign keys", "visits")
        assert found.detail.startswith("3 rows point to missing rows of patients (")

    def test_long_lists_are_cut(self, tmp_path: Path) -> None:
        children = "".join(
            f"CREATE TABLE child{number} (p INTEGER REFERENCES parent);INSERT INTO child{number} VALUES (1);"
            for number in range(50)
        )
        make(tmp_path / NAME, f"CREATE TABLE parent (id INTEGER PRIMARY KEY);{children}")
        found = failed(findings_of(tmp_path))
        assert len(found) == 21
        assert found[-1].detail == "30 more tables are affected"

    @pytest.mark.parametrize("at_page_border", [True, False])
    def test_truncated(self, tmp_path: Path, at_page_border: bool) -> None:
        copy = copied(visits(tmp_path / NAME), tmp_path / "copy")
        whole, chance = (copy / NAME).read_bytes(), random.Random(4)
        pages = len(whole) // 4096
        assert pages > 10
        cuts = (
            [page * 4096 for page in range(pages)] if at_page_border else chance.sample(range(len(whole)), 60)
        )
        for cut in cuts:
            (copy / NAME).write_bytes(whole[:cut])
            assert failed(findings_of(copy)), cut
            assert not leaks(findings_of(copy))

    def test_bytes_flipped_anywhere(self, tmp_path: Path) -> None:
        """Either the checks or the profile notices, or the damage lay in space that holds nothing."""
        copy = copied(visits(tmp_path / NAME), tmp_path / "copy")
        whole, chance = (copy / NAME).read_bytes(), random.Random(5)
        expected, rows = profile_of(copy), every_row(copy)
        by_checks = by_profile = 0
        for _ in range(300):
            damaged = bytearray(whole)
            at = chance.randrange(len(whole) - 4)
            damaged[at : at + 4] = chance.randbytes(4)
            (copy / NAME).write_bytes(damaged)
            findings = findings_of(copy)
            assert not leaks(findings)
            if failed(findings):
                by_checks += 1
            elif outcome(copy) != expected:
                by_profile += 1
            else:
                assert every_row(copy) == rows
            assert [file.name for file in copy.iterdir()] == [NAME]
        assert by_checks > 20
        assert by_profile > 100

    def test_a_damaged_table_is_named(self, tmp_path: Path) -> None:
        copy = copied(visits(tmp_path / NAME), tmp_path / "copy")
        with closing(sqlite3.connect(copy / NAME)) as connection:
            root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'visits'").fetchone()[
                0
            ]
        with (copy / NAME).open("r+b") as stream:
            stream.seek((root - 1) * 4096)
            stream.write(b"\xff" * 64)
        found = failed(findings_of(copy))
        assert {finding.table for finding in found if finding.check == "integrity"} == {None, "visits"}
        with pytest.raises(ValidationError, match="cannot read table visits"):
            profile_of(copy)

    def test_more_bytes_than_the_header_says(self, tmp_path: Path) -> None:
        copy = copied(visits(tmp_path / NAME), tmp_path / "copy")
        with (copy / NAME).open("ab") as stream:
            stream.write(bytes(4096))
        assert "its header says" in failed(findings_of(copy))[0].detail

    def test_printable(self) -> None:
        assert printable("a\x1b[31m\nb") == "a?[31m?b"
        assert len(printable("x" * 500)) == 200


def outcome(folder: Path) -> Profile | str:
    try:
        return profile_of(folder)
    except ValidationError as error:
        assert "Ursula" not in str(error)
        return "unreadable"


def every_row(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(file_uri(folder / NAME, "mode=ro&immutable=1"), uri=True)) as connection:
        connection.text_factory = bytes
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
            for table in ("patients", "visits")
        ]


PROGRAMS = """
    CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT COLLATE GERMAN);
    CREATE INDEX by_name ON people (name);
    CREATE TABLE loud (id INTEGER PRIMARY KEY, name TEXT, shouted TEXT AS (shout(name)) VIRTUAL);
    CREATE INDEX by_shout ON loud (shout(name)) WHERE shout(name) <> '';
    CREATE TABLE rules (id INTEGER PRIMARY KEY, name TEXT CHECK (shout(name) = name));
    CREATE TABLE keyed (name TEXT COLLATE GERMAN PRIMARY KEY, n) WITHOUT ROWID;
    CREATE VIEW shouting AS SELECT shout(name) FROM people;
    CREATE TABLE plain (id INTEGER PRIMARY KEY, note TEXT);
    CREATE INDEX by_note ON plain (note);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
    INSERT INTO people SELECT i, 'Ursula ' || i FROM n;
    INSERT INTO loud (id, name) SELECT id, name FROM people;
    INSERT INTO rules VALUES (1, 'A');
    INSERT INTO keyed SELECT name, id FROM people;
    INSERT INTO plain SELECT id, 'note ' || id FROM people;
"""


def programs_own(path: Path) -> Path:
    """A database that needs a collation and a function which only its own program has."""
    with closing(sqlite3.connect(path)) as connection:
        # An order that no stand-in shares.
        connection.create_collation("GERMAN", lambda one, other: (one < other) - (one > other))
        connection.create_function("shout", 1, str.upper, deterministic=True)
        connection.executescript(PROGRAMS)
    return path


class TestUnchecked:
    """What SQLite cannot check here is named, and is no damage; damage beside it is found all the same."""

    @pytest.mark.parametrize("journal", ["delete", "wal"])
    def test_c4_collations_and_functions_of_the_program(self, tmp_path: Path, journal: str) -> None:
        database = programs_own(tmp_path / NAME)
        make(database, f"PRAGMA journal_mode = {journal}")
        copy = copied(database, tmp_path / "copy")
        bad = failed(findings_of(copy))
        assert {(finding.check, finding.table) for finding in bad} == {
            ("integrity", name) for name in ("people", "loud", "keyed")
        }
        assert all(finding.unchecked for finding in bad)
        details = {finding.table: finding.detail for finding in bad}
        assert "needs collation GERMAN of" in details["people"]
        assert "needs function shout of" in details["loud"]
        assert not leaks(bad)
        rows = {table.name: table.rows for table in profile_of(copy).tables}
        assert rows == {"people": 300, "loud": 300, "keyed": 300, "plain": 300, "rules": 1}

    def test_c4_damage_beside_them_is_found(self, tmp_path: Path) -> None:
        copy = copied(programs_own(tmp_path / NAME), tmp_path / "copy")
        whole = (copy / NAME).read_bytes()
        caught = 0
        for page in range(1, len(whole) // 4096):
            data = bytearray(whole)
            data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
            (copy / NAME).write_bytes(data)
            caught += any(finding.failed for finding in findings_of(copy))
        assert caught == len(whole) // 4096 - 1

    def test_c4_a_foreign_key_to_a_column_that_is_not_unique(self, tmp_path: Path) -> None:
        database = make(
            tmp_path / NAME,
            """
            CREATE TABLE parents (id INTEGER PRIMARY KEY, code TEXT);
            CREATE TABLE children (id INTEGER PRIMARY KEY, code TEXT REFERENCES parents (code));
            CREATE TABLE others (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents);
            INSERT INTO parents VALUES (1, 'a'), (2, 'a');
            INSERT INTO children VALUES (1, 'a');
            """,
        )
        copy = copied(database, tmp_path / "copy")
        (finding,) = failed(findings_of(copy))
        assert (finding.check, finding.table, finding.unchecked) == ("foreign keys", "children", True)
        assert 'foreign key mismatch - "children" referencing "parents"' in finding.detail
        assert "`foreign_keys: report`" in finding.detail
        lenient = SqliteSource(SqliteOptions(path=database, foreign_keys="report"))
        assert not failed(lenient.validate(copy, copy))
        make(database, "INSERT INTO others VALUES (1, 99)")
        again = failed(findings_of(copied(database, tmp_path / "again")))
        assert [(one.table, one.failed) for one in again] == [("others", True), ("children", False)]

    def test_a_foreign_key_by_a_collation_of_the_program(self, tmp_path: Path) -> None:
        database = programs_own(tmp_path / NAME)
        make(
            database,
            "CREATE TABLE pets (id INTEGER PRIMARY KEY, owner TEXT REFERENCES keyed (name)); "
            "INSERT INTO pets VALUES (1, 'Ursula 1')",
        )
        copy = copied(database, tmp_path / "copy")
        bad = {(one.check, one.table): one for one in failed(findings_of(copy))}
        assert bad["foreign keys", "pets"].unchecked
        assert "GERMAN" in bad["foreign keys", "pets"].detail


class TestTables:
    def test_all_kinds(self, tmp_path: Path) -> None:
        make(
            tmp_path / NAME,
            """
            CREATE TABLE "a ""quoted"" name" ("sel""ect" INTEGER, "b c" TEXT);
            INSERT INTO "a ""quoted"" name" VALUES (1, 'x');
            CREATE TABLE keyed (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
            INSERT INTO keyed VALUES ('k', 1);
            CREATE TABLE made (a, b AS (a + 1) VIRTUAL, c AS (a * 2) STORED);
            INSERT INTO made (a) VALUES (20);
            CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT);
            CREATE VIRTUAL TABLE notes USING fts5 (body);
            INSERT INTO notes VALUES ('hello');
            CREATE VIEW seen AS SELECT 1;
            CREATE TABLE "20" (a);
            """,
        )
        source = source_of(tmp_path / NAME)
        with source.open(tmp_path, tmp_path) as connection:
            tables = {table.name: table for table in source.tables(connection)}
            rows = {table.name: table.rows for table in profile(connection, list(tables.values())).tables}
        assert list(tables) == sorted(tables)
        assert rows['a "quoted" name'] == rows["keyed"] == rows["made"] == rows["notes_content"] == 1
        assert tables["made"].columns == ('"a"', '"c"')
        assert {"20", "counted"} <= tables.keys()
        assert not {"notes", "seen", "sqlite_sequence"} & tables.keys()
        assert not failed(findings_of(tmp_path))

    def test_a_virtual_table_of_an_unknown_module(self, tmp_path: Path) -> None:
        make(
            tmp_path / NAME,
            """
            CREATE TABLE t (a); INSERT INTO t VALUES (1);
            PRAGMA writable_schema = ON;
            INSERT INTO sqlite_master
            VALUES ('table', 'odd', 'odd', 0, 'CREATE VIRTUAL TABLE odd USING theirs(x)');
            """,
        )
        copy = copied(tmp_path / NAME, tmp_path / "copy")
        assert not failed(findings_of(copy))
        assert [table.name for table in profile_of(copy).tables] == ["t"]

    def test_text_that_is_not_utf8(self, tmp_path: Path) -> None:
        make(
            tmp_path / NAME, "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'4dfc6c6c6572' AS TEXT));"
        )
        copy = copied(tmp_path / NAME, tmp_path / "copy")
        assert not failed(findings_of(copy))
        assert profile_of(copy).rows == 1


class TestRestore:
    def test_private_and_whole(self, tmp_path: Path) -> None:
        copy = copied(visits(tmp_path / NAME), tmp_path / "copy")
        restored = source_of(tmp_path / NAME).restore(copy, tmp_path / "new")
        assert restored.read_bytes() == (copy / NAME).read_bytes()
        if os.name == "posix":
            assert restored.stat().st_mode & 0o777 == 0o600
            assert restored.parent.stat().st_mode & 0o777 == 0o700

    def test_place_that_cannot_be_made(self, tmp_path: Path) -> None:
        copy = copied(visits(tmp_path / NAME), tmp_path / "copy")
        (tmp_path / "file").write_text("")
        with pytest.raises(SourceError, match="cannot restore"):
            source_of(tmp_path / NAME).restore(copy, tmp_path / "file" / "new")
