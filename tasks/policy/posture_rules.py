"""How an office is told to back up its data, as rules: facts in, a score and what is open out.

Each rule says what it demands, why, and how to meet it, in words for the person who runs the practice. A rule
that *must* hold keeps data recoverable or an office within the law; the others make a good plan better.
Pure functions: whoever calls them gathers the facts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tasks.policy import posture_facts as on
from tasks.policy.posture_facts import Facts, Judged
from tasks.reports import Posture, PostureResult


class Rule(NamedTuple):
    """One rule. ``must``: without it the exit status is 1."""

    id: str
    must: bool
    demands: str
    reason: str
    how: str
    judge: Callable[[Facts], Judged]


def judge_posture(facts: Facts) -> Posture:
    """Every rule's word on the facts."""
    return Posture(results=tuple(_result(rule, facts) for rule in RULES))


def _result(rule: Rule, facts: Facts) -> PostureResult:
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


RULES: tuple[Rule, ...] = (
    Rule(
        "encryption",
        True,
        "Backups are encrypted before they leave the machine.",
        "A lost drive that can be read is a breach of every patient's privacy, with all that follows.",
        "Nothing to do: Datasave writes no other backups.",
        on.always("to every holder, with age"),
    ),
    Rule(
        "verify",
        True,
        "Every backup is verified: opened, counted, compared, and read back from where it was put.",
        "A backup that cannot be read is found out on the day it is needed, unless it is found out before.",
        "Nothing to do: a backup that was not verified is not reported good.",
        on.always("rehearsed before delivery, read back after it"),
    ),
    Rule(
        "full",
        False,
        "Each backup is a full one.",
        "Restoring a full backup needs that one backup; a chain of increments is as good as its worst link.",
        "Nothing to do: every archive is whole by itself.",
        on.always("each archive stands alone"),
    ),
    Rule(
        "fresh",
        True,
        "The last good backup is no older than the plan allows.",
        "What was entered since the last good backup would have to be entered again, from memory.",
        "Look at the newest report, mend what it names, then `datasave backup`.",
        on.fresh,
    ),
    Rule(
        "unmarked",
        True,
        "The newest backup looks like those before it.",
        "Damage and ransomware show in the data first; every day that passes unseen makes them dearer.",
        "Look at the database. If the change was meant: `datasave prune --accept-change`. If not, restore.",
        on.marked,
    ),
    Rule(
        "scheduled",
        True,
        "Backups are made by themselves.",
        "A backup that somebody must remember is not made on the day before it is needed.",
        'Set schedule: {backup: "0 2 * * *"} in the plan and let `datasave serve` run.',
        on.schedule(lambda facts: facts.backup_scheduled),
    ),
    Rule(
        "sets",
        True,
        "There are at least three sets of media.",
        "With fewer, one bad medium and one bad night together leave nothing to go back to.",
        "Add targets, or a drive target with a calendar: {mon: MON, tue: TUE, …, fri: [F1, F2]}.",
        on.sets,
    ),
    Rule(
        "other-medium",
        False,
        "The same medium is never used alone two days running.",
        "A medium that fails takes yesterday's backup with it when today's is written over it.",
        "Let drives take turns by a calendar, or send every run to two targets.",
        on.other_medium,
    ),
    Rule(
        "off-premises",
        True,
        "Something is off premises.",
        "A fire, a flood or a burglar takes everything that is in the office.",
        "Take drives home in turn, or add a target elsewhere (off_premises: true).",
        on.off_premises,
    ),
    Rule(
        "locked",
        False,
        "There is an archive that nobody can overwrite.",
        "Whoever takes over the machine, ransomware too, can delete all that the machine can delete.",
        "Add a target with a lock, such as S3 with lock: {mode: compliance, years: 7}.",
        on.locked,
    ),
    Rule(
        "archive",
        False,
        "Some target goes back three months or more.",
        "Slow damage is often noticed months later, at the end of a quarter.",
        "Give a target keep: {monthly: 12}, or keep: forever.",
        on.archive,
    ),
    Rule(
        "told",
        True,
        "At least two people are told how each run went.",
        "One person is ill, on leave or gone on the day that it matters.",
        "Name two or more under notices: {mail: {to: […]}}.",
        on.told,
    ),
    Rule(
        "holders",
        True,
        "At least two hold a key.",
        "Without any key the backups are lost, even years after who held it went on to greener pastures.",
        "Make a second key (`datasave keys new`) for a partner or a bank safe, and name it under holders.",
        on.holders,
    ),
    Rule(
        "drill",
        True,
        "A drill passed not long ago.",
        "Only a restore shows that a restore works.",
        "Run `datasave drill`, and set schedule.drill.",
        on.drilled,
    ),
    Rule(
        "drill-scheduled",
        False,
        "Drills are made by themselves.",
        "What has no day is put off.",
        'Set schedule: {drill: "0 6 * * sun"} and drill: {identities: …} in the plan.',
        on.schedule(lambda facts: facts.drill_scheduled),
    ),
    Rule(
        "targets-proved",
        False,
        "Each target was proved in a drill within the set time.",
        "The place that was never tried may be the only one left after the fire.",
        "`datasave drills` shows which; plug in the drive that is due and run `datasave drill`.",
        on.places_proved,
    ),
    Rule(
        "keys-proved",
        True,
        "Each holder's key opened a backup within the set time.",
        "A key that cannot be found, or a copy that was typed wrongly, opens nothing on the worst day.",
        "Run `datasave keys prove` or a drill with each holder's key, or name them all in drill.identities.",
        on.keys_proved,
    ),
    Rule(
        "objective",
        False,
        "Drills bring the data back within the time the plan sets.",
        "A practice can be closed for a day; few can be for a week.",
        "Keep a copy on a faster target, or set drill.objective_hours to what the office can live with.",
        on.objective,
    ),
    Rule(
        "agreements",
        True,
        "Each vendor that receives data has signed an agreement (BAA) that is in date.",
        "HIPAA demands it of whoever keeps patients' data for you, encrypted or not.",
        "Sign or renew it, and note it at the target: baa: {vendor: AWS, signed: 2026-01-10}.",
        on.agreements,
    ),
    Rule(
        "audit",
        False,
        "The targets are looked at by themselves.",
        "A drive in a drawer and a bucket far away can lose backups without anyone noticing.",
        'Set schedule: {audit: "0 8 * * *"} in the plan.',
        on.schedule(lambda facts: facts.audit_scheduled),
    ),
    Rule(
        "own-checks",
        False,
        "Restored copies are asked a question that only this office can ask.",
        "A backup of last year's copy passes every check but that today's visits are in it.",
        "Add a check, such as the age of the newest visit, under checks.",
        on.own_checks,
    ),
    Rule(
        "timezone",
        False,
        "The plan says in which time zone the office is.",
        "Otherwise 2:00 may be your evening, and Tuesday's backup may lie in Monday's folder.",
        "Set schedule.timezone, such as America/New_York; for an office in UTC, Atlantic/Reykjavik.",
        on.timezone,
    ),
    Rule(
        "restart",
        False,
        "The database engine is restarted once each day, where its maker advises it.",
        "Clean-up that runs at its start is never done otherwise; odd faults add up.",
        'Set source.restart and schedule: {restart: "30 1 * * *"}.',
        on.restart,
    ),
    Rule(
        "runbook",
        False,
        "The written plan for the worst day is up to date.",
        "On that day somebody else will follow it, word for word.",
        "Run `datasave runbook`.",
        on.runbook,
    ),
)
