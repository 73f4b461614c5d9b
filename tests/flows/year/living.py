"""An office that lives night by night beside its almanac: what both test modules of the year are made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from tasks.age.keys import Identity
from tasks.backup.media import remembered, which
from tasks.context import PlanContext
from tasks.keys.identities import read_identities
from tasks.platform.files import private_folder
from tasks.recovery.find import choose, origin_of
from tasks.recovery.recover import open_backup, recover
from tasks.targets.base import Target
from tasks.targets.shared.media import FOLDER
from tests.flows.year import events
from tests.flows.year.almanac import MEDIA, Almanac, Made, medium_of
from tests.flows.year.nights import Night, back_up
from tests.flows.year.world import Clock, World, files, made
from tests.mounts import run, tmpfs
from tests.servers.radosgw import radosgw


@dataclass
class Year:
    """The office and its almanac, side by side."""

    world: World
    almanac: Almanac
    clock: Clock
    nights: dict[date, Night] = field(default_factory=dict)
    patients: dict[int, int] = field(default_factory=dict)

    def live(self, day: date, *, whole: bool = False) -> None:
        """One day and its night; ``whole`` runs the flow itself, as a person would by the command."""
        self.clock.turn_to(day)
        context = self.world.site.context
        [(_, advice)] = which(context, day)
        assert advice.model_dump() == self.almanac.advice(day)._asdict(), day
        plugged = events.PLUGGED.get(day, medium_of(day))
        with self.circumstances(day), self.world.plugged(plugged) as place:
            self.look_at(place, plugged, day)
            self.set_right(place, day)
            outcomes = self.almanac.night(day)
            patients = self.world.work()
            if outcomes:
                self.patients[self.almanac.number] = patients
            if outcomes and whole:
                assert self.world.site.run("backup") == 0, day
            elif outcomes:
                self.nights[day] = back_up(context)
                assert self.nights[day].outcomes == outcomes, (day, self.nights[day].problems)
            self.look_at(place, plugged, day)
        self.clock.turn_to(day)
        self.compare(day)

    @contextmanager
    def circumstances(self, day: date) -> Iterator[None]:
        """What is wrong with the world in that night."""
        with ExitStack() as stack:
            if day in events.NAS_AWAY:
                stack.enter_context(self.world.without_nas())
            if day in events.S3_DOWN:
                stack.enter_context(self.world.s3.down())
            if day == events.CLOCK_AHEAD:
                self.clock.turn_to(day, events.AHEAD)
            yield

    def set_right(self, place: Path, day: date) -> None:
        """Somebody removes the backup that bears a date to come, where that is their business today."""
        if day == events.SET_RIGHT["nas"]:
            assert self.world.site.run("prune", "--accept-change") == 0
            self.almanac.doubted = False
            wrong = [one for shelf in self.almanac.nas.values() for one in self.almanac.discard(shelf, day)]
            remove(self.world.site.root / "nas", wrong)
        if day == events.SET_RIGHT["WED"]:
            remove(place / FOLDER, self.almanac.discard(self.almanac.drives["WED"], day))

    def look_at(self, place: Path, plugged: str | None, day: date) -> None:
        """What is on the drive that is plugged in."""
        if not plugged:
            assert not place.exists() or list(place.iterdir()) == [], day
        elif plugged == "stranger":
            assert [path for path in place.rglob("*") if path.is_file()] == [], day
        else:
            assert made(files(place / FOLDER)).get("", []) == self.almanac.drives[plugged], (day, plugged)

    def compare(self, day: date) -> None:
        """What is on all other targets, and what is remembered of the drives."""
        expected = {folder: shelf for folder, shelf in self.almanac.nas.items() if shelf}
        assert self.world.on_nas() == expected, day
        assert self.world.in_bucket("cloud") == self.almanac.cloud, day
        assert self.world.in_bucket("vault") == self.almanac.vault, day
        assert self.log() == sorted(self.almanac.log), day

    def rows(self, backup: Made) -> tuple[int, int]:
        """Patients and visits that were in the database when it was taken."""
        patients = self.patients[backup.number]
        return patients, 3 * patients

    def log(self) -> list[tuple[date, str]]:
        return sorted(remembered(self.world.site.context).log("drives"))


def remove(folder: Path, wrong: list[Made]) -> None:
    """By hand, as a person would."""
    assert len(wrong) == 1, "the clock's fault fired"
    paths = [path for one in wrong for path in folder.rglob(f"*-{one.number:06d}.*")]
    assert len(paths) == 3, "archive, manifest, its signature"
    for path in paths:
        path.unlink()


@contextmanager
def lived(folder: Path, nights: Sequence[date]) -> Iterator[Year]:
    """An office after those nights, each compared with the almanac as it passed."""
    for name in ("radosgw", "office"):
        (folder / name).mkdir()
    with (
        pytest.MonkeyPatch.context() as environment,
        radosgw(folder / "radosgw", own_clock=True) as s3,
        Clock(s3, nights[0]) as clock,
        tmpfs(folder / "office", 400) as office,
    ):
        # Other tests' servers have copies of all mounts: pulling a drive out must pull it out there as well.
        run("mount", "--make-shared", office)
        clock.turn_to(nights[0])
        world = World.make(office, s3, environment, events.CLOSED)
        year = Year(world, Almanac(), clock)
        for day in nights:
            year.live(day)
        yield year


def restore_the_newest(year: Year, folder: Path) -> None:
    """The newest backup of every target and every drive, opened with a holder's key, holds what it must."""
    world, context = year.world, year.world.site.context
    identities = read_identities([world.site.keys[1]])
    newest = {"nas": max(max(shelf) for shelf in year.almanac.nas.values() if shelf)}
    newest |= {"cloud": year.almanac.cloud[-1], "vault": year.almanac.vault[-1]}
    for name, expected in newest.items():
        with context.target(name) as target:
            assert bring_back(target, context, identities, folder / name) == year.rows(expected)
    for label in MEDIA:
        with world.plugged(label), context.target("drives") as target:
            place = world.site.root / "media" / "usb"
            assert made(files(place / FOLDER))[""] == year.almanac.drives[label]
            found = bring_back(target, context, identities, folder / label)
            wanted = year.almanac.drives[label][-1]
            assert found == year.rows(wanted), (label, found, wanted, year.rows(wanted))


def nothing_good_goes_while_the_clock_is_wrong(year: Year) -> None:
    """From the night with the wrong clock until somebody looked into it nothing was removed anywhere."""
    ahead, right = events.CLOCK_AHEAD, events.SET_RIGHT
    assert year.nights[ahead].run.started.year == 2027, "the fault fired"
    since = {day: night for day, night in year.nights.items() if ahead <= day < right["nas"]}
    assert len(since) == 5, "that night, and all until somebody looked into it"
    for night in since.values():
        assert not any(night.removed.values())
        assert "clock" in night.notes["nas"]
    back = year.nights[right["nas"]]
    assert "nas" not in back.notes
    assert back.removed["nas"], "what had waited, goes"


def bring_back(
    target: Target, context: PlanContext, identities: list[Identity], room: Path
) -> tuple[int, int]:
    """Patients and visits in the newest backup of a target, opened with a holder's key and proven."""
    choice = choose(origin_of(context, target, ""), "latest")
    recovered = recover(open_backup(choice, identities), private_folder(room))
    assert recovered.passed, recovered.findings
    with closing(sqlite3.connect(recovered.folder / "clinic.db")) as database:
        [counts] = database.execute(
            "SELECT (SELECT count(*) FROM patients), (SELECT count(*) FROM visits)"
        ).fetchall()
    return int(counts[0]), int(counts[1])
