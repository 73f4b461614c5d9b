"""What can go wrong with a SQL Server, on the stand-in: told in one line, and nothing is left behind."""

from __future__ import annotations

import _thread
import hashlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.checks.measure import profile
from tasks.errors import CopyError, DatasaveError, SourceError, ValidationError
from tasks.records import Finding, Profile
from tasks.sources.registry import source_for_copies
from tasks.sources.sqlserver.source import SqlserverSource
from tests.contract.source_contract import fresh, snapshot
from tests.contract.sqlite_ledger import damage_text
from tests.contract.sqlserver_ledger import DATABASE, Site, connect, ledger_site
from tests.standins.sqlserver.server import Knobs, Login
from tests.standins.sqlserver.storage import Database, create_files


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ledger_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The shared stand-in; whatever a test turned is turned back, and no test may leave anything on it."""
    server = shared_site.server
    database = server.find(DATABASE)
    before = dict(vars(database)), {name: set(roles) for name, roles in database.users.items()}
    rights = set(server.logins["datasave"].rights)
    server.statements.clear()
    yield shared_site
    server.knobs = Knobs()
    vars(database).update(before[0])
    database.users = before[1]
    server.logins["datasave"].rights = rights
    for name in shared_site.scratch_databases():
        server.remove(server.find(name))


@pytest.fixture
def copy(site: Site, tmp_path: Path) -> Path:
    folder = fresh(tmp_path / "copy")
    site.source().copy_live(folder)
    return folder


def nothing_left(site: Site) -> bool:
    return site.scratch_databases() == [] and list(site.folder.iterdir()) == []


def failed(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.passed]


def profile_of(source: SqlserverSource, copy: Path, scratch: Path) -> Profile:
    with source.open(copy, scratch) as connection:
        return profile(connection, source.tables(connection))


class TestDamage:
    def test_altered_bytes(self, site: Site, copy: Path, tmp_path: Path) -> None:
        damage_text(copy / "database.bak")
        [finding] = failed(site.source().validate(copy, fresh(tmp_path / "v")))
        assert finding.check == "backup checksums"
        assert "the backup is damaged (SQL Server error 3189" in finding.detail
        assert nothing_left(site)

    def test_altered_bytes_show_in_the_profile_too(self, site: Site, copy: Path, tmp_path: Path) -> None:
        """A server whose checks miss it hands out other rows."""
        site.server.knobs.verifies_anything = True
        whole = profile_of(site.source(), copy, fresh(tmp_path / "a"))
        damage_text(copy / "database.bak")
        assert failed(site.source().validate(copy, scratch := fresh(tmp_path / "b"))) == []
        assert profile_of(site.source(), copy, scratch) != whole

    def test_half_a_backup(self, site: Site, copy: Path, tmp_path: Path) -> None:
        os.truncate(copy / "database.bak", (copy / "database.bak").stat().st_size // 2)
        [finding] = failed(site.source().validate(copy, fresh(tmp_path / "v")))
        assert "ends too early" in finding.detail
        assert nothing_left(site)

    @pytest.mark.parametrize("data", [b"", b"no backup at all", b"TAPE" + bytes(5000)])
    def test_no_backup_in_the_file(self, site: Site, copy: Path, data: bytes, tmp_path: Path) -> None:
        (copy / "database.bak").write_bytes(data)
        findings = failed(site.source().validate(copy, fresh(tmp_path / "v")))
        assert findings
        assert nothing_left(site)
        with (
            pytest.raises(ValidationError, match="cannot open the copy"),
            site.source().open(copy, fresh(tmp_path / "o")),
        ):
            pass
        assert nothing_left(site)

    def test_of_another_database(self, site: Site, copy: Path, tmp_path: Path) -> None:
        about = copy / "about.json"
        about.write_text(about.read_text().replace(DATABASE, "payroll"))
        [finding] = failed(site.source().validate(copy, fresh(tmp_path / "v")))
        assert "another database than recorded" in finding.detail

    def test_without_checksums(self, site: Site, tmp_path: Path) -> None:
        site.server.knobs.forgets_checksums = True
        site.source().copy_live(copy := fresh(tmp_path / "copy"))
        findings = failed(site.source().validate(copy, fresh(tmp_path / "v")))
        assert [finding.check for finding in findings] == ["backup checksums", "backup header"]

    def test_damaged_where_only_checkdb_looks(self, site: Site, copy: Path, tmp_path: Path) -> None:
        site.server.knobs.damages_restored = True
        [finding] = failed(site.source().validate(copy, fresh(tmp_path / "v")))
        assert finding.check == "DBCC CHECKDB"
        assert "89" in finding.detail
        assert nothing_left(site)

    def test_a_lost_trigger_shows(self, site: Site, copy: Path, tmp_path: Path) -> None:
        whole = profile_of(site.source(), copy, fresh(tmp_path / "a"))
        site.server.knobs.loses_triggers = True
        without = profile_of(site.source(), copy, fresh(tmp_path / "b"))
        apart = {old.name for old, new in zip(whole.tables, without.tables, strict=True) if old != new}
        assert apart == {"(triggers)"}


class TestBackupFails:
    def copy(self, site: Site, tmp_path: Path, **changes: Any) -> DatasaveError:
        """The error of a copy, which must leave nothing anywhere."""
        folder = fresh(tmp_path / "copy")
        with pytest.raises(SourceError) as caught:
            site.source(**changes).copy_live(folder)
        assert snapshot(folder) == {}
        assert nothing_left(site)
        assert caught.value.hint
        assert "\n" not in caught.value.message
        return caught.value

    @pytest.mark.parametrize(
        ("number", "told"),
        [
            (3, "does not exist for the server"),
            (5, "may not use the backup folder"),
            (32, "another program holds the file"),
            (112, "disk is full"),
            (1117, "cannot open the file in the backup folder"),
        ],
    )
    def test_device(self, site: Site, number: int, told: str, tmp_path: Path) -> None:
        site.server.knobs.device_error = number
        error = self.copy(site, tmp_path)
        assert isinstance(error, CopyError)
        assert told in error.message
        assert error.permanent == (number != 32)

    def test_disk_fills_up(self, site: Site, tmp_path: Path) -> None:
        site.server.knobs.disk_full_at = 40
        assert "the server's disk is full" in self.copy(site, tmp_path).message

    def test_damaged_page(self, site: Site, tmp_path: Path) -> None:
        site.server.knobs.damaged_page = True
        error = self.copy(site, tmp_path)
        assert "found a damaged page" in error.message
        assert "keep every older backup" in error.hint

    def test_server_writes_elsewhere(self, site: Site, tmp_path: Path) -> None:
        elsewhere = fresh(tmp_path / "elsewhere")
        error = self.copy(site, tmp_path, server_folder=str(elsewhere))
        assert "is not in" in error.message
        assert "server_folder" in error.hint

    def test_cancelled_from_within(self, site: Site, tmp_path: Path) -> None:
        """Ctrl-C while the server works: it stops, long before it would have been done."""
        site.server.knobs.backup_seconds = 30
        began = time.monotonic()

        def interrupt(done: int, _total: int) -> None:
            raise KeyboardInterrupt

        folder = fresh(tmp_path / "copy")
        with pytest.raises(KeyboardInterrupt):
            site.source().copy_live(folder, interrupt)
        while site.server.requests() and time.monotonic() - began < 10:
            time.sleep(0.05)
        assert time.monotonic() - began < 10
        assert site.server.requests() == []
        assert snapshot(folder) == {}
        assert nothing_left(site)

    def test_progress_without_the_right_to_see_it(self, site: Site, tmp_path: Path) -> None:
        site.server.logins["datasave"].rights.discard("VIEW SERVER STATE")
        site.server.knobs.backup_seconds = 1.5
        seen: list[tuple[int, int]] = []
        site.source().copy_live(fresh(tmp_path / "copy"), lambda done, total: seen.append((done, total)))
        early = [done for done, total in seen if 0 < done < total // 2]
        assert len(early) >= 2
        assert early == sorted(early)


def test_server_stops_in_the_middle(tmp_path: Path) -> None:
    with ledger_site(fresh(tmp_path / "site")) as site:
        site.server.knobs.stops_at = 40
        folder = fresh(tmp_path / "copy")
        with pytest.raises(CopyError, match="connection to the server was lost") as caught:
            site.source().copy_live(folder)
        assert not caught.value.permanent
        assert snapshot(folder) == {}
        assert list(site.folder.iterdir()) == []
        with pytest.raises(SourceError) as after:
            site.source().check()
        assert not after.value.permanent


class TestCheckRefuses:
    def refused(self, site: Site, **changes: Any) -> DatasaveError:
        with pytest.raises(SourceError) as caught:
            site.source(**changes).check()
        assert caught.value.hint
        assert "\n" not in caught.value.message
        assert "odd" not in str(caught.value), "the password"
        return caught.value

    def test_password(self, site: Site, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong"
        wrong.write_text("very odd")
        wrong.chmod(0o600)
        assert "refuses the login" in self.refused(site, password=f"file:{wrong}").message

    def test_rights(self, site: Site) -> None:
        database, login = site.server.find(DATABASE), site.server.logins["datasave"]
        database.users["datasave"] = set()
        assert "may not back up" in self.refused(site).message
        del database.users["datasave"]
        assert "no access" in self.refused(site).message
        database.users["datasave"] = {"db_backupoperator"}
        login.rights.discard("CREATE ANY DATABASE")
        assert "CREATE ANY DATABASE" in self.refused(site).message

    def test_state(self, site: Site) -> None:
        database = site.server.find(DATABASE)
        database.state = "OFFLINE"
        error = self.refused(site)
        assert "is offline" in error.message
        assert not error.permanent
        database.state, database.snapshot_of = "ONLINE", 9
        assert "snapshot" in self.refused(site).message

    def test_encrypted_without_its_certificate(self, site: Site) -> None:
        site.server.find(DATABASE).encrypted = True
        assert "certificate" in self.refused(site).message
        assert site.source(certificate_kept=True).check().kind == "sqlserver"

    @pytest.mark.parametrize(
        ("knobs", "told"),
        [({"engine_edition": 5}, "Azure SQL Database"), ({"version": "10.50.6000.34"}, "older than 2012")],
    )
    def test_server(self, site: Site, knobs: dict[str, Any], told: str) -> None:
        site.server.knobs = Knobs(**knobs)
        assert told in self.refused(site).message

    def test_driver_and_address(self, site: Site) -> None:
        assert "ODBC Driver 18" in self.refused(site, driver="ODBC Driver 18 for SQL Server").message
        error = self.refused(site, server="127.0.0.1,1")
        assert "does not answer" in error.message
        assert not error.permanent

    def test_encryption_is_not_dropped_silently(self, site: Site) -> None:
        assert "127.0.0.1" in self.refused(site, encrypt="yes").message

    def test_folder(self, site: Site, tmp_path: Path) -> None:
        assert "cannot read the backup folder" in self.refused(site, backup_folder=tmp_path / "none").message


class TestScratch:
    def test_production_is_never_touched(self, site: Site, copy: Path, tmp_path: Path) -> None:
        mdf = site.server.find(DATABASE).mdf
        before, state = hashlib.sha256(mdf.read_bytes()).hexdigest(), dict(vars(site.server.find(DATABASE)))
        source, scratch = site.source(), fresh(tmp_path / "v")
        assert failed(source.validate(copy, scratch)) == []
        assert profile_of(source, copy, scratch).rows > 0
        assert hashlib.sha256(mdf.read_bytes()).hexdigest() == before
        assert vars(site.server.find(DATABASE)) == state
        changing = [sql for sql in site.server.statements if not sql.startswith(("SELECT", "sp_datatype"))]
        assert not [sql for sql in changing if "REPLACE" in sql.upper()]
        naming = {sql.split()[0] for sql in changing if f"[{DATABASE}]" in sql}
        assert naming == {"BACKUP"}

    def test_interrupted_while_it_is_restored(self, site: Site, copy: Path, tmp_path: Path) -> None:
        """Ctrl-C is heard while the server works, and the half restored database goes as well."""
        site.server.knobs.restore_seconds = 60
        # A process that runs tests for another one may ignore it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        timer = threading.Timer(0.7, _thread.interrupt_main)
        timer.start()
        began = time.monotonic()
        try:
            with pytest.raises(KeyboardInterrupt):
                site.source().validate(copy, fresh(tmp_path / "v"))
        finally:
            timer.join()
            signal.signal(signal.SIGINT, before)
        assert time.monotonic() - began < 20
        assert any(sql.startswith("RESTORE DATABASE") for sql in site.server.statements)
        assert nothing_left(site)

    def test_dropped_after_an_error_inside(self, site: Site, copy: Path, tmp_path: Path) -> None:
        with pytest.raises(KeyError), site.source().open(copy, fresh(tmp_path / "o")):
            assert len(site.scratch_databases()) == 1
            raise KeyError
        assert nothing_left(site)

    def test_a_scratch_database_that_stays_is_told(self, site: Site, copy: Path, tmp_path: Path) -> None:
        site.server.knobs.keeps_dropped = True
        with (
            pytest.raises(SourceError, match="is still on"),
            site.source().open(copy, fresh(tmp_path / "o")),
        ):
            pass

    def test_validated_database_gone_meanwhile(self, site: Site, copy: Path, tmp_path: Path) -> None:
        scratch = fresh(tmp_path / "v")
        site.source().validate(copy, scratch)
        [name] = site.scratch_databases()
        site.server.remove(site.server.find(name))
        assert profile_of(site.source(), copy, scratch).rows > 0
        assert nothing_left(site)

    def test_nobody_can_write_to_it(self, site: Site, copy: Path, tmp_path: Path) -> None:
        scratch = fresh(tmp_path / "v")
        site.source().validate(copy, scratch)
        with site.source().open(copy, scratch) as connection, pytest.raises(Exception, match="3906"):
            connection.cursor().execute("INSERT INTO [dbo].[entries] (amount) VALUES (1)")
        assert nothing_left(site)

    def test_not_writable_without_validate_either(self, site: Site, copy: Path, tmp_path: Path) -> None:
        with (
            site.source().open(copy, fresh(tmp_path / "o")) as connection,
            pytest.raises(Exception, match="3906"),
        ):
            connection.cursor().execute("INSERT INTO [dbo].[entries] (amount) VALUES (1)")

    def test_no_room(self, site: Site, copy: Path, tmp_path: Path) -> None:
        site.server.knobs.volume_full = True
        with pytest.raises(SourceError, match="no room for the restored database"):
            site.source().validate(copy, fresh(tmp_path / "v"))
        assert nothing_left(site)

    def test_old_owner_keeps_it(self, site: Site, copy: Path, tmp_path: Path) -> None:
        """A server on which the restored database does not open for who restored it."""
        site.server.knobs.restorer_owns = False
        del site.server.find(DATABASE).users["datasave"]
        connection = connect(site.server.port)
        cursor = connection.cursor()
        cursor.execute(
            f"BACKUP DATABASE [clinic] TO DISK = N'{copy / 'database.bak'}' WITH COPY_ONLY, CHECKSUM, INIT"
        )
        while cursor.nextset():
            pass
        connection.close()
        with pytest.raises(SourceError, match="may not open the scratch database") as caught:
            site.source().validate(copy, fresh(tmp_path / "v"))
        assert "scratch_server" in caught.value.hint

    def test_newer_backup(self, site: Site, copy: Path, tmp_path: Path) -> None:
        site.server.knobs.version = "14.0.1000.1"
        with pytest.raises(SourceError, match="newer SQL Server"):
            site.source().validate(copy, fresh(tmp_path / "v"))
        assert nothing_left(site)


class TestSweep:
    def leave(self, site: Site, folder: Path, digit: str, hours: int) -> str:
        name = f"datasave_scratch_{digit * 16}"
        database = Database(name, folder / f"{name}_1.mdf", "datasave", log=folder / f"{name}_2.ldf")
        database.created = datetime.now() - timedelta(hours=hours)
        create_files(database)
        site.server.add(database)
        return name

    def test_only_what_is_old_and_ours(self, site: Site, copy: Path, tmp_path: Path) -> None:
        old = self.leave(site, site.folder, "a", 30)
        young = self.leave(site, site.folder, "b", 20)
        foreign = self.leave(site, fresh(tmp_path / "theirs"), "c", 30)
        stale, letter = site.folder / f"datasave_{'d' * 16}.bak", site.folder / "letter.bak"
        for file in (stale, letter):
            file.write_bytes(b"x")
            os.utime(file, (0, 0))
        site.source().validate(copy, fresh(tmp_path / "v"))
        assert not site.server.has(old)
        assert site.server.has(young)
        assert site.server.has(foreign)
        assert not stale.exists()
        assert letter.exists()
        letter.unlink()

    def test_one_in_use_is_left(self, site: Site, copy: Path, tmp_path: Path) -> None:
        old = self.leave(site, site.folder, "e", 30)
        connection = connect(site.server.port, old)
        site.source().validate(copy, fresh(tmp_path / "v"))
        assert site.server.has(old)
        connection.close()


def test_server_names_the_folder_otherwise(site: Site, tmp_path: Path) -> None:
    site.server.as_server = (str(site.folder), "C:\\SOSBU")
    try:
        source, copy, scratch = (
            site.source(server_folder="C:\\SOSBU\\"),
            fresh(tmp_path / "c"),
            fresh(tmp_path / "v"),
        )
        source.copy_live(copy)
        assert failed(source.validate(copy, scratch)) == []
        assert profile_of(source, copy, scratch).rows > 0
        assert any("N'C:\\SOSBU\\datasave_scratch_" in sql for sql in site.server.statements)
        assert nothing_left(site)
    finally:
        site.server.as_server = None


def test_bare_machine(copy: Path, tmp_path: Path) -> None:
    source = source_for_copies("sqlserver")
    [finding] = source.validate(copy, fresh(tmp_path / "v"))
    assert not finding.passed
    assert finding.detail == "needs a SQL Server instance: use a plan that names one"
    with (
        pytest.raises(ValidationError, match="needs a SQL Server instance"),
        source.open(copy, fresh(tmp_path / "o")),
    ):
        pass
    restored = source.restore(copy, tmp_path / "place")
    assert restored.read_bytes() == (copy / "database.bak").read_bytes()
    assert "CREATE LOGIN" in source.grants()


def test_another_instance_for_scratch(site: Site, copy: Path, tmp_path: Path) -> None:
    with ledger_site(fresh(tmp_path / "other")) as other:
        other.server.logins["datasave"] = Login(
            "datasave", other.server.logins["datasave"].password, sysadmin=True
        )
        source, scratch = site.source(scratch_server=other.server.address), fresh(tmp_path / "v")
        site.server.logins["datasave"].rights.discard("CREATE ANY DATABASE")
        assert source.check().bytes
        assert failed(source.validate(copy, scratch)) == []
        assert len(other.scratch_databases()) == 1
        assert site.scratch_databases() == []
        assert profile_of(source, copy, scratch).rows > 0
        assert other.scratch_databases() == []


class TestConformance:
    def found(self, site: Site, tmp_path: Path) -> dict[str, Finding]:
        scratch = fresh(tmp_path / "trial")
        findings = {finding.check: finding for finding in site.source().conformance(scratch)}
        shutil.rmtree(scratch)
        return findings

    def test_passes_on_the_standin(self, site: Site, tmp_path: Path) -> None:
        site.server.knobs.backup_seconds = 1.2
        findings = self.found(site, tmp_path)
        assert [finding for finding in findings.values() if not finding.passed] == []
        assert len(findings) == 15
        assert nothing_left(site)

    @pytest.mark.parametrize(
        ("knobs", "check"),
        [
            ({"verifies_anything": True}, "VERIFYONLY refuses a backup with an altered byte"),
            ({"forgets_checksums": True}, "the header says copy only, with checksums"),
            ({"restore_touches_production": True}, "backup and restore left the database as it was"),
            ({"damages_restored": True}, "CHECKDB says nothing about a whole database"),
            ({"keeps_dropped": True}, "a dropped scratch database leaves no files"),
            ({"hide_percent": True, "backup_seconds": 1.2}, "another session sees how far a backup is"),
        ],
    )
    def test_notices(self, site: Site, knobs: dict[str, Any], check: str, tmp_path: Path) -> None:
        site.server.knobs = Knobs(**knobs)
        finding = self.found(site, tmp_path)[check]
        assert not finding.passed
        assert finding.detail
