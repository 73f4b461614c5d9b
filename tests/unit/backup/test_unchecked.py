"""The third outcome of a check: it could not be made. Never called damage, and never called proof."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from deployments.cli.screen import out, shelf_table
from tasks.backup.seal import outline
from tasks.backup.validate import require
from tasks.errors import ManifestError, MismatchError
from tasks.health.history import remember
from tasks.health.posture import posture_of
from tasks.health.status import status_of
from tasks.manifests.manifest import read_manifest, to_json
from tasks.manifests.shelf import read_shelf
from tasks.manifests.signing import signature_defect
from tasks.notices.drills_page import DrillBook, drills_html, outcome_of
from tasks.notices.notice import notice_of
from tasks.notices.report_page import report_html, report_markdown
from tasks.records import BackupEntry, Contents, Finding, Profile
from tasks.recovery.find import Choice, origin_of
from tasks.recovery.recover import Opened, Recovered
from tests.flows.site import Site
from tests.unit.health.test_status import NOON, ran
from tests.unit.manifests.shelves import MACHINE, TAKEN, DictTarget, certificate, signed
from tests.unit.notices import sample_reports

GOOD = Finding(check="integrity", passed=True, detail="integrity_check: ok")
BAD = Finding(check="integrity", passed=False, detail="a page is torn")
OPEN = Finding(
    check="integrity",
    passed=False,
    unchecked=True,
    detail="index names uses the collation GERMAN, unknown here. Name it.",
    table="patients",
)


def test_a_check_has_one_outcome_and_old_findings_read_as_before() -> None:
    assert [finding.failed for finding in (GOOD, BAD, OPEN)] == [False, True, False]
    assert "unchecked" not in GOOD.model_dump_json()
    assert Finding.model_validate_json(GOOD.model_dump_json()) == GOOD
    assert Finding.model_validate_json(OPEN.model_dump_json()) == OPEN
    with pytest.raises(ValueError, match="has not passed"):
        Finding(check="integrity", passed=True, unchecked=True, detail="")


def test_only_a_strict_plan_refuses_what_could_not_be_checked() -> None:
    require([GOOD, OPEN], "the copy", MismatchError)
    with pytest.raises(MismatchError, match="integrity of table patients: index names"):
        require([GOOD, OPEN], "the copy", MismatchError, strict=True)
    with pytest.raises(MismatchError) as failed:
        require([BAD, OPEN], "the copy", MismatchError)
    assert "GERMAN" not in str(failed.value), "it isn't what failed"


@pytest.mark.parametrize(
    ("findings", "passed", "unchecked"),
    [([GOOD, OPEN], False, True), ([OPEN, BAD, GOOD], False, False), ([GOOD, GOOD], True, False)],
)
def test_an_outline_tells_the_three_apart(findings: list[Finding], passed: bool, unchecked: bool) -> None:
    (check,) = outline(tuple(findings))
    assert (check.passed, check.unchecked) == (passed, unchecked)
    assert "GERMAN" not in check.detail
    assert check.table is None


def test_such_a_backup_counts_and_the_list_names_what_is_open(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "width", 200)
    place = DictTarget()
    place.add(signed(checks=outline((GOOD, OPEN))))
    place.add(signed(418, TAKEN + timedelta(days=1), checks=outline((GOOD, BAD))))
    shelf = read_shelf(place, trusted={MACHINE}, now=TAKEN + timedelta(days=2))
    assert [(one.verified, one.good, one.unchecked) for one in shelf] == [
        (True, True, ("integrity",)),
        (False, False, ()),
    ]
    shelf_table("nas", shelf)
    assert "verified, but not checked: integrity" in capsys.readouterr().out


def test_what_claims_both_outcomes_is_no_manifest() -> None:
    text = to_json(signed(checks=outline((OPEN,))))
    assert signature_defect(read_manifest(text), {MACHINE}) == ""
    with pytest.raises(ManifestError):
        read_manifest(text.replace(b'"passed": false', b'"passed": true'))


def test_the_report_and_its_notices_are_amber_and_name_it() -> None:
    report = sample_reports.success()
    report = report.model_copy(update={"findings": (*report.findings, OPEN, OPEN)})
    page, markdown = report_html(report), report_markdown(report)
    for text in (page, markdown):
        assert "NOT CHECKED" in text
        assert "Good: " in text
        assert "Not everything could be checked." in text
        assert "What could not be checked is not proved: integrity." in text.replace("\\", "")
    assert 'class="is-warn"' in page
    assert 'class="is-bad"' not in page
    notice = notice_of(report, "clinic")
    assert (notice.word, notice.tone) == ("OK", "warn")
    assert notice.text.count("integrity of patients: NOT CHECKED. index names uses") == 1, "once, not twice"
    assert "Not checked" in notice.html
    assert notice_of(sample_reports.success(), "clinic").tone == "good"


def test_status_and_posture_name_it_until_the_next_run(tmp_path: Path) -> None:
    context = Site.make(tmp_path, ["nas"], schedule={"backup": "0 2 * * *"}).context
    to = {"targets": {"nas": "delivered"}}
    remember(context, ran(NOON - timedelta(hours=10), findings=(GOOD, OPEN), **to))
    status = status_of(context, NOON)
    assert status.good
    assert "not everything in it could be checked" in status.headline
    assert [(line.tone, line.word) for line in status.targets] == [("warn", "fresh")]
    assert "; not checked: integrity" in status.targets[0].detail
    found = {result.id: result.found for result in posture_of(context).results}
    assert found["verify"].endswith("not checked in the newest: integrity")
    remember(context, ran(NOON - timedelta(hours=1), findings=(GOOD,), **to))
    assert "checked" not in status_of(context, NOON).headline


def test_a_drill_with_it_passes_and_says_so() -> None:
    drilled = certificate(checks=outline((GOOD, OPEN)))
    assert drilled.passed
    assert outcome_of(drilled) == ("Not all checked", "warn")
    page = drills_html(DrillBook("clinic", "now", "", (), (), (drilled,)))
    assert "0 checks passed; not checked: integrity" in page
    assert outcome_of(certificate()) == ("Passed", "good")


@pytest.mark.parametrize("strict", [False, True])
def test_recovery_goes_by_the_plan(strict: bool, tmp_path: Path) -> None:
    site = Site.make(tmp_path, ["nas"], strict=strict)
    found = recovered(site, (GOOD, OPEN))
    assert found.passed is not strict
    if strict:
        with pytest.raises(MismatchError, match="GERMAN"):
            found.require("the drill failed", "Take another.")
    else:
        found.require("the drill failed", "Take another.")


def recovered(site: Site, findings: tuple[Finding, ...]) -> Recovered:
    record = signed()
    entry = BackupEntry(
        name=record.sealed_name, slot="", manifest_name="m", manifest=record, defect="", bytes=1
    )
    with site.context.target("nas") as nas:
        choice = Choice(origin_of(site.context, nas, ""), entry, record)
    contents = Contents(files=(), profile=Profile(tables=()), findings=())
    return Recovered(Opened(choice, (), contents), site.context.state, findings, 1.0)
