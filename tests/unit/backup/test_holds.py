"""What a person holds stays on every target, takes no other's place, and is told until it is released."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import time_machine

from tasks.backup.holds import hold, holds, release
from tasks.backup.preflight import next_sequence
from tasks.backup.retain import prune
from tasks.errors import PlanError
from tasks.health.status import status_of
from tests.unit.backup.shelved import left, office

LAST = {"keep": {"last": 2}, "floor": 2}


def test_a_held_backup_stays_beside_what_the_rules_keep(tmp_path: Path) -> None:
    site = office(tmp_path, **LAST)
    hold(site.context, "", 1, "for the court", None)
    prune(site.context, "nas")
    assert left(site) == [1, 4, 5], "neither of the two newest went for it"
    release(site.context, "", 1, date(2026, 12, 1))
    assert [gone.sequence for gone in prune(site.context, "nas").removed] == [1]


def test_a_hold_takes_nothing_from_the_floor(tmp_path: Path) -> None:
    site = office(tmp_path, keep={"last": 1}, floor=3)
    hold(site.context, "", 1, "for the court", None)
    prune(site.context, "nas")
    assert left(site) == [1, 3, 4, 5]


def test_a_hold_ends_with_its_last_day_in_the_plans_zone(tmp_path: Path) -> None:
    site = office(tmp_path, **LAST)
    site.change_plan(schedule={"timezone": "America/New_York"})
    hold(site.context, "", 1, "the update", date(2026, 12, 24))
    with time_machine.travel(datetime(2026, 12, 25, 4, tzinfo=UTC)):
        prune(site.context, "nas")
        assert 1 in left(site), "in New York it is still the 24th"
    with time_machine.travel(datetime(2026, 12, 25, 6, tzinfo=UTC)):
        prune(site.context, "nas")
        assert left(site) == [4, 5]


def test_what_is_not_held_cannot_be_released(tmp_path: Path) -> None:
    site = office(tmp_path, **LAST)
    hold(site.context, "", 1, "for the court", None)
    with pytest.raises(PlanError, match="number 2 of clinic is not held") as error:
        release(site.context, "", 2, date(2026, 12, 1))
    assert error.value.hint == "Held are: 1."


def test_the_commands_and_what_list_prune_and_status_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = office(tmp_path, **LAST)
    assert site.run("hold", "1", "--reason", "before the update", "--until", "2099-12-24") == 0
    assert "It lies on nas." in capsys.readouterr().out
    for command in (["list"], ["prune"]):
        assert site.run(*command) == 0
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "held through" in shown and "update" in shown, command
    (line,) = status_of(site.context).held
    assert (line.name, line.detail) == ("#1 of clinic", "before the update")
    assert site.run("release", "1") == 0
    assert holds(site.context, "", date(2026, 12, 1)) == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["hold", "99", "--reason", "typo"], "no target shows a backup of number 99"),
        (["hold", "1", "--reason", " "], "held for a reason"),
        (["hold", "1", "--reason", "x", "--until", "2020-01-01"], "is over"),
        (["hold", "1", "--reason", "x", "--until", "soon"], "is not a date"),
        (["release", "1"], "is not held"),
    ],
)
def test_what_cannot_be_meant_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    site = office(tmp_path, **LAST)
    assert site.run(*arguments) == 1
    shown = capsys.readouterr()
    assert told in " ".join((shown.out + shown.err).split())
    assert holds(site.context, "", date(2026, 12, 1)) == {}


@pytest.mark.parametrize("said", ["hold", "release"])
def test_b4_a_memory_put_back_the_same_evening_is_known_to_be_old(tmp_path: Path, said: str) -> None:
    """No run came between what the person said and the snapshot that was put back."""
    site = office(tmp_path, **LAST)
    if said == "release":
        assert site.run("hold", "1", "--reason", "for the court") == 0
    saved = site.context.state.with_name("saved")
    shutil.copytree(site.context.state, saved)
    assert (
        site.run(*(["hold", "1", "--reason", "for the court"] if said == "hold" else ["release", "1"])) == 0
    )
    shutil.rmtree(site.context.state)
    saved.rename(site.context.state)
    next_sequence(site.context, "tonight")
    pruned = prune(site.context, "nas")
    assert pruned.removed == () and "knows a longer journal than this machine has" in pruned.note
    assert 1 in left(site)


def test_b4_a_target_that_is_away_keeps_nobody_from_holding(tmp_path: Path) -> None:
    site = office(tmp_path, **LAST)
    (tmp_path / "nas").rename(tmp_path / "away")
    assert site.run("hold", "1", "--reason", "for the court") == 0
    (tmp_path / "away").rename(tmp_path / "nas")
    prune(site.context, "nas")
    assert 1 in left(site)
