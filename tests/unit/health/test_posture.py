"""The rules that an office is told to follow, each met and each broken."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from tasks.errors import PlanError
from tasks.health.posture import PAGE, facts_of, posture_of, write_posture
from tasks.notices.report_page import report_grids, report_html, report_markdown
from tasks.notices.report_text import posture_rows, posture_text
from tasks.policy.posture_rules import RULES, PostureFacts, TargetFacts, judge_posture
from tasks.reports import Posture
from tasks.targets.s3.options import is_near
from tests.flows.site import Site
from tests.unit.notices import sample_reports as samples

GOOD = PostureFacts(
    targets=(
        TargetFacts(name="nas", proved_days=3, in_time=True),
        TargetFacts(name="drives", media=6, off_premises=True, proved_days=9),
        TargetFacts(
            name="vault",
            off_premises=True,
            vendor=True,
            agreement=True,
            locked=True,
            months=99,
            proved_days=80,
        ),
    ),
    holders={"Owner": 3, "Bank safe": 9},
    told=2,
    backup_scheduled=True,
    drill_scheduled=True,
    audit_scheduled=True,
    backup_hours=8,
    drill_days=3,
    objective=True,
    timezone="America/New_York",
    own_checks=1,
    sandbox=True,
    restart=True,
    runbook=True,
)
NAS = GOOD.targets[0]


def targets(**changes: Any) -> dict[str, Any]:
    return {"targets": tuple(target.model_copy(update=changes) for target in GOOD.targets)}


BROKEN: dict[str, dict[str, Any]] = {
    "fresh": {"backup_hours": 27},
    "closed-in": {"sandbox": False},
    "unmarked": {"marked": "pruning suspended: table ledger lost 30 %"},
    "scheduled": {"backup_scheduled": False},
    "sets": {"targets": (NAS, GOOD.targets[2])},
    "other-medium": {"targets": (NAS,)},
    "other-disk": targets(same_disk=True),
    "off-premises": targets(off_premises=False),
    "locked": targets(locked=False),
    "archive": targets(months=2),
    "told": {"told": 1},
    "holders": {"holders": {"Owner": 3}},
    "drill": {"drill_days": None},
    "drill-scheduled": {"drill_scheduled": False},
    "keys-elsewhere": {"keys_here": ("Owner",)},
    "targets-proved": targets(proved_days=91),
    "keys-proved": {"holders": {"Owner": 3, "Bank safe": None}},
    "objective": targets(in_time=False),
    "agreements": targets(agreement=False),
    "audit": {"audit_scheduled": False},
    "own-checks": {"own_checks": 0},
    "timezone": {"timezone": "UTC"},
    "restart": {"restart": False},
    "runbook": {"runbook": False},
}
UNBREAKABLE = {"encryption", "verify", "full"}


def state(posture: Posture, rule: str) -> str:
    return next(result.state for result in posture.results if result.id == rule)


def test_an_office_that_does_all_it_should() -> None:
    posture = judge_posture(GOOD)
    assert posture.open == ()
    assert (posture.score, posture.good) == (100, True)
    told = posture_text(posture)
    assert told
    assert "nothing is open" in told.summary


def test_every_rule_has_a_test_that_breaks_it() -> None:
    assert {rule.id for rule in RULES} == BROKEN.keys() | UNBREAKABLE


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_each_rule_notices_what_it_is_about(rule: str) -> None:
    posture = judge_posture(GOOD.model_copy(update=BROKEN[rule]))
    assert state(posture, rule) == "open"
    assert posture.score < 100
    must = next(one.must for one in RULES if one.id == rule)
    assert must <= (not posture.good), "what must hold and doesn't is not good"
    (row,) = [row for row in posture_rows(posture) if row["Rule"] == _demand(rule)]
    assert row["State"] == ("MUST" if must else "Open")
    assert row["How to meet it"]


def _demand(rule: str) -> str:
    return next(one.demands for one in RULES if one.id == rule)


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("agreements", targets(vendor=False, agreement=None)),
        ("objective", {"objective": False}),
        ("restart", {"restart": None}),
        ("runbook", {"runbook": None}),
    ],
)
def test_what_does_not_apply_costs_nothing(rule: str, changes: dict[str, Any]) -> None:
    posture = judge_posture(GOOD.model_copy(update=changes))
    assert state(posture, rule) == "not applicable"
    assert posture.score == 100


@settings(deadline=None)
@given(st.sets(st.sampled_from(sorted(BROKEN))), st.sampled_from(sorted(BROKEN)))
def test_breaking_one_more_never_raises_the_score(broken: set[str], more: str) -> None:
    def broken_by(rules: set[str]) -> Posture:
        merged: dict[str, Any] = {}
        for rule in sorted(rules):
            merged |= BROKEN[rule]
        return judge_posture(GOOD.model_copy(update=merged))

    if any(BROKEN[rule].keys() & BROKEN[more].keys() for rule in broken):
        return  # both are about the same fact
    before, after = broken_by(broken), broken_by(broken | {more})
    assert 0 <= after.score <= before.score <= 100
    assert {one.id for one in before.open} <= {one.id for one in after.open}
    assert [one.must for one in after.open] == sorted((one.must for one in after.open), reverse=True)


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("192.168.7.2", True),
        ("nas", True),
        ("s3.office.lan", True),
        ("::1", True),
        ("s3.us-east-1.amazonaws.com", False),
        ("s3.eu-central-003.backblazeb2.com", False),
        ("8.8.8.8", False),
    ],
)
def test_whose_server_it_is(host: str, near: bool) -> None:
    assert is_near(host) is near


BUCKET = {"name": "cloud", "kind": "s3", "bucket": "office-backups", "region": "us-east-1"}
FOLDER = {"name": "nas", "kind": "folder", "path": "nas"}


@pytest.mark.parametrize(
    ("target", "refused"),
    [
        (BUCKET, True),
        ({**BUCKET, "endpoint": "https://s3.backblazeb2.com"}, True),
        ({**FOLDER, "vendor": "Somebody Inc."}, True),
        ({**BUCKET, "baa": {"vendor": "AWS", "signed": "2026-01-10"}}, False),
        ({**BUCKET, "baa": {"vendor": "AWS", "signed": "2020-01-10", "expires": "2021-01-09"}}, False),
        ({**BUCKET, "endpoint": "http://127.0.0.1:9000"}, False),
        ({**BUCKET, "endpoint": "https://s3.example.org", "vendor": "own"}, False),
        (FOLDER, False),
    ],
)
def test_a_vendor_without_an_agreement_is_refused(
    tmp_path: Path, target: dict[str, Any], refused: bool
) -> None:
    site = Site.make(tmp_path, [])
    site.change_plan(targets=[target])
    assert site.context.plan.targets, "without hipaa nothing is refused"
    site.change_plan(hipaa=True)
    if refused:
        with pytest.raises(PlanError, match=r"targets\[0\].baa: is missing") as caught:
            assert site.context
        assert "business associate agreement" in caught.value.hint
    else:
        assert site.context.plan.hipaa


def test_facts_of_a_plan(tmp_path: Path) -> None:
    baa = {"vendor": "AWS", "signed": "2025-01-10", "expires": "2026-01-09"}
    drives = {
        "name": "drives",
        "kind": "drive",
        "calendar": {"mon": "MON", "tue": "TUE", "fri": ["F1", "F2"]},
    }
    lock = {"mode": "compliance", "years": 7}
    vault = {**BUCKET, "name": "vault", "lock": lock, "keep": "forever", "when": {"monthly": "last fri"}}
    site = Site.make(tmp_path, [])
    site.change_plan(targets=[FOLDER, drives, {**vault, "baa": baa}])
    facts = facts_of(site.context, datetime(2026, 11, 26, tzinfo=UTC))
    by_name = {target.name: target for target in facts.targets}
    assert [by_name[n].media for n in ("nas", "drives", "vault")] == [1, 4, 1]
    assert [by_name[n].off_premises for n in ("nas", "drives", "vault")] == [False, True, True]
    assert [by_name[n].vendor for n in ("nas", "drives", "vault")] == [False, False, True]
    assert by_name["vault"].agreement is False, "it ran out"
    assert facts_of(site.context, datetime(2026, 1, 9, tzinfo=UTC)).targets[2].agreement is True
    assert by_name["vault"].locked
    assert by_name["nas"].months == 12
    assert facts.holders == {"Owner": None, "Bank safe": None}
    assert (facts.backup_hours, facts.restart, facts.runbook) == (None, None, None)


def test_a_report_shows_the_score_and_leads_to_what_is_open() -> None:
    posture = judge_posture(GOOD.model_copy(update=BROKEN["told"]))
    report = samples.success().model_copy(update={"posture": posture})
    page, text = report_html(report), report_markdown(report)
    for shown in (page, text):
        assert f"{posture.score} of 100 points" in shown
        assert "At least two people are told how each run went." not in shown, "a page of its own lists that"
    assert 'href="../posture.html"' in report_html(report, posture_page="../posture.html")
    assert "href" not in page, "by mail it goes by itself"
    (rows,) = [rows for kind, _, rows in report_grids(report) if kind == "posture"]
    assert len(rows) == len(RULES)
    assert rows[0]["State"] == "MUST"
    assert "posture" not in [kind for kind, _, _ in report_grids(samples.success())]


def test_the_page_lists_every_rule_and_how_to_meet_the_open_ones(tmp_path: Path) -> None:
    context = Site.make(tmp_path, ["nas"]).context
    posture = posture_of(context)
    page = write_posture(context, posture).read_text("utf-8")
    assert all(page.count(f'class="name">{escape(rule.demands)}<') == 1 for rule in RULES)
    (told,) = [rule for rule in posture.open if rule.id == "told"]
    assert page.index(escape(told.demands)) < page.index(escape(told.how)) < page.index("What is met")
    assert (context.reports / "../posture.html").resolve() == (context.state / PAGE).resolve()
