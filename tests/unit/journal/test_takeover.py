"""State of before there was a journal is taken over once, and put aside."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tasks.backup import media
from tasks.backup.preflight import next_sequence
from tasks.context import PlanContext
from tasks.health import trend
from tasks.health.drills import kept
from tasks.health.history import past_runs
from tasks.journal.takeover import EARLIER
from tasks.keys.proofs import findings
from tasks.manifests.manifest import certificate_name, to_json
from tasks.manifests.signing import sign_record
from tasks.platform.files import private_folder
from tasks.records import Certificate
from tests.flows.site import Site
from tests.unit.manifests.shelves import certificate

DRILLED = certificate_name(certificate().sealed_name, certificate().drilled)


def snapshot(sequence: int, rows: int, trouble: tuple[str, ...] = ()) -> dict[str, object]:
    tables = [
        {"name": f"t{n}", "rows": rows + n, "fingerprint": f"2:{rows}:{n}", "columns": ["a"]} for n in (1, 2)
    ]
    sizes = {"copy_bytes": 1000 + sequence, "archive_bytes": 500}
    taken = f"2026-11-{sequence:02}T02:00:00Z"
    return {"sequence": sequence, "taken": taken, **sizes, "tables": tables, "trouble": trouble, "marks": []}


def old_state(context: PlanContext) -> dict[str, str]:
    """What an older version left in a state folder, by its path there."""
    medium = {"target": "drives", "label": "MON", "id": "m1", "made": "2026-11-01T08:00:00Z", "held": 4}
    run = {"flow": "backup", "started": "2026-11-09T02:00:00Z", "finished": "2026-11-09T02:04:00Z"}
    owner = context.plan.holders[0].recipient
    proof = {"recipient": owner, "target": "nas", "sealed_name": "clinic-x", "at": "2026-11-20T00:00:00Z"}
    drill: Certificate = sign_record(certificate(), context.machine_key())
    return {
        "sequence": "417 one 1",
        "history.json": json.dumps(
            [{**run, "succeeded": True, "headline": "well", "sources": [], "deliveries": []}]
        ),
        "media.json": json.dumps(
            {
                "format": 1,
                "media": [medium],
                "uses": [{"target": "drives", "day": f"2026-11-{day:02}", "label": "MON"} for day in (2, 9)],
            }
        ),
        "proofs.json": json.dumps(
            {"known": {owner: "2025-01-01T00:00:00Z"}, "proofs": [{**proof, "how": "its beginning"}]}
        ),
        "thaws.json": json.dumps({"cold/a/b.age": {"at": "2026-11-20T00:00:00Z", "expected": 60.0}}),
        "runbooks.json": json.dumps({"nas": "edition"}),
        "trend/clinic.json": json.dumps(
            [snapshot(1, 100), snapshot(2, 100), snapshot(3, 50, ("lost rows",))]
        ),
        "trend/clinic.accepted": "2\n",
        f"drills/nas/{DRILLED}": to_json(drill).decode(),
    }


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    context = Site.make(tmp_path, ["nas"]).context
    for name, text in old_state(context).items():
        path = context.state / name
        private_folder(path.parent)
        path.write_text(text, "utf-8")
    return context


def test_everything_is_known_as_before(context: PlanContext) -> None:
    before = old_state(context)
    assert next_sequence(context, "one 1") == 417 and next_sequence(context, "two 1") == 418
    assert [run.headline for run in past_runs(context)] == ["well"]
    remembered = media.remembered(context)
    assert remembered.of("drives")["MON"].held == 4
    assert remembered.log("drives") == [(date(2026, 11, 2), "MON"), (date(2026, 11, 9), "MON")]
    assert "opened clinic-x on nas" in findings(context, datetime(2026, 12, 1, tzinfo=UTC))[0].detail
    assert [entry.facts["name"] for entry in context.journal.entries("thaw")] == ["a/b.age"]
    assert context.journal.entries("runbook")[0].facts == {"target": "nas", "edition": "edition"}
    assert [certificate.sequence for certificate in kept(context)] == [417]
    seen = trend.history(context, "")
    assert [json.loads(one.model_dump_json(by_alias=True)) for one in seen] == [
        {**old, "files": None} for old in json.loads(before["trend/clinic.json"])
    ]
    assert trend.accepted_through(context, "") == 2
    assert trend.anomaly(context, "") == "pruning suspended: lost rows", "accepted was only what came before"


def test_it_happens_once_and_deletes_nothing(context: PlanContext) -> None:
    before = old_state(context)
    head = context.journal.head()
    assert PlanContext(context.path).journal.head() == head and not context.journal.defects()
    aside = context.journal.folder / EARLIER
    for name, text in before.items():
        assert (aside / name).read_text("utf-8") == text or name.startswith("drills/")
        assert not (context.state / name).exists()


def test_one_that_was_cut_off_goes_on(context: PlanContext) -> None:
    """Entered, and not put aside yet: as the power went."""
    shutil.copytree(context.state, context.state.with_name("saved"))
    entered = context.journal.head()
    for name in ("sequence", "history.json", "media.json"):
        shutil.copy(context.state.with_name("saved") / name, context.state / name)
    assert PlanContext(context.path).journal.head() == entered
    assert not (context.state / "media.json").exists()


def test_what_is_damaged_is_put_aside_as_it_is(tmp_path: Path) -> None:
    context = Site.make(tmp_path, ["nas"]).context
    for name in old_state(context):
        path = context.state / name
        private_folder(path.parent)
        path.write_bytes(b"\xff{")
    assert next_sequence(context, "one 1") == 1
    assert past_runs(context) == trend.history(context, "") == kept(context) == ()
    assert (context.journal.folder / EARLIER / "history.json").read_bytes() == b"\xff{"
    assert context.journal.entries("taken_over")
