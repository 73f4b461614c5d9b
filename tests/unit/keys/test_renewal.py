"""A machine's key ends: what it signed counts, and whoever has it now makes nothing that does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.cli import app as cli
from tasks.backup.memory import doubts
from tasks.backup.retain import shelf_of
from tasks.context import PlanContext
from tasks.keys import renewal
from tasks.keys.renewal import renew_key
from tasks.manifests.entries import NEVER_DELIVERED
from tasks.manifests.manifest import manifest_name, to_json
from tasks.manifests.signing import public_text, sign_record
from tasks.notices.journal_words import entry_words
from tests.contract.target_contract import put
from tests.flows.site import Site
from tests.unit.health.stocked import office, stock
from tests.unit.manifests.shelves import TAKEN, manifest

NOW = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    """An office with backups 1 to 3 on its nas."""
    made = office(tmp_path, "nas")
    stock(made, "nas", 1, 2, 3)
    return made


def again(context: PlanContext) -> PlanContext:
    return PlanContext(context.path)


def defects(context: PlanContext) -> dict[int, str]:
    with context.target("nas") as target:
        return {b.manifest.sequence: b.defect for b in shelf_of(context, target, "") if b.manifest}


def forge(context: PlanContext, key: Ed25519PrivateKey, number: int, **facts: object) -> None:
    record = manifest(number, TAKEN + timedelta(days=number), sealed_bytes=5, sealed_sha256="f" * 64, **facts)
    record = sign_record(record, key)
    with context.target("nas") as target:
        put(target, record.sealed_name, b"false")
        put(target, manifest_name(record.sealed_name.removesuffix(".tar.zst.age")), to_json(record))


def test_s9_old_backups_count_and_the_old_key_makes_no_new_ones(context: PlanContext) -> None:
    stolen = context.machine_key()
    renewed = renew_key(context)
    after = again(context)
    assert (renewed.old, renewed.until) == (public_text(stolen.public_key()), 3)
    assert public_text(after.machine_key().public_key()) == renewed.new != renewed.old
    assert after.journal.defects() == [] and after.journal.verify() == [] and doubts(after) == []
    stock(after, "nas", 4)
    forge(after, stolen, 9)
    assert defects(after) == {1: "", 2: "", 3: "", 4: "", 9: "signed by a key that ended with backup #3"}


@pytest.mark.parametrize("number", [2, 3])
def test_s9_nor_older_numbers_that_were_never_delivered(context: PlanContext, number: int) -> None:
    stolen = context.machine_key()
    renew_key(context)
    after = again(context)
    with after.target("nas") as target:
        for name in [stat.name for stat in target.list() if f"{number:06d}" in stat.name]:
            target.delete(name)
    forge(after, stolen, number)
    found = defects(after)
    assert found.pop(number) == NEVER_DELIVERED
    assert set(found.values()) == {""}


def test_s9_a_thief_who_renews_is_nobody(context: PlanContext, tmp_path: Path) -> None:
    """A line in the journal that names the real key as ended, signed by a stranger, ends nothing."""
    own = public_text(context.machine_key().public_key())
    stranger = Ed25519PrivateKey.generate()
    forged = renewal.Journal(context.journal.folder, stranger, [own])
    forged.append("key_ended", ended=[f"{own}@1"], who="thief")
    after = again(context)
    assert after.journal.ended() == () and own in after.trusted()
    assert defects(after) == {1: "", 2: "", 3: ""}


def test_s9_twice_renewed_all_count(context: PlanContext) -> None:
    first = renew_key(context)
    stock(again(context), "nas", 4)
    second = renew_key(again(context))
    after = again(context)
    assert second.until == 4 and after.journal.ended() == (f"{first.old}@3", f"{first.new}@4")
    assert set(defects(after).values()) == {""}
    assert after.journal.verify() == []


def test_s9_a_renewal_that_was_cut_off_is_finished(
    context: PlanContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: Path) -> None:
        raise KeyboardInterrupt

    real = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda path, to: cut_off(path) if path.suffix == ".next" else real(path, to)
    )
    with pytest.raises(KeyboardInterrupt):
        renew_key(context)
    monkeypatch.undo()
    assert set(defects(again(context)).values()) == {""}
    renewed = renew_key(again(context))
    after = again(context)
    assert public_text(after.machine_key().public_key()) == renewed.new
    assert set(defects(after).values()) == {""} and after.journal.verify() == []
    assert not (after.state / "machine.key.next").exists()


def test_s9_another_machines_plan_says_until_when(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = office(tmp_path / "first", "nas") if (tmp_path / "first").mkdir() is None else None
    assert made is not None
    stock(made, "nas", 1, 2, 3)
    key = public_text(made.machine_key().public_key())
    (tmp_path / "second").mkdir()
    second = Site.make(tmp_path / "second", [])
    second.change_plan(
        targets=[{"name": "nas", "kind": "folder", "path": str(tmp_path / "first" / "nas")}],
        signers=[{"key": key, "until": 2}],
    )
    assert defects(second.context) == {1: "", 2: "", 3: "signed by a key that ended with backup #2"}
    assert cli.main(["keys", "machine", "--plan", str(second.plan)]) == 0
    assert "Counts until backup #2" in capsys.readouterr().out


def test_s9_the_command_says_what_comes_next(
    context: PlanContext, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["keys", "machine", "--renew", "--plan", str(context.path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    told = entry_words("key_ended", again(context).journal.entries("key_ended")[0].facts)
    assert "gave this machine a new signing key; those before it count until #3" in told
    assert "ended with backup #3" in said and "until: 3" in said and "Print the keys' sheets" in said
