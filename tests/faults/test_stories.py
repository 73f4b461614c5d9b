"""Failure stories of other backup programs, told to this one. Each test proves that its fault fired.

| story | shown by |
|---|---|
| 1 dump died in mid-stream, exit 0 | test_kill.test_kill_9, test_sqlite_copy, test_staging_faults; the notice: test_notices |
| 2 valid container around a cut dump blocks the retry | test_proof.test_rehearsal_fails…, test_staging_faults.test_staging_runs_full (next run of the same day) |
| 3 disk full taken as success | test_staging_faults, test_targets.test_one_target_fails… (full), test_folder_faults.test_full… |
| 4 archived although the dump failed | test_proof.test_a_copy_that_fails_its_engines_check…, test_nothing_is_delivered_without_evidence |
| 5 failure pinged as finish | unit/notices/test_report, unit/health/test_notify (no failure is told as good) |
| 6 missing source exits 0 | test_targets.test_missing_source…, test_command_line.test_doctor_names_a_single_fault |
| 7 a restore did nothing and said success | test_proof.test_drill_fails…, test_a_database_without_tables…, test_a_drill_with_a_strangers_key |
| 8 a drill ran against the live instance | test_a_drill_never_touches_production, test_sqlanywhere_copies (own server name, -ds), test_postgresql_damage and test_mariadb_damage (own sockets) |
| 9 version mismatch, empty bucket | test_an_empty_target_where_backups_are_expected, test_postgresql_refusals and test_mariadb_faults (versions) |
| 10 prune ate good backups | unit/policy/test_retention, golden/retention, unit/plan/test_load (keep), test_targets.test_retention_keeps… |
| 11 a swapped-in drive wiped | test_another_medium_is_not_pruned_for_the_first, test_drive_faults, test_nothing_goes_before_the_new_copy_is_proven |
| 12 clock skew deleted data | golden/retention, unit/policy/test_retention, test_a_clock_that_jumped |
| 13 forged timestamps evict backups | test_targets.test_a_forged_manifest…, unit/policy/test_retention, unit/manifests/test_shelf |
| 14 missing drive, "success" on the system disk | test_targets.test_one_target_fails… (unmounted), test_folder_faults, test_folder_interrupted, test_drives |
| 15 truncated upload kept | test_a_cut_off_upload_is_not_kept, contract/target_contract, test_s3_faults (a proxy that cuts) |
| 16 resumed from something else | test_a_rerun_trusts_only_what_is_unchanged, test_targets.test_a_rerun_after_staging_was_swept…, test_s3_interrupted (parts compared with the very bytes) |
| 17 a compressor bug | test_a_compressor_that_garbles |
| 18 key lost | test_each_target_and_each_key_alone, test_drill_turns |
| 19 catalogue rebuild was bad | test_each_target_and_each_key_alone (there is no catalogue) |
| 20 locks missing or lapsed | test_s3_faults, contract/test_s3_own (asserted on archive and manifest; an upload that ended unlocked fails) |
| 21 metadata in Glacier | contract/test_s3_cold, contract/test_s3_own (manifests stay in STANDARD) |
| 22 alerts died quietly | test_notices, unit/health/test_notify (a notice that cannot be sent fails the run) |
| 23 killed worker stays RUNNING | test_kill.test_kill_9 (lock released, next run works), test_machine_dies (the alarm) |
| 24 copy without the WAL | unit/sources/sqlite/test_source (WAL never checkpointed), contract/source_contract, test_staging_faults (killed writer) |
| 25 opening the backup altered it | test_a_check_that_alters_the_copy, contract/source_contract |
| 26 a restore destroyed data | test_command_line.test_restore_refuses…, contract/source_contract, test_inplace, test_inplace_refusals |
"""  # noqa: E501 - a table has no line breaks

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments.cli import app as cli
from tasks.archive.writer import write_archive
from tasks.backup import deliver, preflight, seal
from tasks.errors import MismatchError
from tasks.records import Engine, Finding, Rehearsed, Run, Sealed
from tasks.sources.sqlite.source import SqliteSource
from tests.flows.conftest import clinic, running_site, site
from tests.flows.site import Site, counts

__all__ = ["clinic", "running_site", "site"]

Captured = pytest.CaptureFixture[str]
ONE_STAYS = {"kind": "folder", "floor": 1, "keep": {"last": 1}}


@pytest.fixture
def frugal(running_site: Site) -> Site:
    """An office whose nas keeps a single backup, and has one."""
    running_site.change_plan(targets=[{"name": "nas", "path": "nas", **ONE_STAYS}])
    assert running_site.run("backup") == 0
    return running_site


def sequences(site: Site, target: str = "nas") -> list[int]:
    return sorted(manifest["sequence"] for manifest in site.manifests(target))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "findings", [(), (Finding(check="content", passed=False, detail="differs"),)], ids=["none", "failed"]
)
def test_nothing_is_delivered_without_evidence(site: Site, findings: tuple[Finding, ...]) -> None:
    """Story 4: whoever calls the step out of order, or after a rehearsal that failed, delivers nothing."""
    path = site.root / "made-up.tar.zst.age"
    path.write_bytes(b"sealed")
    sealed = Sealed(
        path=path, name="clinic-20261123T020000Z-000001.tar.zst.age", bytes=6, sha256=sha256(path)
    )
    run = Run(
        plan=site.plan,
        id="x",
        source="clinic",
        sequence=1,
        started=datetime.now(UTC),
        engine=Engine(kind="sqlite", version="3", bytes=6),
    )
    rehearsed = Rehearsed(findings=findings, seconds=0.0, manifest=path)
    with pytest.raises(MismatchError, match="not rehearsed"):
        deliver.deliver(site.context, run, sealed, rehearsed, "nas")
    assert site.objects("nas") == []


def test_a_database_without_tables_is_no_backup(running_site: Site, capsys: Captured) -> None:
    """Story 7: a program that lost its database often makes a new one with nothing in it."""
    site = running_site
    site.database.unlink()
    with closing(sqlite3.connect(site.database)) as database, database:
        database.execute("CREATE TABLE visits (id)")
        database.execute("DROP TABLE visits")
    assert site.database.stat().st_size > 0, "the fault fired: a database, and a whole one"
    assert site.run("backup") == 1
    said = capsys.readouterr().err
    assert "table" in said and "Traceback" not in said
    assert site.objects("nas") == []


def test_a_drill_with_a_strangers_key(running_site: Site, tmp_path: Path, capsys: Captured) -> None:
    """Story 7: the wrong identity restores nothing, fails the drill and leaves no certificate."""
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    before = site.objects("nas")
    assert cli.main(["keys", "new", "--holder", "Thief", "--out", str(tmp_path / "thief.txt")]) == 0
    capsys.readouterr()
    assert site.run("drill", "--identity", str(tmp_path / "thief.txt")) == 1
    said = capsys.readouterr().err
    assert "does not open" in said and "Owner, Bank safe" in said and "Traceback" not in said
    assert site.objects("nas") == before
    assert site.plaintext() == []


def test_a_drill_never_touches_production(running_site: Site) -> None:
    """Story 8: it works with the database gone, and with one that nobody else may open."""
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    before = (sha256(site.database), site.database.stat().st_mtime_ns)
    with closing(sqlite3.connect(site.database, isolation_level=None)) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        assert site.run("drill", "--identity", str(site.keys[0])) == 0
    assert (sha256(site.database), site.database.stat().st_mtime_ns) == before
    site.database.unlink()
    assert site.run("drill", "--identity", str(site.keys[1])) == 0
    assert not site.database.exists()


def test_an_empty_target_where_backups_are_expected(frugal: Site, capsys: Captured) -> None:
    """Story 9: the audit alarms, and numbering goes on so that no number is ever used twice."""
    site = frugal
    for path in [*(site.root / "nas").glob("clinic-*"), site.root / "nas" / "RECOVER.md"]:
        path.unlink()
    capsys.readouterr()
    assert site.run("audit") == 1
    assert "nas holds no verified backup" in capsys.readouterr().err
    assert site.run("backup") == 0
    assert sequences(site) == [2]


def test_another_medium_is_not_pruned_for_the_first(frugal: Site) -> None:
    """Story 11: what lies on a drive is judged by that drive alone, also when it comes back."""
    site = frugal
    first, second = site.root / "drive-1", site.root / "drive-2"
    (site.root / "nas").rename(first)
    site.init_target("nas")
    held = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    for _ in range(2):
        assert site.run("backup") == 0
    assert sequences(site) == [3]
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == held
    (site.root / "nas").rename(second)
    first.rename(site.root / "nas")
    assert site.run("backup") == 0
    assert sequences(site) == [4]
    assert len(list(second.glob("*.manifest.json"))) == 1


@pytest.fixture
def damaged_delivery(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[bytes], bytes]], list[Path]]:
    """Let a delivered archive change on the medium before it is read back; returns where that happened."""

    def install(damage: Callable[[bytes], bytes]) -> list[Path]:
        real, fired = deliver.deliver, []

        def deliver_and_damage(context: Any, *arguments: Any, **options: Any) -> Any:
            placed = real(context, *arguments, **options)
            path = context.entry(placed.target).path / placed.name
            path.write_bytes(damage(path.read_bytes()))
            fired.append(path)
            return placed

        monkeypatch.setattr(deliver, "deliver", deliver_and_damage)
        monkeypatch.setattr("tasks.steps.backup.read_back.task.retries", 0)
        return fired

    return install


def test_nothing_goes_before_the_new_copy_is_proven(
    frugal: Site, damaged_delivery: Callable[[Callable[[bytes], bytes]], list[Path]], capsys: Captured
) -> None:
    """Story 11: keeping one means the old one until the new one was read back whole."""
    site = frugal
    (old,) = site.archives("nas")
    fired = damaged_delivery(lambda data: data[: len(data) // 2] + b"?" + data[len(data) // 2 + 1 :])
    assert site.run("backup") == 1
    assert len(fired) == 1 and fired[0] != old
    assert "read back" in capsys.readouterr().err
    assert site.archives("nas") == [old] and sequences(site) == [1]
    assert site.run("drill", "--identity", str(site.keys[0])) == 0


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_cut_off_upload_is_not_kept(
    frugal: Site,
    damaged_delivery: Callable[[Callable[[bytes], bytes]], list[Path]],
    share: float,
    capsys: Captured,
) -> None:
    """Story 15: a medium that says "stored" and has only the beginning."""
    site = frugal
    fired = damaged_delivery(lambda data: data[: int(len(data) * share)])
    assert site.run("backup") == 1
    assert len(fired) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert not fired[0].exists() and sequences(site) == [1]
    assert site.run("list") == 0
    shown = capsys.readouterr().out
    assert shown.count("verified") == 1 and "cut off" not in shown


@pytest.mark.parametrize("jump", [1, 3650, -1, -3650], ids=lambda days: f"{days:+d} days")
def test_a_clock_that_jumped(
    frugal: Site, jump: int, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Story 12: with the clock wrong for one run nothing is removed, in that run and the next; it alarms."""
    site = frugal

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or UTC) + timedelta(days=jump)

    with monkeypatch.context() as wrong:
        wrong.setattr(preflight, "datetime", Wrong)
        assert site.run("backup") == 1
    assert "pruning suspended" in capsys.readouterr().err
    taken = {m["sequence"]: datetime.fromisoformat(m["taken"]) for m in site.manifests("nas")}
    assert abs((taken[2] - taken[1]).days - jump) <= 1, "the fault fired"
    site.run("backup")
    assert sequences(site) == [1, 2, 3]
    # The way out that the report shows.
    assert "remove that backup by hand" in " ".join(site.report().split())
    [manifest] = (site.root / "nas").glob("*-000002.manifest.json")
    manifest.unlink()
    [archive] = (site.root / "nas").glob("*-000002.tar.zst.age")
    archive.unlink()
    assert site.run("prune", "--accept-change") == 0
    assert site.run("backup") == 0
    assert sequences(site) == [4]


def test_a_rerun_trusts_only_what_is_unchanged(running_site: Site, capsys: Captured) -> None:
    """Story 16: a sealed archive that waits in staging and is not what it was goes nowhere."""
    site = running_site
    (site.root / "nas").rename(site.root / "unplugged")
    assert site.run("backup") == 1
    (site.root / "unplugged").rename(site.root / "nas")
    (waiting,) = site.staging.rglob("*.tar.zst.age")
    data = bytearray(waiting.read_bytes())
    data[len(data) // 2] ^= 1
    waiting.write_bytes(data)
    capsys.readouterr()
    assert site.run("retry") == 1
    said = capsys.readouterr().err
    assert "changed before it reached nas" in said and "Traceback" not in said
    assert site.objects("nas") == []
    assert site.run("backup") == 0


def test_a_compressor_that_garbles(
    running_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Story 17: a flawless archive of something else. Only opening and comparing can find that."""
    site, fired = running_site, []

    def garble(folder: Path, writer: Any, **options: Any) -> Any:
        other = site.root / "garbled"
        shutil.copytree(folder, other)
        database = other / "clinic.db"
        data = bytearray(database.read_bytes())
        place = data.index(b" ", len(data) // 2)
        data[place + 1 : place + 4] = b"XYZ"
        database.write_bytes(data)
        fired.append(place)
        return write_archive(other, writer, **options)

    monkeypatch.setattr(seal, "write_archive", garble)
    assert site.run("backup") == 1
    assert fired
    said = capsys.readouterr().err
    assert "clinic.db" in said and "Traceback" not in said
    assert site.objects("nas") == []


def test_each_target_and_each_key_alone(running_site: Site, tmp_path: Path, capsys: Captured) -> None:
    """Stories 18 and 19: on an empty machine, from one medium and one holder's key, everything comes back."""
    site = running_site
    assert site.run("backup") == 0
    expected = counts(site.database)
    medium_of = {name: tmp_path / "away" / name for name in ("nas", "second-disk", "cellar")}
    for name, medium in medium_of.items():
        shutil.copytree(site.root / name, medium)
    keys = [shutil.copy(key, tmp_path / "away" / key.name) for key in site.keys]
    signer = site.signer
    for path in (site.root / ".datasave", *(site.root / name for name in medium_of)):
        shutil.rmtree(path)
    site.database.unlink()
    site.plan.unlink()
    for name, medium in medium_of.items():
        for holder, key in zip(("Owner", "Bank safe"), keys, strict=True):
            destination = tmp_path / "away" / f"{name} {holder}"
            arguments = ["--folder", str(medium), "--identity", str(key), "--to", str(destination)]
            capsys.readouterr()
            assert cli.main(["restore", *arguments, *signer]) == 0
            assert f"key of {holder}" in capsys.readouterr().out
            assert counts(destination / "clinic.db") == expected


def test_a_check_that_alters_the_copy(
    running_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Story 25: an engine's check that writes into the copy, as some do when they open it."""
    site, fired, real = running_site, [], SqliteSource.validate

    def validate(source: SqliteSource, copy: Path, scratch: Path) -> Any:
        findings = real(source, copy, scratch)
        with closing(sqlite3.connect(copy / "clinic.db")) as database, database:
            database.execute("PRAGMA user_version = 7")
        fired.append(json.dumps(str(copy)))
        return findings

    monkeypatch.setattr(SqliteSource, "validate", validate)
    assert site.run("backup") == 1
    assert fired
    said = capsys.readouterr().err
    assert "altered" in said or "changed" in said, said
    assert "Traceback" not in said and "unexpected" not in said
    assert site.objects("nas") == [] and site.plaintext() == []
