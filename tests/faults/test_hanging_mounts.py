"""Mounts that hang: a frozen file system, a driver that does not answer. Calls of them would wait for ever.

The waits are short here; nothing is timed but that the test ends at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.errors import PlanError, SourceError, TargetMissing
from tasks.platform import patience, places
from tasks.sources.files import walk as files_walk
from tasks.sources.sqlite import connection as sqlite_connection
from tasks.sources.sqlite.source import SqliteOptions, SqliteSource
from tasks.targets.drive.target import DriveTarget
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.shared import media as drive_media
from tasks.targets.shared.media import init_medium
from tests import mounts
from tests.contract.target_contract import MIB, SEALED, get, put, some_bytes
from tests.faults.media import PLAN, TARGET, options
from tests.flows.conftest import clinic, running_site, site
from tests.flows.site import Site
from tests.unit.sources.files.material import source

__all__ = ["clinic", "running_site", "site"]


def impatient(path: Path, name: str = "nas") -> FolderTarget:
    """A folder target that waits for one second."""
    return FolderTarget(name, FolderOptions(path=path, timeout=1))


def hangs(call: Callable[[], object], name: str = "nas") -> TargetMissing:
    """That a call is given up, in words; trying again at once is pointless."""
    with pytest.raises(TargetMissing, match="gave no sign of life for") as caught:
        call()
    assert name in caught.value.message and "\n" not in caught.value.message
    assert caught.value.permanent
    assert "datasave retry" in caught.value.hint
    return caught.value


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Path]:
    with mounts.ext4(tmp_path / "nas") as mounted:
        yield mounted.path


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[mounts.Mounted]:
    with mounts.exfat(tmp_path / "stick") as mounted:
        yield mounted


def test_c8_a_frozen_file_system_is_given_up_and_used_again_when_it_answers(drive: Path) -> None:
    target = impatient(drive)
    target.prepare()
    put(target, SEALED, b"old")
    with mounts.frozen(drive):
        hangs(lambda: put(target, "new", some_bytes(3 * MIB)))
        assert patience.hangs(str(drive)), "the fault fired"
        threads = threading.active_count()
        for _ in range(3):
            hangs(lambda: put(target, "new", b"x"))
            hangs(target.list)
        assert threading.active_count() == threads, "nothing more is asked of it meanwhile"
    while patience.hangs(str(drive)):
        pass
    put(target, "new", b"x")
    assert [item.name for item in target.list()] == [SEALED, "new"]
    assert get(target, SEALED) == b"old"


def test_c8_a_driver_that_does_not_answer(stick: mounts.Mounted) -> None:
    target = impatient(stick.path)
    target.prepare()
    put(target, SEALED, b"old")
    calls = [
        lambda: get(target, SEALED),
        target.list,
        target.free_space,
        lambda: target.stat(SEALED),
        lambda: target.delete(SEALED),
        target.disk,
        target.prepare,
    ]
    for call in calls:
        with mounts.stopped(stick):
            hangs(call)
        while patience.hangs(str(stick.path)):
            pass
    target = impatient(stick.path)
    if SEALED in [item.name for item in target.list()]:
        assert get(target, SEALED) == b"old"


def test_c8_a_medium_that_stops_answering_while_it_is_read(stick: mounts.Mounted) -> None:
    data = some_bytes(8 * MIB)
    target = impatient(stick.path)
    target.prepare()
    put(target, SEALED, data)
    with target.open(SEALED) as stream:
        assert stream.read(MIB) == data[:MIB]
        with mounts.stopped(stick):
            hangs(stream.read)


def test_c8_a_drive_that_hangs_does_not_keep_another_medium_from_its_backup(
    tmp_path: Path, stick: mounts.Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive_media, "_WAKE_SECONDS", 0.5)
    media = tmp_path / "media"
    media.mkdir()
    with mounts.exfat(media / "A") as first, mounts.ext4(media / "B") as second:
        for mounted, label in ((first, "F1"), (second, "F2")):
            init_medium(mounted.path, label, TARGET, PLAN)
        target = DriveTarget(TARGET, options(media).model_copy(update={"timeout": 1}))
        with mounts.stopped(first):
            put(target, SEALED, b"x")
            assert [drive.defect for drive in drive_media.plugged_in([f"{media}/*"]) if drive.defect]
        assert (second.path / "datasave" / SEALED).exists()
        with mounts.frozen(second.path), mounts.stopped(first):
            hangs(lambda: put(target, "new", b"x"), "F2")
        while patience.hangs(str(second.path)) or patience.hangs(str(first.path)):
            pass


def test_c8_a_source_that_hangs_is_told_in_one_line(
    stick: mounts.Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_walk, "PATIENCE", 1.0)
    monkeypatch.setattr(sqlite_connection, "PATIENCE", 1.0)
    (stick.path / "clinic.db").write_bytes(b"x" * MIB)
    for asked in (source(stick.path), SqliteSource(SqliteOptions(path=stick.path / "clinic.db"))):
        with mounts.stopped(stick), pytest.raises(SourceError, match="gave no sign of life for 1 s"):
            asked.check()
        while patience.hangs(str(stick.path)) or patience.hangs(str(stick.path / "clinic.db")):
            pass


def test_c8_a_plan_is_read_although_one_of_its_targets_hangs(
    tmp_path: Path, stick: mounts.Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places are compared by their texts then."""
    monkeypatch.setattr(places, "LOOK_SECONDS", 0.5)
    (stick.path / "nas").mkdir()
    site = Site.make(tmp_path, ["cellar"])
    cellar = {"name": "cellar", "kind": "folder", "path": "cellar"}
    nas = {"name": "nas", "kind": "folder", "path": str(stick.path / "nas")}
    inside = {"name": "long", "kind": "folder", "path": str(stick.path / "nas" / "long")}
    with mounts.stopped(stick):
        site.change_plan(targets=[cellar, nas])
        assert site.context.plan.targets
        site.change_plan(targets=[cellar, nas, inside])
        with pytest.raises(PlanError, match="lies inside `nas`"):
            assert site.context


def test_c8_a_run_ends_for_the_other_targets_and_tells_which_one_hangs(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    with mounts.ext4(site.root / "frozen") as drive:
        frozen = {"name": "nas", "kind": "folder", "path": "frozen", "timeout": 1}
        site.change_plan(targets=[frozen, {"name": "cellar", "kind": "folder", "path": "cellar"}])
        for name in ("nas", "cellar"):
            site.init_target(name)
        with mounts.frozen(drive.path):
            assert site.run("backup") == 1
        said = capsys.readouterr()
        assert "gave no sign of life for 1 s" in said.err + said.out
        assert len(site.archives("cellar")) == 1
        assert "gave no sign of life for 1 s" in site.report()
        while patience.hangs(str(drive.path)):
            pass
        assert site.run("retry") == 0
        assert len(site.archives("frozen")) == 1
