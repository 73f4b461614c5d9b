"""Sixty days after the damage: what was good before it is all still there, on every target."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.cli.demo_clinic import make_clinic
from tasks.errors import DatasaveError
from tests.flows.nights import night, nights
from tests.flows.site import Site
from tests.flows.test_anomaly import lose_rows

pytestmark = pytest.mark.slow

FIRST = datetime(2026, 9, 1, 2, tzinfo=UTC)
GOOD_NIGHTS = 9
DAYS_AFTER = 60
KEPT_SHORT = [
    {"name": "nas", "kind": "folder", "path": "nas", "slots": "weekday", "floor": 1},
    {"name": "disk", "kind": "folder", "path": "disk", "keep": {"last": 3}, "floor": 1},
]


@pytest.fixture
def office(tmp_path: Path) -> Site:
    """A small clinic with weekday slots on one target, three newest on the other."""
    make_clinic(tmp_path / "clinic.db", 250_000, wal=False)
    site = Site.make(tmp_path, ["nas", "disk"])
    site.change_plan(targets=KEPT_SHORT)
    return site


def noise_in_every_row(site: Site) -> None:
    """As ransomware that works inside the database: same tables, same row counts, nothing legible."""
    chance = random.Random(7)
    with closing(sqlite3.connect(site.database)) as opened, opened:
        opened.create_function("noise", 1, lambda value: chance.randbytes(len(str(value)) + 16))
        opened.execute("UPDATE patients SET name = noise(name), born = noise(born)")
        opened.execute("UPDATE visits SET note = noise(note), at = noise(at)")
        opened.execute("UPDATE ledger SET booked = noise(booked)")
        assert opened.execute("SELECT typeof(note) FROM visits LIMIT 1").fetchone()[0] == "blob"


def lose_a_third(site: Site) -> None:
    lose_rows(site, 0.3)


@pytest.mark.parametrize(
    ("damage", "marks", "every"),
    [(lose_a_third, {"row counts"}, 2), (noise_in_every_row, {"contents", "packing", "noise"}, 3)],
)
def test_damage_is_noticed_at_once_and_costs_no_older_backup(
    office: Site, damage: Callable[[Site], None], marks: set[str], every: int
) -> None:
    before = nights(office, FIRST, GOOD_NIGHTS)
    assert not any(one.rehearsed.anomalies for one in before)
    good = {name: office.objects(name) for name in ("nas", "disk")}
    assert [m["sequence"] for m in office.manifests("disk")] == [7, 8, 9]

    damage(office)
    after = [night(office, FIRST + timedelta(days=GOOD_NIGHTS + day)) for day in range(0, DAYS_AFTER, every)]

    for one in after:
        assert one.rehearsed.anomalies
        assert all(pruned.note.startswith("pruning suspended") for pruned in one.pruned)
        assert not any(pruned.removed for pruned in one.pruned)
    for name, held in good.items():
        assert set(held) <= set(office.objects(name))
        marked = [m for m in office.manifests(name) if m["sequence"] > GOOD_NIGHTS]
        assert len(marked) == len(after)
        assert all(set(m["marks"]) == marks for m in marked)
        assert not any("ledger" in str(m["marks"]) for m in marked)


def test_another_machine_with_the_plan_sees_the_mark(
    office: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    nights(office, FIRST, 3)
    lose_a_third(office)
    night(office, FIRST + timedelta(days=3))
    elsewhere = another_machine(office)

    assert elsewhere.run("list") == 0
    assert "marked: row counts" in " ".join(capsys.readouterr().out.split())
    assert elsewhere.run("prune", "--target", "disk") == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "pruning suspended: the newest backup here" in told
    assert "is marked (row counts)" in told

    assert elsewhere.run("prune", "--accept-change") == 0
    assert "accepted that number 4 is marked" in capsys.readouterr().out
    assert elsewhere.run("prune", "--target", "disk") == 0
    assert office.run("prune", "--target", "disk") == 1, "the first machine has its own say"


def test_restore_takes_the_last_backup_from_before_the_damage(
    office: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    nights(office, FIRST, 2)
    rows = ledger_rows(office.database)
    lose_a_third(office)
    night(office, FIRST + timedelta(days=2))

    from_disk = ("restore", "--folder", str(office.root / "disk"), "-i", str(office.keys[0]))
    assert office.run(*from_disk, "--to", str(office.root / "latest")) == 0
    assert "1 newer here are marked and were passed over (row counts)" in capsys.readouterr().err
    assert ledger_rows(office.root / "latest" / "clinic.db") == rows

    assert office.run(*from_disk, "--backup", "3", "--to", str(office.root / "marked")) == 0
    assert "is marked: it did not look like those before it" in capsys.readouterr().err
    assert ledger_rows(office.root / "marked" / "clinic.db") < rows


def test_marked_ones_never_push_out_good_ones_even_after_the_data_came_back(office: Site) -> None:
    nights(office, FIRST, 3)
    office.database.rename(office.root / "good.db")
    (office.database).write_bytes((office.root / "good.db").read_bytes())
    lose_a_third(office)
    for day in range(3, 7):
        night(office, FIRST + timedelta(days=day))
    (office.root / "good.db").replace(office.database)

    back = night(office, FIRST + timedelta(days=7))
    assert not back.rehearsed.anomalies
    held = [(m["sequence"], "marks" in m) for m in office.manifests("disk")]
    assert held == [(2, False), (3, False), *((n, True) for n in range(4, 8)), (8, False)]

    assert office.run("prune", "--accept-change") == 0
    night(office, FIRST + timedelta(days=8))
    assert [m["sequence"] for m in office.manifests("disk")] == [7, 8, 9]


def test_a_database_without_its_header_is_not_delivered(office: Site) -> None:
    nights(office, FIRST, 2)
    held = office.objects("nas")
    with office.database.open("r+b") as stream:
        stream.write(random.Random(1).randbytes(office.database.stat().st_size))
    with pytest.raises(DatasaveError, match="database"):
        night(office, FIRST + timedelta(days=2))
    assert office.objects("nas") == held


def another_machine(office: Site) -> Site:
    """The same plan with another state folder: it has seen no run, but trusts the first one's key."""
    machine = office.manifests("nas")[0]["machine"]
    plan = office.root / "elsewhere.yaml"
    plan.write_text(office.plan.read_text("utf-8"), "utf-8")
    other = Site(office.root, plan, office.keys)
    other.change_plan(state="elsewhere-state", signers=[machine])
    return other


def ledger_rows(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as opened:
        return int(opened.execute("SELECT count(*) FROM ledger").fetchone()[0])
