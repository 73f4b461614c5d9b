"""The auditor's pack: what it says of a period, that it is signed, and what never is in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.cli import app as cli
from tasks.context import PlanContext
from tasks.health.drills import keep
from tasks.health.trend import remember
from tasks.journal.export import export, pack_defect
from tasks.journal.kinds import Kind
from tasks.keys.proofs import note
from tasks.manifests.signing import public_text, sign_record
from tasks.notices.journal_words import WORDS, entry_words
from tasks.policy.trend_rules import Snapshot
from tasks.records import TableProfile
from tests.flows.site import Site
from tests.unit.manifests.shelves import certificate

TODAY = datetime.now(UTC).date()


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    """A month of an office, all on one day."""
    context = Site.make(tmp_path, ["nas"]).context
    journal = context.journal
    for number in (1, 2):
        name = f"MON/clinic-20261123T020000Z-{number:06d}.tar.zst.age"
        facts = {"target": "nas", "source": "clinic", "sequence": number, "name": name}
        journal.append(Kind.DELIVERED, **facts, bytes=7_000_000, sha256="a" * 64)
    journal.append(
        Kind.REMOVED, **{**facts, "sequence": 1, "name": name.replace("2.tar", "1.tar")}, reason="too old"
    )
    journal.append(Kind.RESTORED, **facts, who="dana", where="/home/dana/restored", how="restore")
    journal.append(Kind.HELD, source="clinic", sequence=2, reason="lawsuit", until=None, who="dana")
    table = TableProfile(
        name="patients_of_dr_reyes", rows=417, fingerprint="2:417:abcdef", columns=("surname",)
    )
    seen = Snapshot(sequence=2, taken=datetime.now(UTC), copy_bytes=1, archive_bytes=1, tables=(table,))
    remember(context, "", seen)
    keep(context, sign_record(certificate(contents="sealed part"), context.machine_key()))
    note(context, ())
    return context


def made(context: PlanContext, first: int = 0, last: int = 0) -> tuple[dict[str, object], str, bytes]:
    days = [TODAY + timedelta(days=offset) for offset in (first, last)]
    pack = export(context.journal, context.machine_key(), "clinic", days[0], days[1], UTC, "pack.json")
    return json.loads(pack.document), pack.page, pack.document


def test_a_pack_is_verified_by_a_command_that_needs_no_plan(
    context: PlanContext, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor = tmp_path / "auditor"
    auditor.mkdir()
    monkeypatch.chdir(auditor)
    pack = auditor / "pack.json"
    pack.write_bytes(data := made(context)[2])
    assert cli.main(["journal", "--verify", "pack.json"]) == 0
    shown = "".join(capsys.readouterr().out.split())
    assert public_text(context.machine_key().public_key()) in shown
    for spoiled in (data.replace(b"lawsuit", b"suspect"), b"{}", b"[1]", b"\xff", b""):
        pack.write_bytes(spoiled)
        assert cli.main(["journal", "pack.json", "--verify"]) == 1
    assert cli.main(["journal", "--verify", "none.json"]) != 0
    assert cli.main(["journal", "pack.json"]) != 0


def test_it_answers_what_an_auditor_asks(context: PlanContext) -> None:
    document, page, data = made(context)
    assert pack_defect(data) == ""
    for said in (
        "clinic #1 lies on nas",
        "clinic #1 was removed from nas: too old",
        "dana brought clinic #2 back from nas to /home/dana/restored (restore)",
        "dana keeps clinic #2 out of retention: lawsuit",
        "with the key of Owner",
        "these keys open backups: Owner",
        "The journal is whole",
    ):
        assert said in page, said
    at_the_end = page.partition("What lay on the targets")[2].partition("</section>")[0]
    assert "clinic #2" in at_the_end and "clinic #1" not in at_the_end
    assert document["resting"] == [2]
    kinds = [entry["kind"] for entry in document["entries"]]  # type: ignore[attr-defined]
    assert kinds.count("delivered") == 2 and "trend" not in kinds


def test_no_datum_of_a_patient_is_in_it(context: PlanContext) -> None:
    _, page, data = made(context)
    for hidden in (b"patients_of_dr_reyes", b"surname", b"2:417:abcdef", b"sealed part"):
        assert hidden not in data and hidden.decode() not in page


def test_days_outside_the_period_are_left_out(context: PlanContext) -> None:
    document, page, _ = made(context, -9, -1)
    assert document["entries"] == [] and document["resting"] == [] and "Nobody in this period." in page
    document, page, _ = made(context, 1, 9)
    assert document["entries"] == [] and document["resting"] == [2], "what lies there still lies there"


@pytest.mark.parametrize(
    "change", [(b"dana", b"dave"), (b"ed25519:", b"ed25519:A"), (b'"signature"', b'"sign"')]
)
def test_a_pack_that_was_altered_shows(context: PlanContext, change: tuple[bytes, bytes]) -> None:
    assert pack_defect(made(context)[2].replace(*change)) == "signature does not match"


def test_damage_stands_at_the_top(context: PlanContext) -> None:
    path = context.journal.path
    path.write_bytes(path.read_bytes().replace(b"too old", b"too new"))
    _, page, _ = made(context)
    assert "The journal is not whole" in page and "was altered after it was signed" in page


def test_each_kind_has_words() -> None:
    assert set(WORDS) == {str(kind) for kind in Kind}
    for kind in Kind:
        assert "{" not in entry_words(kind, {})
    assert entry_words("of_a_newer_version", {"a": 1}) == "of_a_newer_version: a 1"


def test_the_command(context: PlanContext, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def journal(*words: str, status: int = 0) -> str:
        assert cli.main(["journal", "--plan", str(context.path), *words]) == status
        said = capsys.readouterr()
        return " ".join((said.out + said.err).replace("│", " ").split())

    assert "clinic #1 was removed from nas: too old" in journal()
    assert "removed" in journal("--kind", "removed") and "out of retention" not in journal(
        "--kind", "removed"
    )
    assert "lawsuit" in journal("--backup", "2") and "too old" not in journal("--backup", "2")
    assert "lawsuit" not in journal("--target", "nas")
    assert "too old" not in journal("--until", "2026-01-01") and "older ones" in journal("--last", "1")
    assert "each signed and following the one before" in journal("--verify")
    assert "is not a day" in journal("--since", "soon", status=1)
    assert "There are: removed, removing" in journal("--kind", "removd", status=1)
    day = TODAY.isoformat()
    journal("--export", day, day, "--out", str(tmp_path / "pack"))
    assert sorted(path.suffix for path in (tmp_path / "pack").iterdir()) == [".html", ".json"]
    assert "is before" in journal("--export", day, "2020-01-01", status=1)
    assert "the copy of the journal is sealed" in journal("--recover", "nas", status=1)
    path = context.journal.path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[2:]))
    assert "the beginning of the journal is missing" in journal("--verify", status=1)
    assert "accepted: the journal is damaged" in journal("--accept")
    journal("--verify")
