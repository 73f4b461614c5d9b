"""The policy of the domain text over 400 nights: what lies where is what the almanac says, every night."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tasks.age.keys import Identity
from tasks.backup.media import MEDIA as LOG
from tasks.backup.media import load_media, which
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
from tests.flows.year.world import PAGES, YEARS, ZONE, Clock, World, files, made
from tests.mounts import run, tmpfs
from tests.servers.radosgw import radosgw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


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
        office = self.world.site.office
        [(_, advice)] = which(office, day)
        assert advice.model_dump() == self.almanac.advice(day)._asdict(), day
        plugged = events.PLUGGED.get(day, medium_of(day))
        with self.circumstances(day), self.world.plugged(plugged) as place:
            self.look_at(place, plugged, day)
            self.set_right(place, day)
            outcomes = self.almanac.night(day)
            self.patients[self.almanac.number] = self.world.work()
            if outcomes and whole:
                assert self.world.site.run("backup") == 0, day
            elif outcomes:
                self.nights[day] = back_up(office)
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
        return sorted(load_media(self.world.site.office.state / LOG).log("drives"))


def remove(folder: Path, wrong: list[Made]) -> None:
    """By hand, as a person would."""
    assert len(wrong) == 1, "the clock's fault fired"
    paths = [path for one in wrong for path in folder.rglob(f"*-{one.number:06d}.*")]
    assert len(paths) == 2
    for path in paths:
        path.unlink()


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    """All nights, each compared with the almanac as it passes."""
    with (
        pytest.MonkeyPatch.context() as environment,
        radosgw(tmp_path_factory.mktemp("radosgw"), own_clock=True) as s3,
        Clock(s3, events.FIRST) as clock,
        tmpfs(tmp_path_factory.mktemp("year") / "office", 400) as office,
    ):
        # Other tests' servers have copies of all mounts: pulling a drive out must pull it out there as well.
        run("mount", "--make-shared", office)
        clock.turn_to(events.FIRST)
        world = World.make(office, s3, environment, events.CLOSED)
        lived = Year(world, Almanac(), clock)
        for day in events.NIGHTS:
            lived.live(day)
        yield lived


def test_no_medium_twice_running(year: Year) -> None:
    used = [label for _, label in year.log()]
    assert all(one != other for one, other in pairwise(used))
    assert Counter(used) == Counter(label for _, label in year.almanac.log)
    assert min(Counter(used).values()) > 20, "all six are in use"
    nights = [(night.outcomes["drives"], medium_of(day)) for day, night in year.nights.items()]
    assert all(label is None for outcome, label in nights if outcome == "not due")
    assert {day for day, night in year.nights.items() if night.outcomes["drives"] == "missed"} == set(
        events.PLUGGED
    )


def test_four_weekly_copies_and_every_months_archive(year: Year) -> None:
    fridays = [date(2027, 1, 15), date(2027, 1, 22), date(2027, 1, 29), date(2027, 2, 5)]
    assert [one.dated for one in year.world.in_bucket("cloud")] == fridays
    assert [f"{one.dated:%Y-%m-%d}" for one in year.world.in_bucket("vault")] == [
        *("2026-01-05", "2026-01-30", "2026-02-27", "2026-03-27", "2026-04-24", "2026-05-29"),
        *("2026-06-26", "2026-07-31", "2026-08-28", "2026-09-27", "2026-10-30", "2026-11-27"),
        *("2026-12-25", "2027-01-29"),
    ]


@pytest.mark.parametrize(
    ("day", "target", "words"),
    [
        (date(2026, 2, 10), "drives", "WED is plugged in, but it is the turn of TUE"),
        (date(2026, 3, 19), "drives", "the medium THU is not plugged in"),
        (date(2026, 4, 14), "drives", "MON, with the newest backup on it, is still plugged in"),
        (date(2026, 7, 24), "drives", "is a drive without a marker"),
        (date(2026, 12, 9), "drives", "TUE, with the newest backup on it, is still plugged in"),
        (date(2026, 3, 4), "nas", "nothing seems to be mounted there"),
        (date(2026, 5, 15), "cloud", "cannot be reached"),
        (date(2026, 9, 26), "vault", "cannot be reached"),
        (date(2026, 6, 17), "cloud", "clock is 8736 hours ahead of the service's"),
    ],
    ids=str,
)
def test_what_went_wrong_was_said(year: Year, day: date, target: str, words: str) -> None:
    assert words in year.nights[day].problems[target]


def test_what_a_target_missed_it_gets_in_the_next_run(year: Year) -> None:
    got = {day for day, night in year.nights.items() if night.outcomes["cloud"] == "delivered"}
    assert {date(2026, 5, 16), date(2026, 9, 27)} <= got, "the service was down on the Friday"
    assert date(2026, 7, 11) in got, "the machine was off on the Friday"
    assert len(got) == 58, "one a week, and the first night's"
    assert year.nights[date(2027, 1, 6)].outcomes["cloud"] == "not due", "down, and nobody noticed"


def test_with_the_clock_wrong_nothing_good_goes(year: Year) -> None:
    ahead, right = events.CLOCK_AHEAD, events.SET_RIGHT
    wrong = year.nights[ahead].run
    assert wrong.started.year == 2027, "the fault fired"
    since = {day: night for day, night in year.nights.items() if ahead <= day < right["nas"]}
    assert len(since) == 5, "that night, and all until somebody looked into it"
    for night in since.values():
        assert not any(night.removed.values())
        assert "clock" in night.notes["nas"]
    back = year.nights[right["nas"]]
    assert "nas" not in back.notes
    assert back.removed["nas"], "what had waited, goes"
    assert "lies in the future" not in year.nights[right["WED"]].notes.get("drives", "")


def test_the_newest_backup_of_every_target_restores(year: Year, tmp_path: Path) -> None:
    world, office = year.world, year.world.site.office
    identities = read_identities([world.site.keys[1]])
    newest = {"nas": max(max(shelf) for shelf in year.almanac.nas.values())}
    newest |= {"cloud": year.almanac.cloud[-1], "vault": year.almanac.vault[-1]}
    for name, expected in newest.items():
        with office.target(name) as target:
            assert bring_back(target, office, identities, tmp_path / name) == year.rows(expected)
    for label in MEDIA:
        with world.plugged(label), office.target("drives") as target:
            place = world.site.root / "media" / "usb"
            assert made(files(place / FOLDER))[""] == year.almanac.drives[label]
            found = bring_back(target, office, identities, tmp_path / label)
            assert found == year.rows(year.almanac.drives[label][-1]), label


def bring_back(
    target: Target, office: PlanContext, identities: list[Identity], room: Path
) -> tuple[int, int]:
    """Patients and visits in the newest backup of a target, opened with a holder's key and proven."""
    choice = choose(origin_of(office, target, ""), "latest")
    recovered = recover(open_backup(choice, identities), private_folder(room))
    assert recovered.passed, recovered.findings
    with closing(sqlite3.connect(recovered.folder / "clinic.db")) as database:
        [counts] = database.execute(
            "SELECT (SELECT count(*) FROM patients), (SELECT count(*) FROM visits)"
        ).fetchall()
    return int(counts[0]), int(counts[1])


def test_the_vault_is_locked_for_seven_years(year: Year) -> None:
    client, bucket = year.world.s3.client(), year.world.buckets["vault"]
    versions = client.list_object_versions(Bucket=bucket)["Versions"]
    archives = [one for one in versions if one["Key"] not in PAGES]
    assert len(archives) == 2 * len(year.almanac.vault)
    for one in versions:
        where = {"Bucket": bucket, "Key": one["Key"], "VersionId": one["VersionId"]}
        lock = client.get_object_retention(**where)["Retention"]
        stored = one["LastModified"].astimezone(ZONE)
        assert lock["Mode"] == "COMPLIANCE"
        assert lock["RetainUntilDate"].astimezone(ZONE).date() == stored.date().replace(
            year=stored.year + YEARS
        )
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(**where)
    dates = {one["LastModified"].astimezone(ZONE).date() for one in archives}
    assert dates == {made.dated for made in year.almanac.vault}


def test_staging_is_empty(year: Year) -> None:
    """What waited for a target went after its days, and readable data with each run."""
    assert [path for path in year.world.site.staging.iterdir() if path.is_dir()] == []


def test_summary(year: Year) -> None:
    """What was seen; `pytest -rP` shows it."""
    uses = Counter(label for _, label in year.log())
    outcomes = Counter(
        (target, outcome) for night in year.nights.values() for target, outcome in night.outcomes.items()
    )
    print(f"{len(events.NIGHTS)} days, {len(year.nights)} runs, {len(events.CLOSED)} days closed")
    for target in ("nas", "drives", "cloud", "vault"):
        seen = ", ".join(
            f"{count} {outcome}" for (name, outcome), count in outcomes.items() if name == target
        )
        print(f"{target:8} {seen}")
    print("drives   " + ", ".join(f"{label} used {uses[label]} times" for label in MEDIA))
    for label, shelf in year.almanac.drives.items():
        print(f"  {label:4} holds {len(shelf):2}, from {shelf[0].dated} to {shelf[-1].dated}")
    print("cloud    " + ", ".join(f"{one.dated}" for one in year.almanac.cloud))
    print("vault    " + ", ".join(f"{one.dated}" for one in year.almanac.vault))
    assert sum(outcomes.values()) == 4 * len(year.nights)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("day", [date(2027, 2, 9), date(2027, 2, 12)], ids=str)
def test_a_whole_run_does_the_same(year: Year, day: date, capsys: pytest.CaptureFixture[str]) -> None:
    """A Tuesday, and a Friday on which the cloud is due: by the flow, with all that belongs to it."""
    number = year.almanac.number
    year.live(day, whole=True)
    assert year.almanac.number == number + 1
    # In New York it was still the evening before.
    stamp = f"{day + events.DAY:%Y%m%d}T033"
    assert stamp in max(path.name for path in year.world.site.office.reports.glob("*.html"))
    assert "proven at nas" in capsys.readouterr().out


def test_a_lock_ends_when_it_should(year: Year) -> None:
    """The last one: it goes to the year 2033, and takes the first archive away."""
    client, bucket = year.world.s3.client(), year.world.buckets["vault"]
    versions = client.list_object_versions(Bucket=bucket)["Versions"]
    archives = sorted((one["LastModified"], one["Key"], one["VersionId"]) for one in versions)
    (_, first, version), (_, second, later) = [one for one in archives if one[1].endswith(".age")][:2]
    year.clock.turn_to(events.FIRST.replace(year=events.FIRST.year + YEARS) + events.DAY)
    client.delete_object(Bucket=bucket, Key=first, VersionId=version)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key=second, VersionId=later)
