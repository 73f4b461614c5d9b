"""Where a restore in place is refused before anything is begun; and folders of files, without an engine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.errors import SourceError, SourceMissing, StateError
from tasks.records import Manifest
from tasks.recovery.in_place import moves, replace
from tasks.recovery.in_place.record import InPlaceRecord
from tasks.sources.capabilities import in_place
from tasks.sources.files.source import FilesOptions, FilesSource
from tasks.sources.mariadb.source import MariadbOptions, MariadbSource
from tasks.sources.postgresql.source import PostgresqlOptions, PostgresqlSource
from tasks.sources.shared.live_data import LiveData, ServerInPlaceOptions
from tasks.sources.sqlite.source import SqliteOptions, SqliteSource
from tasks.sources.sqlserver.source import SqlserverSource
from tests.flows.site import Site
from tests.mounts import exfat, tmpfs


def folder(path: Path) -> FilesSource:
    return FilesSource(FilesOptions(path=path))


def test_a_symbolic_link_is_not_renamed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "data").symlink_to("real")
    with pytest.raises(SourceError, match="symbolic link"):
        folder(tmp_path / "data").live_data()


@pytest.mark.slow
def test_a_mount_point_is_not_renamed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with tmpfs(tmp_path / "data"), pytest.raises(SourceError, match="mounted at"):
        folder(tmp_path / "data").live_data()
    (tmp_path / "data" / "inside").mkdir()
    with tmpfs(tmp_path / "data" / "inside"), pytest.raises(SourceError, match="mounted at"):
        folder(tmp_path / "data").live_data()


@pytest.mark.slow
def test_without_hard_links_the_set_is_renamed_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    with exfat(tmp_path / "disk") as disk:
        live = disk.path / "clinic.db"
        names = ["clinic.db", "clinic.db-wal"]
        for name in names:
            (disk.path / name).write_text(name)
        place = SqliteSource(SqliteOptions(path=live)).live_data()
        record = InPlaceRecord(
            source="clinic",
            backup="",
            taken=datetime.now(UTC),
            live=live,
            beside=place.beside,
            folder=False,
            deep=False,
            owner=None,
            aside=moves.aside_for(live),
            room=disk.path / "room",
            old=tuple(names),
            signed={"moving": datetime.now(UTC)},
        )
        assert not moves.duplicate_aside(record, place), "exFAT has no hard links"
        live.rename(disk.path / "elsewhere")
        (disk.path / "DATASAVE").mkdir()
        (disk.path / "elsewhere").rename(disk.path / "DATASAVE" / "clinic.db")
        # Cut off here, with the database moved and its WAL not: nothing of that is taken for a stranger's.
        assert moves.withdraw(record, place) is None
        moves.put_back(record)
        assert [(disk.path / name).read_text() for name in names] == names
        moves.move_aside(record)
        assert sorted(path.name for path in (disk.path / "DATASAVE").iterdir()) == names
        moves.put_back(record)
        assert [(disk.path / name).read_text() for name in names] == names


def test_what_appeared_in_the_live_place_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    live, fresh = tmp_path / "clinic.db", tmp_path / "room" / "new.db"
    fresh.parent.mkdir()
    fresh.write_text("restored")
    live.write_text("a program made a new one")
    record = InPlaceRecord(
        source="clinic",
        backup="",
        taken=datetime.now(UTC),
        live=live,
        beside=(),
        folder=False,
        deep=False,
        owner=None,
        aside=moves.aside_for(live),
        room=fresh.parent,
        fresh=fresh,
    )
    with pytest.raises(FileExistsError):
        moves.place_fresh(record)
    assert live.read_text() == "a program made a new one" and fresh.read_text() == "restored"


def test_a_missing_disk_is_not_taken_for_lost_data(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="is not there"):
        SqliteSource(SqliteOptions(path=tmp_path / "unplugged" / "clinic.db")).live_data()


def test_lost_data_can_be_restored(tmp_path: Path) -> None:
    place = SqliteSource(SqliteOptions(path=tmp_path / "clinic.db")).live_data()
    assert place.there == []


def test_dumps_say_the_way() -> None:
    dump = PostgresqlSource(PostgresqlOptions(database="clinic", method="logical"))
    with pytest.raises(SourceError, match="pg_restore"):
        dump.live_data()
    with pytest.raises(SourceError, match=r"dump\.sql"):
        MariadbSource(MariadbOptions(database="clinic", method="dump")).live_data()
    with pytest.raises(SourceError, match="--to FOLDER"):
        in_place(SqlserverSource.__new__(SqlserverSource))


def test_a_server_must_tell_its_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="in_place"):
        PostgresqlSource(PostgresqlOptions(database="clinic")).live_data()
    data = tmp_path / "data"
    (data / "pg_tblspc").mkdir(parents=True)
    (data / "pg_tblspc" / "16400").symlink_to("/elsewhere")
    spread = PostgresqlOptions(database="clinic", in_place=ServerInPlaceOptions(data=data))
    with pytest.raises(SourceError, match="pg_tblspc/16400 leads to /elsewhere"):
        PostgresqlSource(spread).live_data()
    (data / "pg_wal").symlink_to("/gone")
    with pytest.raises(SourceError, match="pg_wal leads to /gone"):
        PostgresqlSource(spread).live_data()
    (data / "pg_wal").rename(data / "ibdata1")
    with pytest.raises(SourceError, match="ibdata1 leads to /gone"):
        MariadbSource(MariadbOptions(database="clinic", in_place=spread.in_place)).live_data()


def test_a_database_that_the_backup_leaves_out_is_not_put_aside(tmp_path: Path) -> None:
    (tmp_path / "SOS" / "DATA").mkdir(parents=True)
    (tmp_path / "SOS" / "notes.txt").write_text("x")
    (tmp_path / "SOS" / "DATA" / "clinic.db").write_bytes(b"SQLite format 3\0" + bytes(4080))
    (tmp_path / "SOS" / "DATA" / "clinic.db-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(28))
    with pytest.raises(SourceError, match="leaves out"):
        folder(tmp_path / "SOS").live_data()


@pytest.mark.slow
def test_a_folder_in_place_and_its_hopeless_cases(
    tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prefect_server
    live = tmp_path / "programs"
    (live / "forms").mkdir(parents=True)
    (live / "forms" / "letter.rtf").write_text("Dear patient")
    (live / "forms" / "letter.rtf").chmod(0o640)
    live.chmod(0o751)
    site = Site.make(tmp_path, ["nas"], source={"kind": "files", "path": "programs", "exclude": ["*.tmp"]})
    assert site.run("backup") == 0
    (live / "forms" / "letter.rtf").write_text("All your files are encrypted")
    (live / "scratch.tmp").write_text("left out")

    def restore() -> int:
        return site.run("restore", "--in-place", "--yes", "--identity", str(site.keys[0]))

    full: Callable[..., object] = lambda _path: shutil._ntuple_diskusage(10, 10, 0)  # type: ignore[attr-defined]  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(replace.shutil, "disk_usage", full)
        assert restore() == 1
        assert "old and new data side by side" in capsys.readouterr().err
    assert restore() == 0
    said = capsys.readouterr().out
    assert "files read and found as recorded" in said and "scratch.tmp" in said
    assert (live / "forms" / "letter.rtf").read_text() == "Dear patient"
    assert (live / "forms" / "letter.rtf").stat().st_mode & 0o777 == 0o640
    assert live.stat().st_mode & 0o777 == 0o751
    assert (tmp_path / "DATASAVE" / "forms" / "letter.rtf").read_text() == "All your files are encrypted"
    assert site.run("restore", "--discard-old", "--yes") == 0
    assert not (tmp_path / "DATASAVE").exists()
    shutil.rmtree(live)
    assert restore() == 0, "a deleted folder comes back"
    assert (live / "forms" / "letter.rtf").read_text() == "Dear patient"
    with pytest.raises(StateError, match="lies in it"):
        replace.refuse_hopeless(folder(live), LiveData(live), Manifest.model_construct(), [live / "key"])
