"""What the rules of posture.py look at, and what each says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tasks.records import Record

SETS = 3
PEOPLE = 2
MONTHS = 3


class Place(Record):
    """A target: how many media it has, who keeps it, what it can promise. Days count back from today."""

    name: str
    media: int = 1
    every_run: bool = True
    off_premises: bool = False
    vendor: bool = False
    agreement: bool | None = None
    locked: bool = False
    months: int = 0
    proved_days: float | None = None
    within_days: int = 90
    in_time: bool | None = None


class Facts(Record):
    """All that the rules look at. What is None is not known, or doesn't apply to this office."""

    places: tuple[Place, ...]
    holders: dict[str, float | None]
    key_days: int = 90
    told: int = 0
    backup_scheduled: bool = False
    drill_scheduled: bool = False
    audit_scheduled: bool = False
    backup_hours: float | None = None
    fresh_hours: float = 26.0
    drill_days: float | None = None
    objective: bool = False
    timezone: str = "UTC"
    own_checks: int = 0
    marked: str = ""
    restart: bool | None = None
    runbook: bool | None = None


class Judged(NamedTuple):
    """A rule's word on the facts: met or not (None: it doesn't apply), and what was found."""

    met: bool | None
    found: str


def always(words: str) -> Callable[[Facts], Judged]:
    """What this program does in every run and offers no way to switch off."""
    return lambda _: Judged(True, words)


def fresh(facts: Facts) -> Judged:
    if facts.backup_hours is None:
        return Judged(False, "no good backup on record here")
    allowed = f"allowed are {number(facts.fresh_hours)}"
    found = f"the last good backup is {number(facts.backup_hours)} hours old, {allowed}"
    return Judged(facts.backup_hours <= facts.fresh_hours, found)


def marked(facts: Facts) -> Judged:
    return Judged(not facts.marked, facts.marked or "the newest backup looks like those before it")


def sets(facts: Facts) -> Judged:
    media = sum(place.media for place in facts.places)
    return Judged(media >= SETS, f"{media} media: " + ", ".join(f"{p.name} {p.media}" for p in facts.places))


def other_medium(facts: Facts) -> Judged:
    turns = [place.name for place in facts.places if place.media >= SETS]
    nightly = [place.name for place in facts.places if place.every_run]
    if turns:
        return Judged(True, f"the media of {', '.join(turns)} take turns")
    return Judged(len(nightly) > 1, f"every run goes to {', '.join(nightly) or 'no target'}")


def off_premises(facts: Facts) -> Judged:
    return some(facts, lambda place: place.off_premises, "off premises")


def locked(facts: Facts) -> Judged:
    return some(facts, lambda place: place.locked, "locked")


def archive(facts: Facts) -> Judged:
    return some(facts, lambda place: place.months >= MONTHS, f"going back {MONTHS} months or more")


def some(facts: Facts, fits: Callable[[Place], bool], word: str) -> Judged:
    names = [place.name for place in facts.places if fits(place)]
    return Judged(bool(names), f"{word}: {', '.join(names) or 'none'}")


def told(facts: Facts) -> Judged:
    return Judged(facts.told >= PEOPLE, f"{facts.told} told of how runs went")


def holders(facts: Facts) -> Judged:
    return Judged(len(facts.holders) >= PEOPLE, ", ".join(facts.holders))


def drilled(facts: Facts) -> Judged:
    if facts.drill_days is None:
        return Judged(False, "no drill that passed on record here")
    found = f"the last one that passed was {number(facts.drill_days)} days ago"
    return Judged(facts.drill_days <= facts.key_days, found)


def places_proved(facts: Facts) -> Judged:
    late = [p.name for p in facts.places if p.proved_days is None or p.proved_days > p.within_days]
    return Judged(not late, f"not proved in time: {', '.join(late)}" if late else "all were proved in time")


def keys_proved(facts: Facts) -> Judged:
    late = [name for name, days in facts.holders.items() if days is None or days > facts.key_days]
    return Judged(not late, f"not proved in time: {', '.join(late)}" if late else "all were proved in time")


def objective(facts: Facts) -> Judged:
    if not facts.objective:
        return Judged(None, "the plan sets no objective")
    slow = [place.name for place in facts.places if place.in_time is False]
    known = [place.name for place in facts.places if place.in_time]
    if slow or not known:
        return Judged(False, f"too slow: {', '.join(slow)}" if slow else "not measured yet")
    return Judged(True, f"within it: {', '.join(known)}")


def agreements(facts: Facts) -> Judged:
    vendors = [place for place in facts.places if place.vendor]
    if not vendors:
        return Judged(None, "no vendor receives data")
    bad = [p.name for p in vendors if not p.agreement]
    words = f"none in date: {', '.join(bad)}" if bad else ", ".join(p.name for p in vendors)
    return Judged(not bad, words)


def schedule(wanted: Callable[[Facts], bool]) -> Callable[[Facts], Judged]:
    return lambda facts: Judged(wanted(facts), "scheduled" if wanted(facts) else "only when asked to")


def timezone(facts: Facts) -> Judged:
    return Judged(facts.timezone != "UTC", f"schedule.timezone: {facts.timezone}")


def own_checks(facts: Facts) -> Judged:
    return Judged(facts.own_checks > 0, f"{facts.own_checks} checks of your own")


def restart(facts: Facts) -> Judged:
    words = {None: "this engine needs none", True: "restarted within two days", False: "not restarted"}
    return Judged(facts.restart, words[facts.restart])


def runbook(facts: Facts) -> Judged:
    words = {None: "none is made here", True: "as the plan says today", False: "older than the plan"}
    return Judged(facts.runbook, words[facts.runbook])


def number(value: float) -> str:
    return f"{value:.0f}"
