"""Runs as they happen, good and bad, for the tests of the report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks.records import Engine, Finding, Profile, Removed, TableProfile
from tasks.reports import Delivery, RunReport, Step

STARTED = datetime(2026, 11, 23, 2, 0, 7, tzinfo=UTC)
TABLES = {"patients": 8412, "visits": 120_553, "ledger": 310_987, "users": 1, "appointment_notes": 0}


def profile(tables: dict[str, int]) -> Profile:
    """A profile with these row counts."""
    return Profile(
        tables=tuple(
            TableProfile(name=name, rows=rows, fingerprint=f"{rows}:5f3a") for name, rows in tables.items()
        )
    )


def compared(tables: dict[str, int]) -> tuple[Finding, ...]:
    """A passed finding for each table."""
    return tuple(
        Finding(
            check="table as recorded",
            passed=True,
            detail=f"{rows:,} rows, same content",
            table=name,
        )
        for name, rows in tables.items()
    )


CHECKS = (
    Finding(check="integrity check", passed=True, detail="PRAGMA integrity_check says ok"),
    Finding(check="foreign keys", passed=True, detail="no row points to nowhere"),
    Finding(check="newest visit at most 3 days old", passed=True, detail="0.4 days"),
)
STEPS = (
    Step(name="preflight", outcome="ok", seconds=0.4),
    Step(name="live copy", outcome="ok", seconds=71.6),
    Step(name="validate", outcome="ok", seconds=38.2),
    Step(name="archive and encrypt", outcome="ok", seconds=64.3),
    Step(name="rehearse", outcome="ok", seconds=64.9),
    Step(name="deliver to nas", outcome="ok", seconds=41.0),
    Step(name="deliver to drives", outcome="ok", seconds=103.0),
    Step(name="deliver to cloud", outcome="ok", seconds=244.0),
)
NAME = "front-office-20261123T020007Z-000118.tar.zst.age"
DELIVERIES = (
    Delivery(
        target="nas",
        outcome="delivered",
        name=f"MON/{NAME}",
        bytes=812_345_678,
        seconds=41.0,
        kept=30,
        removed=(
            Removed(
                name="MON/front-office-20261026T020005Z-000090.tar.zst.age",
                sequence=90,
                reason="no rule keeps it (last 1)",
            ),
        ),
    ),
    Delivery(target="drives", outcome="delivered", name=NAME, bytes=812_345_678, seconds=103.0, kept=4),
    Delivery(target="cloud", outcome="delivered", name=NAME, bytes=812_345_678, seconds=244.0, kept=4),
)


def success() -> RunReport:
    """Everything went well, on three targets."""
    return RunReport(
        flow="backup",
        run="8d1f6f2a-5a37-4a6e-9d0f-0e5d2f7f3c11",
        source="front-office",
        started=STARTED,
        finished=STARTED + timedelta(seconds=492),
        succeeded=True,
        headline="Backup 118 was restored in rehearsal and delivered to nas, drives and cloud",
        engine=Engine(kind="sqlite", version="3.45.1", bytes=4_210_000_000),
        sequence=118,
        copy_bytes=4_213_456_789,
        archive_bytes=811_999_000,
        sealed_bytes=812_345_678,
        profile=profile(TABLES),
        findings=(*CHECKS, *compared(TABLES)),
        steps=STEPS,
        deliveries=DELIVERIES,
        holders=("Owner", "Bank safe"),
    )


def one_missed() -> RunReport:
    """The drive was not plugged in; the fourth target was not due."""
    missed = Delivery(
        target="drives",
        outcome="missed",
        problem="the drive MON is not plugged in",
        hint="Plug in the drive labelled MON and re-run the failed run.",
    )
    skipped = Delivery(target="vault", outcome="skipped", problem="due on the last Friday of the month")
    steps = [
        Step(name=step.name, outcome="failed", seconds=0.2, detail="the drive MON is not plugged in")
        if "drives" in step.name
        else step
        for step in STEPS
    ]
    return success().model_copy(
        update={
            "succeeded": False,
            "headline": "1 of 3 targets missed: drives",
            "deliveries": (DELIVERIES[0], missed, DELIVERIES[2], skipped),
            "steps": tuple(steps),
            "advice": ("Plug in the drive labelled MON.", "Then press Retry on this run in the Prefect UI."),
        }
    )


def rehearsal_failed() -> RunReport:
    """The restored copy lacks rows of one table, so nothing was delivered."""
    wrong = Finding(
        check="table as recorded",
        passed=False,
        detail="120,551 rows restored, 120,553 recorded",
        table="visits",
    )
    findings = tuple(wrong if finding.table == "visits" else finding for finding in success().findings)
    steps = [
        *STEPS[:5],
        Step(name="rehearse", outcome="failed", seconds=64.9, detail="visits is not as recorded"),
        *(Step(name=step.name, outcome="not run") for step in STEPS[6:]),
    ]
    return success().model_copy(
        update={
            "succeeded": False,
            "headline": "The rehearsal failed: table visits is not what was recorded",
            "findings": findings,
            "steps": tuple(steps),
            "deliveries": tuple(
                Delivery(target=delivery.target, outcome="failed", problem="nothing to deliver")
                for delivery in DELIVERIES
            ),
            "advice": ("Have the database looked at today. Older backups were not touched.",),
        }
    )


def preflight_failed() -> RunReport:
    """The source was not there: nothing else is known."""
    return RunReport(
        flow="backup",
        run="1b6ef8a1-20d7-4a53-9c51-c7b8b1f3a0de",
        source="front-office",
        started=STARTED,
        finished=STARTED + timedelta(seconds=0.3),
        succeeded=False,
        headline="The database /srv/office/clinic.db is not there",
        steps=(Step(name="preflight", outcome="failed", seconds=0.3, detail="no such file"),),
    )


def many_tables(count: int = 400, failed: int = 2) -> RunReport:
    """Hundreds of tables; the last ``failed`` of them are not as recorded."""
    tables = {f"dba.table_{number:03}": number * 1237 for number in range(count)}
    bad = list(tables)[count - failed :]
    findings = tuple(
        finding.model_copy(update={"passed": False, "detail": "0 rows restored"})
        if finding.table in bad
        else finding
        for finding in compared(tables)
    )
    return rehearsal_failed().model_copy(
        update={"profile": profile(tables), "findings": (*CHECKS, *findings)}
    )


HOSTILE = (
    "<script>alert(1)</script>",
    "</title></style></details><img src=x onerror=alert(1)>",
    "a | b | c",
    "one\n\n| two |\n# three\r\n- four",
    "good\u202egnp.exe\u2066\u200f",
    "`code` **bold** [link](https://evil.example/) ![img](http://evil.example/x.png) <https://evil.example>",
    "www.evil.example and mail@evil.example and https://evil.example/",
    "{{ 7 * 7 }} {% raw %} \\| \\",
    "\x1b[31mred\x00\x07",
    "1. item",
    "2026) item",
    "- item",
    "W" * 5000,
)


def hostile() -> RunReport:
    """Every text that comes from elsewhere tries to break out."""
    report = one_missed()
    tables = {name: number for number, name in enumerate(HOSTILE)}
    texts = list(HOSTILE)
    return report.model_copy(
        update={
            "source": HOSTILE[0],
            "headline": " ".join(HOSTILE),
            "engine": Engine(kind="sqlite", version=HOSTILE[1], bytes=1),
            "profile": profile(tables),
            "findings": (
                *(Finding(check=text, passed=False, detail=text, table=text) for text in texts),
                *(Finding(check=text, passed=False, detail=text) for text in texts),
            ),
            "deliveries": tuple(
                Delivery(
                    target=text,
                    outcome="failed",
                    name=text,
                    problem=text,
                    hint=text,
                    removed=(Removed(name=text, sequence=1, reason=text),),
                )
                for text in texts
            ),
            "steps": tuple(Step(name=text, outcome="failed", seconds=1, detail=text) for text in texts),
            "holders": HOSTILE,
            "advice": HOSTILE,
        }
    )
