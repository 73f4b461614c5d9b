"""The steps around removable media: made ready, in turn, remembered, in the words that the staff reads."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.backup import media
from tasks.backup.media import USES_KEPT, Media
from tasks.context import PlanContext
from tasks.errors import PlanError, TargetError, TargetMissing
from tasks.targets.drive.target import DriveOptions, DriveTarget
from tasks.targets.registry import make_target
from tasks.targets.shared.media import MARKER, read_medium
from tests import mounts
from tests.contract.target_contract import SEALED, get, put
from tests.faults.media import CALENDAR
from tests.journals import forget
from tests.unit.plan.material import CLASSIC, REGISTERED, check, good

MONDAY = date(2026, 11, 9)
DAY = timedelta(days=1)


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    """An office with a folder target and drives that turn up in ``media``; it took a backup before."""
    return context_at(tmp_path)


def context_at(root: Path, **options: Any) -> PlanContext:
    drive = {
        "name": "drives",
        "kind": "drive",
        "calendar": {**CALENDAR, "since": "2026-11-06", "holidays": ["2026-11-26"]},
        "mounts": [f"{root / 'media'}/*"],
        **options,
    }
    plan = {
        "name": "office",
        "source": {"kind": "sqlite", "path": "clinic.db"},
        "holders": [{"name": "Owner", "recipient": CLASSIC}],
        "targets": [{"name": "nas", "kind": "folder", "path": "nas"}, drive],
        "schedule": {"timezone": "America/New_York"},
        "state": "state",
    }
    path = root / "office.yaml"
    path.write_text(yaml.safe_dump(plan), "utf-8")
    (root / "media").mkdir(exist_ok=True)
    made = PlanContext(path)
    made.machine_key()
    return made


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Any]:
    """Plugs a new drive in at ``media/<place>``; returns its path."""
    with ExitStack() as stack:
        yield lambda place: stack.enter_context(mounts.tmpfs(tmp_path / "media" / place))


def target_of(context: PlanContext) -> DriveTarget:
    target = make_target("drives", context.entry("drives"))
    assert isinstance(target, DriveTarget)
    return target


def on(context: PlanContext, day: date) -> DriveTarget:
    target = target_of(context)
    media.take_turn(context, target, day)
    return target


def held_then(context: PlanContext, path: Path, label: str, count: int) -> None:
    """Make a medium ready, and have it remembered that it held ``count`` backups on Monday."""
    media.init(context, "drives", path, label)
    marker = read_medium(path, "")
    assert marker
    media._note(context, marker, count, MONDAY)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Made ready


def test_init(context: PlanContext, plugged: Any) -> None:
    path = plugged("usb0")
    assert media.init(context, "drives", path, "MON").endswith("write MON on it")
    marker = read_medium(path, "")
    assert marker
    assert (marker.label, marker.target, marker.plan) == ("MON", "drives", "office")
    assert media.remembered(context).of("drives")["MON"].id == marker.id


def test_init_of_what_the_plan_does_not_name(context: PlanContext, plugged: Any) -> None:
    path = plugged("usb0")
    with pytest.raises(PlanError, match="'SAT' is not in the calendar") as caught:
        media.init(context, "drives", path, "SAT")
    assert "MON, TUE, WED, THU, F1, F2" in caught.value.hint
    with pytest.raises(PlanError, match="the target nas has no media") as caught:
        media.init(context, "nas", path, "MON")
    assert "drives" in caught.value.hint
    with pytest.raises(PlanError, match="no target"):
        media.init(context, "tapes", path, "MON")
    assert not (path / MARKER).exists()
    assert media.remembered(context) == Media()


def test_one_label_is_given_once(context: PlanContext, plugged: Any) -> None:
    """Two drives of one label would be found out on the night when both are plugged in: better now."""
    first, second = plugged("usb0"), plugged("usb1")
    media.init(context, "drives", first, "MON")
    with pytest.raises(TargetError, match="one of that label already"):
        media.init(context, "drives", second, "MON")
    assert not (second / MARKER).exists()


def test_a_lost_medium_is_replaced_and_refused_from_then_on(context: PlanContext, plugged: Any) -> None:
    old = plugged("usb0")
    media.init(context, "drives", old, "MON")
    mounts.run("mount", "--move", old, moved(context, "drawer"))
    media.init(context, "drives", plugged("usb1"), "MON", replace=True)
    put(on(context, MONDAY), SEALED, b"x")
    mounts.run("umount", context.path.parent / "media" / "usb1")
    mounts.run("mount", "--move", moved(context, "drawer"), old)
    with pytest.raises(TargetMissing, match="not the one known here"):
        put(on(context, MONDAY), SEALED, b"x")


def moved(context: PlanContext, name: str) -> Path:
    path = context.path.parent / name
    path.mkdir(exist_ok=True)
    return path


def test_init_refuses_the_disk_of_the_state_folder(tmp_path: Path, plugged: Any) -> None:
    root = tmp_path / "media"
    root.mkdir()
    path = plugged("data")
    context = context_at(path)
    with pytest.raises(TargetError, match="of this computer lies on the same disk"):
        media.init(context, "drives", path, "MON")
    assert not (path / MARKER).exists()


# In turn


def test_label_due(context: PlanContext) -> None:
    drives, nas = context.entry("drives"), context.entry("nas")
    week = [media.label_due(drives, MONDAY + DAY * n) for n in range(7)]
    assert week == ["MON", "TUE", "WED", "THU", "F2", None, None]
    assert media.label_due(drives, date(2026, 11, 26)) is None
    assert media.label_due(nas, MONDAY) == ""


def test_each_night_goes_to_its_own_medium(context: PlanContext, plugged: Any) -> None:
    """Story 11: each medium is a shelf of its own; what lies on Monday's is not seen on Tuesday."""
    for place, label in (("usb0", "MON"), ("usb1", "TUE")):
        media.init(context, "drives", plugged(place), label)
    monday, tuesday = on(context, MONDAY), on(context, MONDAY + DAY)
    put(monday, SEALED, b"Monday's")
    media.note_use(context, monday, MONDAY, held=1)
    assert tuesday.list() == []
    put(tuesday, "other", b"x")
    media.note_use(context, tuesday, MONDAY + DAY, held=1)
    assert [item.name for item in monday.list()] == [SEALED]
    assert media.remembered(context).log("drives") == [(MONDAY, "MON"), (MONDAY + DAY, "TUE")]


def test_the_wrong_medium_costs_that_target_only(context: PlanContext, plugged: Any) -> None:
    path = plugged("usb0")
    media.init(context, "drives", path, "MON")
    put(on(context, MONDAY), SEALED, b"x")
    media.note_use(context, on(context, MONDAY), MONDAY, held=1)
    with pytest.raises(TargetMissing, match="MON, with the newest backup on it, is still plugged in"):
        put(on(context, MONDAY + DAY), SEALED, b"y")
    assert get(target_of(context), SEALED) == b"x"
    nas = make_target("nas", context.entry("nas"))
    media.take_turn(context, nas, MONDAY)
    media.note_use(context, nas, MONDAY, held=1)
    assert len(media.remembered(context).uses) == 1


def test_a_calendar_changed_overnight_does_not_use_one_medium_twice(
    context: PlanContext, plugged: Any, tmp_path: Path
) -> None:
    media.init(context, "drives", plugged("usb0"), "MON")
    media.note_use(context, on(context, MONDAY), MONDAY, held=1)
    swapped = {**CALENDAR, "mon": "TUE", "tue": "MON"}
    changed = context_at(tmp_path, calendar=swapped)
    with pytest.raises(TargetMissing, match="two days running"):
        put(on(changed, MONDAY + DAY), SEALED, b"x")
    # A second run on the same day, or a week later, is no such thing.
    put(on(context, MONDAY), SEALED, b"x")
    put(on(context, MONDAY + 7 * DAY), SEALED, b"x")


def test_no_medium_on_that_day(context: PlanContext) -> None:
    with pytest.raises(TargetMissing, match="no medium for Sat 14 Nov 2026") as caught:
        media.take_turn(context, target_of(context), MONDAY + 5 * DAY)
    assert "Mon 16 Nov 2026" in caught.value.hint


def test_a_new_machine_learns_its_media_as_they_come(context: PlanContext, plugged: Any) -> None:
    media.init(context, "drives", plugged("usb0"), "MON")
    before = media.remembered(context).of("drives")
    forget(context)
    target = on(context, MONDAY)
    put(target, SEALED, b"x")
    media.note_use(context, target, MONDAY, held=4)
    after = media.remembered(context).of("drives")
    assert after == {"MON": before["MON"].model_copy(update={"held": 4})}


# Remembered


def test_listing_and_advice(context: PlanContext, plugged: Any) -> None:
    path = plugged("usb0")
    media.init(context, "drives", path, "MON")
    target = on(context, MONDAY)
    media.note_use(context, target, MONDAY, held=3)
    lines = media.listing(context, MONDAY + DAY)
    assert [line.label for line in lines] == ["MON", "TUE", "WED", "THU", "F1", "F2"]
    monday, tuesday, *_, second = lines
    assert monday.model_dump() == {
        "target": "drives",
        "label": "MON",
        "known": True,
        "at": str(path),
        "used": MONDAY,
        "held": 3,
        "away": True,
        "due": MONDAY + 7 * DAY,
    }
    assert (tuesday.known, tuesday.at, tuesday.used, tuesday.away) == (False, "", None, False)
    assert (tuesday.due, second.due) == (MONDAY + DAY, MONDAY + 4 * DAY)
    [(name, advice)] = media.which(context, MONDAY + DAY)
    assert (name, advice.text) == ("drives", "tonight: TUE; take MON home")
    assert media.listing(context)
    assert media.which(context)


def test_two_runs_on_one_day_are_one_use(context: PlanContext, plugged: Any) -> None:
    media.init(context, "drives", plugged("usb0"), "MON")
    for held in (1, 2):
        media.note_use(context, on(context, MONDAY), MONDAY, held=held)
    remembered = media.remembered(context)
    assert (len(remembered.uses), remembered.of("drives")["MON"].held) == (1, 2)


def test_many_at_once_forget_nothing(context: PlanContext, plugged: Any) -> None:
    media.init(context, "drives", plugged("usb0"), "MON")
    target = on(context, MONDAY)
    with ThreadPoolExecutor(8) as pool:
        days = [MONDAY + 7 * DAY * n for n in range(24)]
        for done in [pool.submit(media.note_use, context, target, day, 1) for day in days]:
            done.result()
    assert sorted(media.remembered(context).log("drives")) == [(day, "MON") for day in days]


def test_the_log_does_not_grow_for_ever(
    context: PlanContext, plugged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert USES_KEPT >= 2 * 365
    monkeypatch.setattr(media, "USES_KEPT", 3)
    media.init(context, "drives", plugged("usb0"), "MON")
    for number in range(5):
        media.note_use(context, target_of(context), MONDAY + DAY * number, 1)
    assert [use.day for use in media.remembered(context).uses] == [MONDAY + DAY * n for n in (2, 3, 4)]


# In the plan


def test_a_drive_in_a_plan() -> None:
    data = good()
    data["targets"] = [{"name": "drives", "kind": "drive", "calendar": CALENDAR}]
    del data["drill"]["target"]
    entry = check(data, REGISTERED).targets[0]
    assert isinstance(entry, DriveOptions)
    assert (entry.replace, entry.mounts) == ("keep", ())
    assert "/media/*" in entry.places


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "targets[0].calendar: is missing"),
        ({"calendar": {"sets": ["A", "B"]}}, "targets[0].calendar: has fewer than 3 media"),
        ({"calendar": {**CALENDAR, "mon": "a b"}}, "targets[0].calendar.mon[0]: must be 1 to 31"),
        ({"calendar": {**CALENDAR, "holiday": []}}, "unknown option `holiday` in targets[0].calendar; did"),
        ({"calendar": {**CALENDAR, "holidays": ["x"]}}, "targets[0].calendar.holidays[0]: must be a date"),
        ({"calendar": {**CALENDAR, "days": ["mon"]}}, "targets[0].calendar.days: goes with"),
        ({"calendar": CALENDAR, "mounts": ["usb"]}, "targets[0].mounts[0]: must be a whole path"),
        ({"calendar": CALENDAR, "replace": "last"}, "targets[0].replace: must be 'keep' or 'first'"),
    ],
)
def test_a_drive_that_a_plan_cannot_have(options: dict[str, Any], said: str) -> None:
    data = good()
    data["targets"] = [{"name": "drives", "kind": "drive", **options}]
    del data["drill"]["target"]
    with pytest.raises(PlanError) as caught:
        check(data, REGISTERED)
    assert said in caught.value.message
    assert caught.value.message.count("\n") == 0


def test_windows_paths_are_whole_paths() -> None:
    options = DriveOptions.model_validate({"calendar": CALENDAR, "mounts": ["E:\\", "/Volumes/*"]})
    assert options.places == ("E:\\", "/Volumes/*")
    for name, field in DriveOptions.model_fields.items():
        assert field.description, name
