"""What retention promises whatever the dates, gaps and clock jumps; the golden files show how it reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.options import Keep
from tasks.policy.retention import AHEAD, judge_retention, suspended
from tasks.records import BackupEntry, Verdict
from tests.unit.manifests.shelves import backup_entry

ZONES = ("UTC", "America/New_York", "America/Havana", "Pacific/Apia", "Asia/Kathmandu", "Europe/Zurich")
DEFECTS = (
    "no manifest (unfinished delivery)",
    "not signed",
    "signature does not match",
    "signed by another machine (ed25519:AAAAAAAA…)",
    "archive missing",
    "archive has 9 bytes, the manifest says 14",
    "checks had failed",
    "another copy of the backup in TUE",
)
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

slots = st.sampled_from(["", "MON", "TUE", "F1"])
counts = st.integers(0, 6)
keeps = st.builds(
    dict, last=counts, daily=counts, weekly=counts, monthly=counts, yearly=st.integers(0, 3)
).filter(lambda rules: any(rules.values())).map(Keep.model_validate)  # fmt: skip
floors = st.integers(1, 8)
zones = st.sampled_from(ZONES).map(ZoneInfo)


@st.composite
def steady(draw: st.DrawFn, start: datetime = START, size: int = 40) -> list[BackupEntry]:
    """A shelf whose dates agree with its numbers: gaps from minutes to months, any slots, any defects."""
    gaps = draw(st.lists(st.integers(1, 60 * 24 * 60), min_size=1, max_size=size))
    taken = start
    shelf = []
    for sequence, minutes in enumerate(gaps, start=1):
        taken += timedelta(minutes=minutes)
        defect = draw(st.sampled_from(DEFECTS)) if draw(st.integers(0, 5)) == 0 else ""
        shelf.append(backup_entry(sequence, taken, draw(slots), defect))
    return shelf


@st.composite
def wild(draw: st.DrawFn) -> list[BackupEntry]:
    """A shelf with any dates at all under its numbers, and numbers that may come twice."""
    moments = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
    entries = draw(st.lists(st.tuples(st.integers(1, 30), moments, slots), max_size=20))
    defects = st.sampled_from(("", "", "", AHEAD, *DEFECTS))
    return [backup_entry(sequence, taken, slot, draw(defects)) for sequence, taken, slot in entries]


shelves = steady() | wild()


def _removed(verdicts: Sequence[Verdict]) -> set[str]:
    return {f"{v.backup.slot}/{v.backup.name}" for v in verdicts if not v.kept}


def _number(backup: BackupEntry) -> int:
    assert backup.manifest is not None
    return backup.manifest.sequence


@settings(deadline=None)
@given(shelves, keeps, floors, zones)
def test_never_below_the_floor_nor_without_the_newest(
    shelf: list[BackupEntry], keep: Keep, floor: int, zone: ZoneInfo
) -> None:
    verdicts = judge_retention(shelf, keep, floor, zone)
    assert [verdict.backup for verdict in verdicts] == shelf
    assert all(verdict.reasons and all(verdict.reasons) for verdict in verdicts)
    verified = [backup for backup in shelf if backup.verified]
    kept = [verdict.backup for verdict in verdicts if verdict.kept and verdict.backup.verified]
    assert len(kept) >= min(floor, len(verified))
    if verified:
        newest = max(_number(backup) for backup in verified)
        assert newest in {_number(backup) for backup in kept}


@settings(deadline=None)
@given(shelves, keeps, floors, zones)
def test_unverified_ones_stay_and_do_not_count(
    shelf: list[BackupEntry], keep: Keep, floor: int, zone: ZoneInfo
) -> None:
    verdicts = judge_retention(shelf, keep, floor, zone)
    for verdict in verdicts:
        if not verdict.backup.verified:
            assert verdict.kept
            assert verdict.reasons == (f"kept aside: {verdict.backup.defect}",)
    assume(not suspended(shelf))
    good = [backup for backup in shelf if backup.verified]
    assert [v for v in verdicts if v.backup.verified] == list(judge_retention(good, keep, floor, zone))


@settings(deadline=None)
@given(steady(), st.data(), keeps, floors, zones)
def test_what_anyone_can_forge_changes_nothing(
    shelf: list[BackupEntry], data: st.DataObject, keep: Keep, floor: int, zone: ZoneInfo
) -> None:
    """Unsigned, forged or broken manifests of any number and any date, far in the future included."""
    moments = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
    forged = st.builds(backup_entry, st.integers(0, 10**9), moments, slots, st.sampled_from(DEFECTS))
    extra = data.draw(st.lists(forged, max_size=10))
    mixed = data.draw(st.permutations([*shelf, *extra]))
    now = START + 3000 * DAY
    before = judge_retention(shelf, keep, floor, zone, now)
    after = judge_retention(mixed, keep, floor, zone, now)
    assert _removed(after) == _removed(before)
    assert suspended(mixed, now) == suspended(shelf, now)


@settings(deadline=None)
@given(shelves, st.data(), keeps, floors, zones)
def test_a_signed_backup_from_the_future_removes_nothing(
    shelf: list[BackupEntry], data: st.DataObject, keep: Keep, floor: int, zone: ZoneInfo
) -> None:
    ahead = backup_entry(
        data.draw(st.integers(0, 50)), datetime(2200, 1, 1, tzinfo=UTC), data.draw(slots), AHEAD
    )
    verdicts = judge_retention([*shelf, ahead], keep, floor, zone)
    assert _removed(verdicts) == set()
    assert "lies in the future" in suspended([*shelf, ahead])


@settings(deadline=None)
@given(shelves, keeps, floors, zones)
def test_applied_twice_is_applied_once(
    shelf: list[BackupEntry], keep: Keep, floor: int, zone: ZoneInfo
) -> None:
    first = judge_retention(shelf, keep, floor, zone)
    left = [verdict.backup for verdict in first if verdict.kept]
    second = judge_retention(left, keep, floor, zone)
    assert _removed(second) == set()
    assert list(second) == [verdict for verdict in first if verdict.kept]


@settings(deadline=None)
@given(shelves, st.randoms(use_true_random=False), keeps, floors, zones)
def test_the_order_of_the_shelf_does_not_matter(
    shelf: list[BackupEntry], random: Random, keep: Keep, floor: int, zone: ZoneInfo
) -> None:
    shuffled = list(shelf)
    random.shuffle(shuffled)
    one = judge_retention(shelf, keep, floor, zone)
    other = judge_retention(shuffled, keep, floor, zone)
    assert sorted(one, key=repr) == sorted(other, key=repr)


@settings(deadline=None)
@given(steady(), st.data(), keeps, floors, zones)
def test_losing_a_backup_never_costs_another_one(
    shelf: list[BackupEntry], data: st.DataObject, keep: Keep, floor: int, zone: ZoneInfo
) -> None:
    """One that no longer counts (truncated, unreadable tonight) may save others, never doom them."""
    assume(not suspended(shelf))
    place = data.draw(st.integers(0, len(shelf) - 1))
    worse = list(shelf)
    worse[place] = shelf[place].model_copy(update={"defect": "archive missing"})
    assume(not suspended(worse))
    before = judge_retention(shelf, keep, floor, zone)
    assert _removed(judge_retention(worse, keep, floor, zone)) <= _removed(before)


def _wanted(backup: BackupEntry, in_slot: list[BackupEntry], keep: Keep, zone: ZoneInfo) -> bool:
    """The rules, stated otherwise: what is newer in this slot leaves room for this one."""
    newer = [other for other in in_slot if _number(other) > _number(backup)]
    if len(newer) < keep.last:
        return True
    formats = {"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}
    for rule, shape in formats.items():
        periods = {o.manifest.taken.astimezone(zone).strftime(shape) for o in newer if o.manifest}
        assert backup.manifest is not None
        own = backup.manifest.taken.astimezone(zone).strftime(shape)
        if own not in periods and len(periods) < getattr(keep, rule):
            return True
    return False


@settings(deadline=None)
@given(steady(), keeps, zones)
def test_the_rules_keep_what_they_say_and_nothing_else(
    shelf: list[BackupEntry], keep: Keep, zone: ZoneInfo
) -> None:
    assume(not suspended(shelf))
    for verdict in judge_retention(shelf, keep, 1, zone):
        if verdict.backup.verified:
            in_slot = [b for b in shelf if b.verified and b.slot == verdict.backup.slot]
            assert verdict.kept is _wanted(verdict.backup, in_slot, keep, zone)


@pytest.mark.parametrize("days", [-1, 1, -3650, 3650])
@pytest.mark.parametrize("at", [5, 12, 19])
def test_a_jump_and_its_correction_suspend_pruning(days: int, at: int) -> None:
    """Backups 1 to 20, a night apart; the clock is wrong for number ``at`` alone."""
    jump = timedelta(days=days, minutes=7 if days > 0 else -7)
    shelf = [backup_entry(n, START + n * DAY + (jump if n == at else timedelta())) for n in range(1, 21)]
    assert "clock jump: pruning suspended" in suspended(shelf)
    verdicts = judge_retention(shelf, Keep(last=1), 1, ZoneInfo("UTC"))
    assert _removed(verdicts) == set()
    assert all("clock jump: pruning suspended (backup" in verdict.reasons[0] for verdict in verdicts)


@pytest.mark.parametrize("days", [1, 3650])
def test_a_newest_backup_ahead_of_the_present_suspends_pruning(days: int) -> None:
    shelf = [backup_entry(n, START + n * DAY) for n in range(1, 10)]
    now = START + 9 * DAY
    assert suspended(shelf, now) == ""
    assert suspended(shelf, now - timedelta(hours=1)) == ""
    assert _removed(judge_retention(shelf, Keep(last=1), 1, UTC, now))
    behind = now - timedelta(days=days)
    assert "backup 9 of 2026-01-10 00:00 UTC lies in the future" in suspended(shelf, behind)
    assert not _removed(judge_retention(shelf, Keep(last=1), 1, UTC, behind))


def test_a_leap_of_the_newest_suspends_once() -> None:
    shelf = [backup_entry(n, START + n * DAY) for n in range(1, 4)]
    shelf.append(backup_entry(4, START + 3653 * DAY))
    assert "is dated 3650 days after backup 3" in suspended(shelf)
    shelf.append(backup_entry(5, START + 3654 * DAY))
    assert suspended(shelf) == ""
    yearly = [backup_entry(1, START), backup_entry(2, START + 366 * DAY)]
    assert suspended(yearly) == ""


def test_marked_ones_stay_and_take_no_others_place() -> None:
    """They may be damaged: they count neither for a rule nor for the floor, and nothing goes by itself."""
    shelf = [backup_entry(n, START + n * DAY) for n in range(1, 5)]
    shelf[2] = shelf[2].model_copy(update={"marks": ("row counts",)})
    kept = [verdict.kept for verdict in judge_retention(shelf, Keep(last=2), 1, UTC)]
    assert kept == [False, True, True, True]
    assert all(verdict.kept for verdict in judge_retention(shelf, Keep(last=1), 3, UTC))
    assert "is marked (row counts)" in suspended(shelf[:3])
    assert all(verdict.kept for verdict in judge_retention(shelf[:3], Keep(last=1), 1, UTC))


@pytest.mark.parametrize("floor", [0, -1])
def test_a_floor_below_one_is_refused(floor: int) -> None:
    with pytest.raises(ValueError, match="would let the last backup go"):
        judge_retention([], Keep(last=1), floor, UTC)


def test_shelves_of_several_sources_are_refused() -> None:
    other = backup_entry(2, START + DAY)
    assert other.manifest is not None
    renamed = other.model_copy(update={"manifest": other.manifest.model_copy(update={"source": "other"})})
    with pytest.raises(ValueError, match="one source at a time"):
        judge_retention([backup_entry(1, START), renamed], Keep(last=1), 1, UTC)


def test_an_empty_shelf() -> None:
    assert judge_retention([], Keep(last=1), 1, UTC) == ()
    assert suspended([]) == ""
