"""What is gone: lost, removed by another machine of the plan, or not to be known by an old memory."""

from __future__ import annotations

import shutil
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from deployments.cli import app as cli
from deployments.cli import screen
from tasks.backup.condition import damaged
from tasks.backup.holds import hold
from tasks.backup.memory import accept
from tasks.backup.retain import copy_journal, prune
from tasks.context import PlanContext
from tasks.health.audit import audit_memory, audit_target
from tasks.health.repair import look
from tasks.manifests.manifest import manifest_name, to_json
from tasks.manifests.signing import public_text, sign_record
from tasks.records import Finding
from tests.contract.target_contract import put
from tests.unit.health.stocked import archive, office, path_of, stock
from tests.unit.health.test_condition import LOST, NOW, lose
from tests.unit.manifests.shelves import STRANGER, TAKEN, manifest

Captured = pytest.CaptureFixture[str]


def audit(context: PlanContext, now: object = NOW) -> tuple[Finding, ...]:
    return audit_target(context, "nas", now=now)  # type: ignore[arg-type]


def of_gone(findings: tuple[Finding, ...], *, failed: bool) -> str:
    told = [one for one in findings if one.check == LOST and not one.passed and one.failed is failed]
    return "; ".join(one.detail for one in told)


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    made = office(tmp_path, "nas", "cellar", keep={"last": 2}, floor=1)
    stock(made, "nas", 1, 2, 3, 4)
    stock(made, "cellar", 1, 2, 3, 4)
    return made


@pytest.fixture
def forgetful(context: PlanContext) -> PlanContext:
    """A state folder that is put back to before the night that removed two."""
    saved = context.state.with_name("saved")
    shutil.copytree(context.state, saved)
    assert len(prune(context, "nas").removed) == 2
    copy_journal(context, "nas")
    shutil.rmtree(context.state)
    saved.rename(context.state)
    return context


def test_b4_an_old_memory_does_not_say_what_it_cannot_know(
    forgetful: PlanContext, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen.out, "width", 400)
    findings = audit(forgetful)
    assert of_gone(findings, failed=True) == ""
    assert "#1" in (told := of_gone(findings, failed=False)) and "cannot be known" in told
    cli.main(["list", "--plan", str(forgetful.path), "--target", "nas"])
    shown = capsys.readouterr().out
    assert "cannot be known while this machine's memory is in doubt" in shown
    assert "not removed by Datasave" not in shown
    assert look(forgetful, ["nas"]).mends == (), "what was removed is not brought back"
    assert damaged(forgetful) == ()


def test_b4_an_audit_finds_that_the_memory_is_old(forgetful: PlanContext) -> None:
    audit(forgetful)
    (finding,) = audit_memory(forgetful)
    assert finding.failed and "nas knows a longer journal than this machine has" in finding.detail
    assert "journal --recover" in finding.detail
    accept(forgetful)
    accept(forgetful)
    assert audit_memory(forgetful) == ()


def test_b4_holds_that_an_old_memory_forgot_stay_until_a_person_says_so(context: PlanContext) -> None:
    saved = context.state.with_name("saved")
    shutil.copytree(context.state, saved)
    hold(context, "", 1, "for the court", None)
    copy_journal(context, "nas")
    shutil.rmtree(context.state)
    saved.rename(context.state)
    audit(context)
    accept(context)
    assert "datasave hold" in prune(context, "nas").note
    assert path_of(context, "nas", 1).exists() and path_of(context, "nas", 2).exists()
    hold(context, "", 1, "for the court", None)
    accept(context)
    assert [gone.sequence for gone in prune(context, "nas").removed] == [2]


def another_delivers(context: PlanContext, *numbers: int) -> None:
    """A second machine with the plan does, which counts for this one."""
    text = context.path.read_text()
    if "signers:" not in text:
        context.path.write_text(f"{text}\nsigners: ['{public_text(STRANGER.public_key())}']\n")
    for number in numbers:
        data = archive(number)
        facts = {"sealed_bytes": len(data), "sealed_sha256": sha256(data).hexdigest()}
        record = sign_record(manifest(number, TAKEN + timedelta(days=number), **facts), STRANGER)
        with context.target("nas") as nas:
            put(nas, record.sealed_name, data)
            put(nas, manifest_name(record.sealed_name.removesuffix(".tar.zst.age")), to_json(record))


def test_b6_what_another_machine_pruned_is_no_loss_and_not_brought_back(context: PlanContext) -> None:
    another_delivers(context, 5)
    again = PlanContext(context.path)
    lose(again, 1)
    lose(again, 2)
    assert look(again, ["nas"]).mends == ()
    now = NOW + timedelta(days=1)
    findings = audit(again, now)
    assert of_gone(findings, failed=True) == ""
    assert "removed by another machine of the plan" in of_gone(findings, failed=False)
    assert of_gone(audit(again, now), failed=False) == "", "told once"
    stock(again, "nas", 1)
    assert path_of(again, "nas", 1).exists()


def test_b6_what_the_plan_keeps_is_lost_whoever_else_writes_there(context: PlanContext) -> None:
    another_delivers(context, 5)
    again = PlanContext(context.path)
    hold(again, "", 2, "for the court", None)
    for number in (1, 2, 4):
        lose(again, number)
    told = of_gone(audit(again, NOW + timedelta(days=1)), failed=True)
    assert "#4" in told and "#2" in told and "#1" not in told
    assert {mend.broken.sequence for mend in look(again, ["nas"]).mends} == {2, 4}


def test_b6_one_machine_alone_has_no_other_to_blame(context: PlanContext) -> None:
    lose(context, 1)
    assert "#1" in of_gone(audit(context), failed=True)
