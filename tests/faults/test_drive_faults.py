"""Removable media as people handle them: the wrong one, none, a stranger's, a copy, full, pulled out.

Failure stories 11 and 14. Every test proves that its fault fired, and that nothing was written elsewhere.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.errors import ObjectMissing, TargetError, TargetFull, TargetMissing, TargetReadOnly
from tasks.targets.drive.target import DriveTarget
from tasks.targets.shared import marker as folder_marker
from tasks.targets.shared import media as drive_media
from tasks.targets.shared import mounted
from tasks.targets.shared.media import FOLDER, MARKER, init_medium, plugged_in, read_medium, usual_places
from tests import mounts
from tests.contract.target_contract import MIB, SEALED, ThenReader, get, put, some_bytes
from tests.faults.folders import target_at, tree
from tests.faults.media import PLAN, TARGET, clone, drives, medium, objects

EMPTY = [MARKER, FOLDER]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """The folder in which drives turn up."""
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


@pytest.fixture
def tuesday(media: Path) -> Iterator[Path]:
    with medium(media, "TUE") as path:
        yield path


def every_call(target: DriveTarget) -> list[Callable[[], object]]:
    return [
        lambda: put(target, SEALED, b"x" * MIB),
        lambda: put(target, f"slot/{SEALED}", b"x"),
        lambda: get(target, SEALED),
        lambda: target.stat(SEALED),
        target.list,
        lambda: target.delete(SEALED),
        target.free_space,
    ]


def refused(target: DriveTarget, *words: str) -> str:
    """That every call is refused in these words, with one hint; the hint."""
    hints = set()
    for call in every_call(target):
        with pytest.raises(TargetMissing) as caught:
            call()
        assert "\n" not in caught.value.message
        for word in (TARGET, *words):
            assert word in caught.value.message
        assert target.is_permanent(caught.value)
        hints.add(caught.value.hint)
    assert len(hints) == 1
    return hints.pop()


# Another medium, or none


def test_wrong_medium(media: Path, tuesday: Path) -> None:
    put(drives(media, "TUE"), SEALED, b"Tuesday's")
    before = tree(media)
    hint = refused(drives(media, "WED"), "TUE is plugged in, but it is the turn of WED")
    assert "Plug WED in instead" in hint
    assert tree(media) == before
    assert get(drives(media, "TUE"), SEALED) == b"Tuesday's"


def test_yesterdays_medium_still_plugged_in(media: Path, tuesday: Path) -> None:
    refused(drives(media, "WED", last="TUE"), "TUE, with the newest backup on it, is still plugged in")
    assert tree(tuesday) == EMPTY


def test_the_same_medium_two_days_running(media: Path, tuesday: Path) -> None:
    """The calendar never asks for it; a plan that was changed overnight may."""
    hint = refused(drives(media, "TUE", last="TUE"), "TUE", "two days running")
    assert "media which" in hint
    assert tree(tuesday) == EMPTY


def test_the_right_medium_beside_others(media: Path, tuesday: Path) -> None:
    with medium(media, "MON") as monday, medium(media, "X", target="other") as other:
        put(drives(media, "TUE", last="MON"), SEALED, b"x")
        assert tree(monday) == tree(other) == EMPTY
        assert (objects(tuesday) / SEALED).read_bytes() == b"x"
        hint = refused(drives(media, "WED"), "MON and TUE are plugged in")
        assert "WED" in hint


def test_missing(media: Path) -> None:
    """Story 14: the folder that the drive is mounted on is there, with a copy of the drive's marker in it."""
    with medium(media, "TUE") as path:
        shutil.copy(path / MARKER, media.parent / "copy")
        put(drives(media, "TUE"), SEALED, b"x")
    assert not path.is_mount(), "the fault fired"
    shutil.copy(media.parent / "copy", path / MARKER)
    objects(path).mkdir()
    before = tree(media)
    assert "Plug TUE in" in refused(drives(media, "TUE"), "the medium TUE is not plugged in")
    assert "Plug one" in refused(drives(media), "none of its media is plugged in")
    assert tree(media) == before


# Strangers


@pytest.mark.parametrize(
    ("target", "plan"), [("vault", PLAN), (TARGET, "branch"), ("vault", "branch")], ids=str
)
def test_foreign_medium(media: Path, target: str, plan: str) -> None:
    """Story 11: a medium of another plan or target is neither written nor read, whatever its label."""
    with medium(media, "TUE", target=target, plan=plan) as path:
        hint = refused(drives(media, "TUE"), f"the medium TUE of {plan}, target {target}")
        assert "was not touched" in hint
        assert tree(path) == EMPTY


def test_without_a_turn_the_target_must_fit(media: Path) -> None:
    with medium(media, "TUE", target="vault"):
        refused(drives(media), "none of its media", "the medium TUE of office, target vault")


def test_a_stranger_under_a_known_label(media: Path, tuesday: Path) -> None:
    """The plan knows another Tuesday: this one was made on another machine, or was thought lost."""
    known = read_medium(tuesday, "")
    assert known
    hint = refused(drives(media, "TUE", known={"TUE": str(uuid4())}), "not the one known here")
    assert "lost or broken" in hint
    assert tree(tuesday) == EMPTY
    put(drives(media, "TUE", known={"TUE": known.id, "WED": str(uuid4())}), SEALED, b"x")
    put(drives(media, "TUE", known={"WED": str(uuid4())}), SEALED, b"x")


def test_a_drive_without_a_marker(media: Path) -> None:
    with mounts.ext4(media / "new", 16) as drive:
        before = tree(drive.path)
        hint = refused(
            drives(media, "TUE"), "TUE is not plugged in", f"{drive.path} is a drive without a marker"
        )
        assert "`datasave media init`" in hint
        assert tree(drive.path) == before


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[]", b'{"datasave": 2}'])
def test_a_damaged_marker(media: Path, tuesday: Path, content: bytes) -> None:
    (tuesday / MARKER).write_bytes(content)
    refused(drives(media, "TUE"), "TUE is not plugged in", "is damaged or of an unknown version")
    with pytest.raises(TargetMissing, match="damaged"):
        init_medium(tuesday, "TUE", TARGET, PLAN)
    assert (tuesday / MARKER).read_bytes() == content
    assert tree(tuesday) == EMPTY


# Two alike


@pytest.mark.parametrize("label", ["TUE", "WED", None])
def test_cloned(media: Path, tuesday: Path, label: str | None) -> None:
    """A copy of the whole drive. Also when another one is due: somebody must look at this."""
    put(drives(media, "TUE"), SEALED, b"x")
    with clone(media, tuesday, "copy") as copy:
        assert read_medium(copy, "") == read_medium(tuesday, ""), "the fault fired"
        assert tree(copy) == tree(tuesday)
        before = tree(media)
        hint = refused(drives(media, label), "the same id", str(copy), str(tuesday))
        assert "Unplug the one that is a copy" in hint
        assert tree(media) == before
    assert get(drives(media, "TUE"), SEALED) == b"x"


def test_a_clone_under_another_label(media: Path, tuesday: Path) -> None:
    with clone(media, tuesday, "copy") as copy:
        marker = json.loads((copy / MARKER).read_bytes())
        (copy / MARKER).write_text(json.dumps({**marker, "label": "WED"}))
        refused(drives(media, "TUE"), "the same id", "TUE at", "WED at")
        refused(drives(media, "WED"), "the same id")


def test_one_label_on_two_media(media: Path, tuesday: Path) -> None:
    with medium(media, "TUE", "other") as other:
        refused(drives(media, "TUE"), "the same label", str(other), str(tuesday))
        assert tree(other) == tree(tuesday) == EMPTY


def test_one_medium_mounted_twice_is_one(media: Path, tuesday: Path) -> None:
    (media / "again").mkdir()
    mounts.run("mount", "--bind", tuesday, media / "again")
    try:
        assert read_medium(media / "again", "") == read_medium(tuesday, ""), "the fault fired"
        put(drives(media, "TUE"), SEALED, b"x")
    finally:
        mounts.run("umount", media / "again")


def test_several_media_and_no_turn(media: Path, tuesday: Path) -> None:
    with medium(media, "MON"):
        hint = refused(drives(media), "several of its media are plugged in, MON and TUE")
        assert "Leave only the one" in hint
    assert drives(media).medium("x").label == "TUE"


# Full, read-only, failing


def test_full(media: Path, tuesday: Path) -> None:
    target = drives(media, "TUE")
    old = some_bytes(4 * MIB)
    put(target, SEALED, old)
    with pytest.raises(TargetFull) as caught:
        put(target, "new", bytes(20 * MIB))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC, "the fault fired"
    for word in ("new", TARGET, "TUE", "No space left"):
        assert word in caught.value.message
    assert get(target, SEALED) == old
    assert tree(tuesday) == [*EMPTY, f"{FOLDER}/{SEALED}"]
    target.delete(SEALED)
    put(target, "new", bytes(10 * MIB))


def test_read_only(media: Path, tuesday: Path) -> None:
    target = drives(media, "TUE")
    put(target, SEALED, b"old")
    mounts.run("mount", "-o", "remount,ro", tuesday)
    for call in (lambda: put(target, "new", b"x"), lambda: target.delete(SEALED)):
        with pytest.raises(TargetReadOnly) as caught:
            call()
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EROFS, "the fault fired"
        assert target.is_permanent(caught.value)
    assert get(target, SEALED) == b"old"


def test_a_driver_that_died(media: Path) -> None:
    with mounts.exfat(media / "stick") as stick:
        init_medium(stick.path, "TUE", TARGET, PLAN)
        target = drives(media, "TUE")
        put(target, SEALED, b"x")
        assert stick.driver is not None
        stick.driver.kill()
        stick.driver.wait()
        with pytest.raises(OSError, match="not connected"):
            list(stick.path.iterdir())
        refused(target, "TUE is not plugged in", str(stick.path), "cannot be read", "not connected")


def test_the_folder_of_the_medium_was_removed(media: Path, tuesday: Path) -> None:
    objects(tuesday).rmdir()
    assert "Somebody removed it" in refused(drives(media, "TUE"), "TUE", "has no folder datasave")
    assert tree(tuesday) == [MARKER]


def test_the_folder_of_the_medium_leads_elsewhere(media: Path, tuesday: Path) -> None:
    elsewhere = media.parent / "system"
    elsewhere.mkdir()
    objects(tuesday).rmdir()
    objects(tuesday).symlink_to(elsewhere)
    refused(drives(media, "TUE"), "is not a folder on TUE")
    objects(tuesday).unlink()
    objects(tuesday).mkdir()
    with mounts.tmpfs(objects(tuesday)):
        refused(drives(media, "TUE"), "is not a folder on TUE")
    assert tree(elsewhere) == []


# Pulled out in the middle


def during(size: int, fault: Callable[[], object]) -> ThenReader:
    """A reader of twice ``size`` bytes that has ``fault`` happen half way."""
    left = [bytes(size), b""]

    def half_way() -> bytes:
        if len(left) == 2:
            fault()
        return left.pop(0)

    return ThenReader(size, half_way)


@pytest.mark.parametrize("beneath", ["nothing", "a copy of the medium, marker and all"])
@pytest.mark.parametrize("name", [SEALED, f"slot/{SEALED}"])
def test_unplugged_in_mid_copy(media: Path, tuesday: Path, name: str, beneath: str) -> None:
    """Every write and even fsync succeed on the detached file system: the marker and st_dev tell."""
    copied = (tuesday / MARKER).read_bytes()

    def pull() -> None:
        mounts.unmount_lazily(tuesday)
        if beneath != "nothing":
            objects(tuesday).mkdir()
            (tuesday / MARKER).write_bytes(copied)

    written: list[int] = []
    with pytest.raises(TargetMissing) as caught:
        drives(media, "TUE").put(name, during(MIB, pull), 2 * MIB, lambda done, _: written.append(done))
    assert written[-1] == 2 * MIB, "all writes succeeded after the fault"
    assert caught.value.__cause__ is None, "no error of the system gave it away"
    assert not tuesday.is_mount()
    assert tree(tuesday) == ([] if beneath == "nothing" else EMPTY)


@pytest.mark.parametrize("moment", ["make_folders", "create_private", "sync_folder"])
def test_unplugged_between_two_calls(
    media: Path, tuesday: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whichever call is the first to reach the disk beneath, nothing stays there."""
    real = getattr(mounted, moment)
    fired: list[str] = []

    def after_the_fault(*arguments: object) -> object:
        if not fired:
            fired.append(moment)
            mounts.unmount_lazily(tuesday)
        return real(*arguments)

    monkeypatch.setattr(mounted, moment, after_the_fault)
    with pytest.raises(TargetMissing):
        put(drives(media, "TUE"), SEALED, bytes(MIB))
    assert fired
    assert tree(tuesday) == []


def test_unplugged_between_looking_and_writing(
    media: Path, tuesday: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beneath lies a whole copy: only the device number, taken while it was seen mounted, tells."""
    copied = (tuesday / MARKER).read_bytes()
    real = drive_media.plugged_in

    def then_pull(patterns: tuple[str, ...]) -> list[drive_media.Drive]:
        seen = real(patterns)
        mounts.unmount_lazily(tuesday)
        objects(tuesday).mkdir()
        (tuesday / MARKER).write_bytes(copied)
        return seen

    monkeypatch.setattr("tasks.targets.drive.target.plugged_in", then_pull)
    with pytest.raises(TargetMissing, match="is not a folder on TUE"):
        put(drives(media, "TUE"), SEALED, bytes(MIB))
    assert not tuesday.is_mount(), "the fault fired"
    assert tree(tuesday) == EMPTY


@pytest.mark.parametrize("instead", ["WED", "TUE"])
def test_another_medium_in_mid_copy(media: Path, tuesday: Path, instead: str) -> None:
    """Swapped for another one while the copy runs; that it has the right label makes it no better."""

    def swap() -> None:
        mounts.unmount_lazily(tuesday)
        mounts.run("mount", "-t", "tmpfs", "tmpfs", tuesday)
        init_medium(tuesday, instead, TARGET, PLAN)

    reader = during(MIB, swap)
    with pytest.raises(TargetMissing, match="another medium than TUE"):
        drives(media, "TUE").put(SEALED, reader, 2 * MIB)
    assert reader.fired
    assert tree(tuesday) == EMPTY


def test_pulled_in_mid_copy(media: Path, tuesday: Path) -> None:
    """A pulled drive still lists and answers from memory, and fails each write with EIO."""
    target = drives(media, "TUE")
    put(target, SEALED, b"old")
    with pytest.raises(TargetError) as caught:
        target.put("new", during(MIB, lambda: mounts.shut_down_without_sync(tuesday)), 2 * MIB)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EIO, "the fault fired"
    with pytest.raises(TargetMissing, match="Input/output error"):
        target.list()


def test_power_cut_after_put(media: Path, tuesday: Path) -> None:
    data = some_bytes(3 * MIB)
    put(drives(media, "TUE"), f"slot/{SEALED}", data)
    (tuesday / "ordinary").write_bytes(data)
    mounts.shut_down_without_sync(tuesday)
    mounts.run("umount", tuesday)
    mounts.mount_ext4(tuesday, tuesday.with_name("TUE.img"))
    ordinary = tuesday / "ordinary"
    assert not ordinary.exists() or ordinary.read_bytes() != data, "the fault fired"
    assert get(drives(media, "TUE"), f"slot/{SEALED}") == data


# Making media ready


def test_a_medium_made_ready(media: Path, tuesday: Path) -> None:
    marker = json.loads((tuesday / MARKER).read_bytes())
    assert set(marker) == {"datasave", "id", "label", "plan", "target", "made"}
    assert (marker["label"], marker["plan"], marker["target"]) == ("TUE", PLAN, TARGET)
    assert len(marker["id"]) == 36
    assert (objects(tuesday).stat().st_mode & 0o777, (tuesday / MARKER).stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    assert drives(media).medium("x").id == marker["id"]
    assert "media init" in drives(media).prepare()


def test_what_can_be_no_medium(media: Path, tuesday: Path) -> None:
    """Above all not the system's disk, on which an unplugged drive's mount point lies."""
    folder = media / "empty"
    folder.mkdir()
    data = media / "data"
    before = tree(media)
    with pytest.raises(TargetError, match="not the root of a drive"):
        init_medium(folder, "WED", TARGET, PLAN)
    with pytest.raises(TargetError, match="not the root of a drive"):
        init_medium(objects(tuesday), "WED", TARGET, PLAN)
    with pytest.raises(TargetMissing, match="not there"):
        init_medium(media / "away", "WED", TARGET, PLAN)
    with pytest.raises(TargetError, match="/ of this computer lies on the same disk"):
        init_medium(Path("/"), "WED", TARGET, PLAN)
    assert not (Path("/") / MARKER).exists()
    assert tree(media) == before
    with mounts.tmpfs(data):
        (data / "state").mkdir()
        with pytest.raises(TargetError, match=r"data/state of this computer"):
            init_medium(data, "WED", TARGET, PLAN, never=[data / "state", media / "not-there"])
        assert tree(data) == ["state"]


def test_a_marked_drive_is_not_marked_again(media: Path, tuesday: Path) -> None:
    before = (tuesday / MARKER).read_bytes()
    for label, target in (("WED", TARGET), ("TUE", "other"), ("TUE", TARGET)):
        with pytest.raises(TargetError, match="it is the medium TUE of office, target drives") as caught:
            init_medium(tuesday, label, target, PLAN)
        assert caught.value.permanent
        assert caught.value.hint
    assert (tuesday / MARKER).read_bytes() == before
    with mounts.tmpfs(media / "nas"):
        target_at(media / "nas").prepare()
        with pytest.raises(TargetError, match="place of a folder target"):
            init_medium(media / "nas", "WED", TARGET, PLAN)
        assert tree(media / "nas") == [folder_marker.MARKER]


def test_a_read_only_drive_is_not_made_ready(media: Path) -> None:
    with mounts.ext4(media / "locked", 16) as drive:
        mounts.run("mount", "-o", "remount,ro", drive.path)
        with pytest.raises(TargetReadOnly):
            init_medium(drive.path, "TUE", TARGET, PLAN)


# Where media turn up


def test_a_medium_is_found_wherever_it_turns_up(media: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with medium(media, "TUE", "disk-1"):
        put(drives(media, "TUE"), SEALED, b"x")
    mounts.mount_ext4(elsewhere / "usb0", media / "disk-1.img")
    try:
        assert get(drives(elsewhere, "TUE"), SEALED) == b"x"
        with pytest.raises(ObjectMissing):
            drives(elsewhere, "TUE").stat("other")
    finally:
        mounts.run("umount", elsewhere / "usb0")


def test_usual_places_are_those_of_the_system() -> None:
    assert "/media/*/*" in usual_places()
    found = plugged_in(("/*",))
    assert Path("/proc") in [seen.root for seen in found]
    assert all(os.path.ismount(seen.root) for seen in found)
