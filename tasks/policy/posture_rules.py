"""The advice on backing up an office's data, as rules: facts in, a score and the open rules out.

Each rule says what it demands, why, and how to meet it, in words for the person who runs the practice. A rule
that *must* hold keeps data recoverable or an office within the law; the others make a good plan better.
Pure functions: whoever calls them gathers the facts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tasks.records import Record
from tasks.reports import Posture, PostureResult

SETS = 3
PEOPLE = 2
MONTHS = 3


class TargetFacts(Record):
    """A target: how many media it has, who keeps it, what it can promise. Days count back from today."""

    name: str
    media: int = 1
    every_run: bool = True
    off_premises: bool = False
    same_disk: bool = False
    vendor: bool = False
    agreement: bool | None = None
    locked: bool = False
    months: int = 0
    proved_days: float | None = None
    within_days: int = 90
    in_time: bool | None = None


class PostureFacts(Record):
    """All that the rules look at. What is None is not known, or doesn't apply to this office."""

    targets: tuple[TargetFacts, ...]
    holders: dict[str, float | None]
    key_days: int = 90
    told: int = 0
    backup_scheduled: bool = False
    drill_scheduled: bool = False
    audit_scheduled: bool = False
    backup_hours: float | None = None
    fresh_hours: float = 26.0
    drill_days: float | None = None
    keys_here: tuple[str, ...] = ()
    objective: bool = False
    timezone: str = "UTC"
    own_checks: int = 0
    sandbox: bool | None = None
    marked: str = ""
    unchecked: str = ""
    restart: bool | None = None
    runbook: bool | None = None


class Judged(NamedTuple):
    """What a rule finds in the facts: met or not (None: it doesn't apply), and the detail in words."""

    met: bool | None
    found: str


class Rule(NamedTuple):
    """One rule. ``must``: without it the exit status is 1."""

    id: str
    must: bool
    demands: str
    reason: str
    how: str
    judge: Callable[[PostureFacts], Judged]


def judge_posture(facts: PostureFacts) -> Posture:
    """The facts judged by every rule."""
    return Posture(results=tuple(_result(rule, facts) for rule in RULES))


def _result(rule: Rule, facts: PostureFacts) -> PostureResult:
    judged = rule.judge(facts)
    states = {True: "met", False: "open", None: "not applicable"}
    return PostureResult.model_validate(
        {
            "id": rule.id,
            "must": rule.must,
            "demands": rule.demands,
            "reason": rule.reason,
            "how": rule.how,
            "state": states[judged.met],
            "found": judged.found,
        }
    )


def _always(words: str) -> Callable[[PostureFacts], Judged]:
    """What this program does in every run and offers no way to switch off."""
    return lambda _: Judged(True, words)


def _verified(facts: PostureFacts) -> Judged:
    but = f"; not checked in the newest: {facts.unchecked}" if facts.unchecked else ""
    return Judged(True, f"rehearsed before delivery, read back after it{but}")


def _fresh(facts: PostureFacts) -> Judged:
    if facts.backup_hours is None:
        return Judged(False, "no good backup on record here")
    allowed = f"allowed are {_number(facts.fresh_hours)}"
    found = f"the last good backup is {_number(facts.backup_hours)} hours old, {allowed}"
    return Judged(facts.backup_hours <= facts.fresh_hours, found)


def _marked(facts: PostureFacts) -> Judged:
    return Judged(not facts.marked, facts.marked or "the newest backup looks like those before it")


def _sets(facts: PostureFacts) -> Judged:
    media = sum(target.media for target in facts.targets)
    return Judged(media >= SETS, f"{media} media: " + ", ".join(f"{p.name} {p.media}" for p in facts.targets))


def _other_medium(facts: PostureFacts) -> Judged:
    turns = [target.name for target in facts.targets if target.media >= SETS]
    nightly = [target.name for target in facts.targets if target.every_run]
    if turns:
        return Judged(True, f"the media of {', '.join(turns)} take turns")
    return Judged(len(nightly) > 1, f"every run goes to {', '.join(nightly) or 'no target'}")


def _other_disk(facts: PostureFacts) -> Judged:
    same = [target.name for target in facts.targets if target.same_disk]
    words = f"on the data's disk: {', '.join(same) or 'none'}"
    return Judged(len(same) < len(facts.targets), words)


def _off_premises(facts: PostureFacts) -> Judged:
    return _some(facts, lambda target: target.off_premises, "off premises")


def _locked(facts: PostureFacts) -> Judged:
    return _some(facts, lambda target: target.locked, "locked")


def _archive(facts: PostureFacts) -> Judged:
    return _some(facts, lambda target: target.months >= MONTHS, f"going back {MONTHS} months or more")


def _some(facts: PostureFacts, fits: Callable[[TargetFacts], bool], word: str) -> Judged:
    names = [target.name for target in facts.targets if fits(target)]
    return Judged(bool(names), f"{word}: {', '.join(names) or 'none'}")


def _told(facts: PostureFacts) -> Judged:
    return Judged(facts.told >= PEOPLE, f"{facts.told} told of how runs went")


def _holders(facts: PostureFacts) -> Judged:
    return Judged(len(facts.holders) >= PEOPLE, ", ".join(facts.holders))


def _keys_here(facts: PostureFacts) -> Judged:
    if facts.backup_hours is None and not facts.backup_scheduled:
        return Judged(None, "no backups are made on this machine")
    found = f"the plan names a key for drills here: {', '.join(facts.keys_here)}"
    return Judged(not facts.keys_here, found if facts.keys_here else "the plan names none for drills")


def _closed_in(facts: PostureFacts) -> Judged:
    if facts.sandbox is None:
        return Judged(None, "no source here whose programs open copies in a sandbox")
    return Judged(facts.sandbox, "they run in a sandbox" if facts.sandbox else "this machine has no sandbox")


def _drilled(facts: PostureFacts) -> Judged:
    if facts.drill_days is None:
        return Judged(False, "no drill that passed on record here")
    found = f"the last one that passed was {_number(facts.drill_days)} days ago"
    return Judged(facts.drill_days <= facts.key_days, found)


def _targets_proved(facts: PostureFacts) -> Judged:
    late = [p.name for p in facts.targets if p.proved_days is None or p.proved_days > p.within_days]
    return Judged(not late, f"not proved in time: {', '.join(late)}" if late else "all were proved in time")


def _keys_proved(facts: PostureFacts) -> Judged:
    late = [name for name, days in facts.holders.items() if days is None or days > facts.key_days]
    return Judged(not late, f"not proved in time: {', '.join(late)}" if late else "all were proved in time")


def _objective(facts: PostureFacts) -> Judged:
    if not facts.objective:
        return Judged(None, "the plan sets no objective")
    slow = [target.name for target in facts.targets if target.in_time is False]
    known = [target.name for target in facts.targets if target.in_time]
    if slow or not known:
        return Judged(False, f"too slow: {', '.join(slow)}" if slow else "not measured yet")
    return Judged(True, f"within it: {', '.join(known)}")


def _agreements(facts: PostureFacts) -> Judged:
    vendors = [target for target in facts.targets if target.vendor]
    if not vendors:
        return Judged(None, "no vendor receives data")
    bad = [p.name for p in vendors if not p.agreement]
    words = f"none in date: {', '.join(bad)}" if bad else ", ".join(p.name for p in vendors)
    return Judged(not bad, words)


def _schedule(wanted: Callable[[PostureFacts], bool]) -> Callable[[PostureFacts], Judged]:
    return lambda facts: Judged(wanted(facts), "scheduled" if wanted(facts) else "only when started by hand")


def _timezone(facts: PostureFacts) -> Judged:
    return Judged(facts.timezone != "UTC", f"schedule.timezone: {facts.timezone}")


def _own_checks(facts: PostureFacts) -> Judged:
    return Judged(facts.own_checks > 0, f"{facts.own_checks} checks of your own")


def _restart(facts: PostureFacts) -> Judged:
    words = {None: "this engine needs none", True: "restarted within two days", False: "not restarted"}
    return Judged(facts.restart, words[facts.restart])


def _runbook(facts: PostureFacts) -> Judged:
    words = {None: "none is made here", True: "as the plan says today", False: "older than the plan"}
    return Judged(facts.runbook, words[facts.runbook])


def _number(value: float) -> str:
    return f"{value:.0f}"


RULES: tuple[Rule, ...] = (
    Rule(
        "encryption",
        True,
        "Backups are encrypted before they leave the machine.",
        "A lost drive that can be read is a breach of every patient's privacy, with all that follows.",
        "Nothing to do: Datasave writes no other backups.",
        _always("to every holder, with age"),
    ),
    Rule(
        "verify",
        True,
        "Every backup is verified: opened, counted, compared, and read back from where it was put.",
        "Otherwise a backup that cannot be read is discovered on the day it is needed.",
        "Nothing to do: a backup that was not verified is not reported good.",
        _verified,
    ),
    Rule(
        "full",
        False,
        "Each backup is a full one.",
        "Restoring a full backup needs that one backup; a chain of increments is as good as its worst link.",
        "Nothing to do: every archive is whole by itself.",
        _always("each archive stands alone"),
    ),
    Rule(
        "fresh",
        True,
        "The last good backup is no older than the plan allows.",
        "What was entered since the last good backup would have to be entered again, from memory.",
        "Look at the newest report, fix what it names, then run `datasave backup`.",
        _fresh,
    ),
    Rule(
        "unmarked",
        True,
        "The newest backup looks like those before it.",
        "Damage and ransomware show in the data first; every day that they go unnoticed makes them worse.",
        "Look at the database. If the change was meant: `datasave prune --accept-change`. If not, restore.",
        _marked,
    ),
    Rule(
        "scheduled",
        True,
        "Backups run on a schedule.",
        "A backup that somebody has to remember is forgotten sooner or later.",
        'Set schedule: {backup: "0 2 * * *"} in the plan and let `datasave serve` run.',
        _schedule(lambda facts: facts.backup_scheduled),
    ),
    Rule(
        "sets",
        True,
        "There are at least three sets of media.",
        "With fewer, one bad medium and one bad night together leave nothing to go back to.",
        "Add targets, or a drive target with a calendar: {mon: MON, tue: TUE, …, fri: [F1, F2]}.",
        _sets,
    ),
    Rule(
        "other-medium",
        False,
        "The same medium is never used alone two days running.",
        "A medium that fails takes yesterday's backup with it when today's is written over it.",
        "Let drives take turns by a calendar, or send every run to two targets.",
        _other_medium,
    ),
    Rule(
        "other-disk",
        True,
        "At least one target lies on another disk than the data.",
        "A disk that fails takes the data, and the backups beside it.",
        "Add a target on another disk, another machine or at a vendor.",
        _other_disk,
    ),
    Rule(
        "off-premises",
        True,
        "At least one copy is off premises.",
        "A fire, a flood or a burglar takes everything that is in the office.",
        "Take drives home in turn, or add a target elsewhere (off_premises: true).",
        _off_premises,
    ),
    Rule(
        "locked",
        False,
        "There is an archive that nobody can overwrite.",
        "Whoever takes over the machine, ransomware too, can delete all that the machine can delete.",
        "Add a target with a lock, such as S3 with lock: {mode: compliance, years: 7}.",
        _locked,
    ),
    Rule(
        "archive",
        False,
        "Some target goes back three months or more.",
        "Slow damage is often noticed months later, at the end of a quarter.",
        "Give a target keep: {monthly: 12}, or keep: forever.",
        _archive,
    ),
    Rule(
        "told",
        True,
        "At least two people are told how each run went.",
        "One person is ill, on leave or gone on the day that it matters.",
        "Name two or more under notices: {mail: {to: […]}}.",
        _told,
    ),
    Rule(
        "holders",
        True,
        "At least two people or safes hold a key.",
        "Without any key the backups are lost, even years after the only person who held one has left.",
        "Make a second key (`datasave keys new`) for a partner or a bank safe, and name it under holders.",
        _holders,
    ),
    Rule(
        "drill",
        True,
        "A drill passed recently.",
        "Only a restore shows that a restore works.",
        "Run `datasave drill`, and set schedule.drill.",
        _drilled,
    ),
    Rule(
        "drill-scheduled",
        False,
        "Drills run on a schedule.",
        "What has no fixed day is put off.",
        'Set schedule: {drill: "0 6 * * sun"} and drill: {identities: …}; best on a second machine.',
        _schedule(lambda facts: facts.drill_scheduled),
    ),
    Rule(
        "keys-elsewhere",
        False,
        "No holder's key lies on the machine that makes the backups.",
        "Who takes that machine opens every backup there is with it, those of years ago too.",
        "Drill by hand with a key out of its safe (`datasave drill --identity FILE`), or on another machine, "
        "whose plan has the same targets and this one's key under signers. Then name none here.",
        _keys_here,
    ),
    Rule(
        "closed-in",
        False,
        "Programs that open copies of PostgreSQL and MariaDB see the copy alone.",
        "A database can hold code: an intruder's would run as the account that makes the backups.",
        "Run `datasave doctor`: it says what is missing. Then set sandbox: required in the plan.",
        _closed_in,
    ),
    Rule(
        "targets-proved",
        False,
        "Each target was proved in a drill within the set time.",
        "The target that was never tested may be the only one left after a fire.",
        "`datasave drills` shows which; plug in the drive that is due and run `datasave drill`.",
        _targets_proved,
    ),
    Rule(
        "keys-proved",
        True,
        "Each holder's key opened a backup within the set time.",
        "A key that cannot be found, or was typed wrongly, opens nothing when it is needed.",
        "Run `datasave keys prove` or a drill with each holder's key, or name them all in drill.identities.",
        _keys_proved,
    ),
    Rule(
        "objective",
        False,
        "Drills bring the data back within the time the plan sets.",
        "A practice can be closed for a day; few can be for a week.",
        "Keep a copy on a faster target, or set drill.objective_hours to what the office can live with.",
        _objective,
    ),
    Rule(
        "agreements",
        True,
        "Each vendor that receives data has signed an agreement (BAA) that is in date.",
        "HIPAA demands it of whoever keeps patients' data for you, encrypted or not.",
        "Sign or renew it, and note it at the target: baa: {vendor: AWS, signed: 2026-01-10}.",
        _agreements,
    ),
    Rule(
        "audit",
        False,
        "Audits run on a schedule.",
        "A drive in a drawer and a bucket far away can lose backups without anyone noticing.",
        'Set schedule: {audit: "0 8 * * *"} in the plan.',
        _schedule(lambda facts: facts.audit_scheduled),
    ),
    Rule(
        "own-checks",
        False,
        "Restored copies are asked a question that only this office can ask.",
        "A backup of an old copy of the data would pass every other check.",
        "Add a check, such as the age of the newest visit, under checks.",
        _own_checks,
    ),
    Rule(
        "timezone",
        False,
        "The plan says in which time zone the office is.",
        "Otherwise 2:00 may be your evening, and Tuesday's backup may lie in Monday's folder.",
        "Set schedule.timezone, such as America/New_York; for an office in UTC, Atlantic/Reykjavik.",
        _timezone,
    ),
    Rule(
        "restart",
        False,
        "The database engine is restarted once each day, where its maker advises it.",
        "Clean-up that runs at its start is never done otherwise; odd faults add up.",
        'Set source.restart and schedule: {restart: "30 1 * * *"}.',
        _restart,
    ),
    Rule(
        "runbook",
        False,
        "The written disaster plan is up to date.",
        "When it is needed, somebody else will follow it, word for word.",
        "Run `datasave runbook`.",
        _runbook,
    ),
)
