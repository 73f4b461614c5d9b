"""The policy of the domain text over 400 nights: what lies where is what the almanac says, every night."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.flows.year import events
from tests.flows.year.almanac import MEDIA, medium_of
from tests.flows.year.living import (
    Year,
    lived,
    nothing_good_goes_while_the_clock_is_wrong,
    restore_the_newest,
)
from tests.flows.year.world import PAGES, YEARS, ZONE

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    with lived(tmp_path_factory.mktemp("year"), events.NIGHTS) as year:
        yield year


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
    nothing_good_goes_while_the_clock_is_wrong(year)
    assert "lies in the future" not in year.nights[events.SET_RIGHT["WED"]].notes.get("drives", "")


def test_the_newest_backup_of_every_target_restores(year: Year, tmp_path: Path) -> None:
    restore_the_newest(year, tmp_path)


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
    assert stamp in max(path.name for path in year.world.site.context.reports.glob("*.html"))
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
