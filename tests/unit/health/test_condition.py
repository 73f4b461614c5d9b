"""What was found damaged or missing is remembered, shown, and counts nowhere until it is whole again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.cli import app as cli
from deployments.cli import screen
from tasks.age.x25519 import X25519Identity
from tasks.backup.condition import Witness, damaged, known_at, missing_at, note_delivered
from tasks.backup.due_targets import not_due
from tasks.backup.retain import clear_unfinished, prune, shelf_of, verdicts
from tasks.context import PlanContext
from tasks.errors import AgeError
from tasks.health.audit import audit_target
from tasks.health.history import remember
from tasks.health.status import status_of
from tasks.journal.journal import Journal
from tasks.journal.kinds import Kind
from tasks.manifests.manifest import to_json
from tasks.manifests.shelf import newest_verified
from tasks.platform.files import private_folder
from tasks.records import Contents, Profile
from tasks.recovery.find import choose, origin_of
from tasks.recovery.recover import Opened, fetch
from tasks.targets.capabilities import MediumMarker, SupportsMedia, Turn
from tasks.targets.memory.target import MemoryTarget
from tasks.targets.shared.unmarked import UnmarkedFolder
from tests.unit.health.stocked import archive, failed, office, path_of, rot, stated, stock
from tests.unit.health.test_status import NOON, ran
from tests.unit.manifests.shelves import TAKEN

NOW = TAKEN + timedelta(days=4, hours=10)
NOTHING = Contents(files=(), profile=Profile(tables=()), findings=())
LOST = "what was delivered is there"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal so wide that no sentence is broken."""
    monkeypatch.setattr(screen.out, "width", 400)


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    """Four good backups on the nas, of which the newest rots."""
    made = office(tmp_path, "nas", keep={"last": 2}, floor=1)
    stock(made, "nas", 1, 2, 3, 4)
    rot(path_of(made, "nas", 4))
    return made


def good_on(context: PlanContext, target: str = "nas") -> list[int]:
    with context.target(target) as place:
        return [one.manifest.sequence for one in shelf_of(context, place) if one.good and one.manifest]


def audit(context: PlanContext, target: str = "nas") -> dict[str, str]:
    return failed(audit_target(context, target, now=NOW))


def test_a3_damage_that_an_audit_saw_never_counts(context: PlanContext) -> None:
    assert "reads back" in " ".join(audit(context))
    assert good_on(context) == [1, 2, 3]
    assert [
        v.backup.manifest.sequence for v in verdicts(context, "nas")[0] if v.kept and v.backup.manifest
    ] == [2, 3, 4]
    stock(context, "nas", 5)
    assert len(prune(context, "nas").removed) == 2, "of 1, 2, 3 and 5 the last two stay"
    assert good_on(context) == [3, 5]
    assert path_of(context, "nas", 4).exists(), "what is damaged is kept aside"


def test_a3_damage_is_shown_until_it_is_whole_again(context: PlanContext, capsys: Captured) -> None:
    audit(context)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    told = f"found damaged on {day} (audit): its sha256 is not the one that its manifest states"
    assert cli.main(["list", "--plan", str(context.path)]) == 0
    listed = capsys.readouterr().out
    assert listed.count("verified") == 3 and listed.count(told) == 1
    assert told in audit(context)["backup counts"], "the next audit says it as well"
    assert len(context.journal.entries(Kind.DAMAGED)) == 1, "it is no news"
    path_of(context, "nas", 4).write_bytes(archive(4))
    assert audit(context) == {}, "it was read whole again, and is right"
    assert good_on(context) == [1, 2, 3, 4]
    assert [entry.facts["sequence"] for entry in context.journal.entries(Kind.SOUND)] == [4]


def test_a3_the_latest_is_the_newest_that_is_not_damaged(context: PlanContext) -> None:
    audit(context)
    with context.target("nas") as place:
        newest = newest_verified(shelf_of(context, place))
        choice = choose(origin_of(context, place, ""), "latest")
    assert newest is not None and newest.manifest == choice.manifest == stated(context, 3)
    (line,) = choice.warnings
    assert (
        line.startswith("#4 of ") and "is newer and not used: found damaged on" in line and "repair" in line
    )


def test_a3_the_status_goes_by_what_is_not_damaged(context: PlanContext) -> None:
    for number in (3, 4):
        started = NOON - timedelta(hours=10 + 24 * (4 - number))
        run = ran(started, sequence=number, targets={"nas": "delivered"})
        (delivery,) = run.deliveries
        named = delivery.model_copy(update={"name": stated(context, number).sealed_name})
        remember(context, run.model_copy(update={"deliveries": (named,)}))
    assert status_of(context, NOON).good
    audit(context)
    status = status_of(context, NOON)
    (line,) = status.targets
    assert "newest proven backup: #3 of" in line.detail and "#4 is newer and found damaged on" in line.detail
    assert any(
        alarm.startswith("nas: #4 is found damaged") and "datasave repair" in alarm for alarm in status.alarms
    )


def test_a3_damage_on_one_target_says_nothing_of_another(tmp_path: Path) -> None:
    context = office(tmp_path, "nas", "cellar", keep={"last": 2})
    for name in ("nas", "cellar"):
        stock(context, name, 1, 2)
    rot(path_of(context, "cellar", 2))
    audit(context, "nas"), audit(context, "cellar")
    assert (good_on(context, "nas"), good_on(context, "cellar")) == ([1, 2], [1])


def test_a3_what_is_delivered_anew_counts_again(context: PlanContext) -> None:
    audit(context)
    stock(context, "nas", 4)
    assert good_on(context) == [1, 2, 3, 4]
    assert damaged(context) == ()


def test_a3_a_manifest_that_is_gone_leaves_no_cut_off_delivery(context: PlanContext) -> None:
    """By what was delivered: `prune --unfinished` would otherwise remove a proven archive."""
    path = path_of(context, "nas", 3)
    path.with_name(path.name.replace(".tar.zst.age", ".manifest.json")).unlink()
    assert audit(context)["backup counts"].endswith("its manifest is gone: the archive was delivered whole")
    assert clear_unfinished(context, "nas") == ()
    assert path.exists()


@pytest.mark.parametrize("found_by", ["restore", "drill"])
def test_a3_damage_that_a_restore_or_drill_meets_is_remembered(
    context: PlanContext, tmp_path: Path, found_by: str
) -> None:
    """These archives are no age files: what is not damaged either is no reason to discount a backup."""
    for number, known in ((3, []), (4, [4])):
        with context.target("nas") as place:
            choice = choose(origin_of(context, place, "", found_by), str(number))
            opened = Opened(choice, (X25519Identity.generate(),), NOTHING)
            with pytest.raises(AgeError):
                fetch(opened, private_folder(tmp_path / "room"))
        assert [one.sequence for one in damaged(context)] == known
    assert f"({found_by})" in damaged(context)[0].damage
    assert good_on(context) == [1, 2, 3]


def test_a3_damage_of_a_place_that_is_no_target_is_none_of_ours(context: PlanContext, tmp_path: Path) -> None:
    shutil.copytree(context.path.parent / "nas", tmp_path / "stick")
    choice = choose(origin_of(context, UnmarkedFolder(tmp_path / "stick"), ""), "4")
    with pytest.raises(AgeError):
        fetch(Opened(choice, (X25519Identity.generate(),), NOTHING), private_folder(tmp_path / "room"))
    assert damaged(context) == ()


def lose(context: PlanContext, number: int, target: str = "nas") -> None:
    """Both files of a backup are deleted by hand."""
    path = path_of(context, target, number)
    path.unlink()
    path.with_name(path.name.replace(".tar.zst.age", ".manifest.json")).unlink()


@pytest.mark.parametrize("numbers", [(4,), (1,), (1, 2, 3, 4)])
def test_b6_what_was_deleted_by_hand_is_named(
    context: PlanContext, numbers: tuple[int, ...], capsys: Captured
) -> None:
    """The newest, an old one, all of them."""
    path_of(context, "nas", 4).write_bytes(archive(4))
    assert audit(context) == {}
    for number in numbers:
        lose(context, number)
    told = "delivered, not removed by Datasave, and not there any more"
    lost = [f.detail for f in audit_target(context, "nas", now=NOW) if f.check == LOST and not f.passed]
    for number, detail in zip(numbers, lost, strict=True):
        assert detail.startswith(f"nas: #{number} ({stated(context, number).sealed_name}) was {told}")
        assert "datasave repair" in detail
    assert cli.main(["list", "--plan", str(context.path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if told in line]
    assert all(f"#{number} (" in line for number in numbers)
    alarms = [alarm for alarm in status_of(context, NOW).alarms if "is found missing on" in alarm]
    assert len(alarms) == len(numbers)


def test_b6_what_comes_back_counts_when_it_was_read(context: PlanContext) -> None:
    lose(context, 2)
    assert "#2 (clinic-" in audit(context)[LOST]
    stock(context, "nas", 3)
    path = path_of(context, "nas", 2)
    path.write_bytes(archive(2))
    path.with_name(path.name.replace(".tar.zst.age", ".manifest.json")).write_bytes(
        to_json(stated(context, 2))
    )
    path_of(context, "nas", 4).write_bytes(archive(4))
    assert 2 not in good_on(context), "whoever put it there"
    assert audit(context) == {}
    assert good_on(context) == [1, 2, 3, 4]


def test_b6_what_a_nas_moved_away_is_missing_and_told_where_it_is(context: PlanContext) -> None:
    folder = context.path.parent / "nas" / "#recycle"
    folder.mkdir()
    path = path_of(context, "nas", 1)
    for moved in (path, path.with_name(path.name.replace(".tar.zst.age", ".manifest.json"))):
        moved.rename(folder / moved.name)
    assert audit(context)[LOST].endswith(
        " was delivered, not removed by Datasave, and not there any more (see #recycle/). "
        "`datasave repair` puts a good copy there"
    )


def test_b6_what_datasave_removed_is_not_missed(context: PlanContext) -> None:
    stock(context, "nas", 4, 5)
    prune(context, "nas")
    assert LOST not in audit(context)


def test_b6_each_medium_answers_for_what_lies_on_it(tmp_path: Path) -> None:
    """Of drives that take turns the one that is away has its backups with it."""
    context = office(tmp_path, "nas")
    drives = TwoMedia("nas")
    for label, number in (("MON", 1), ("TUE", 2)):
        drives.label = label
        note_delivered(context, drives, stated(context, number).sealed_name, stated(context, number))
    (lost,) = missing_at(context, drives, "clinic", [])
    assert (lost.sequence, lost.medium) == (2, "TUE")
    Witness(context, drives, "audit").missing(lost)
    assert [(one.sequence, one.medium) for one in damaged(context)] == [(2, "TUE")]
    drives.label = "MON"
    assert [one.sequence for one in missing_at(context, drives, "clinic", [])] == [1]
    assert known_at(context, drives).damaged == {}
    drives.series = "new"
    assert missing_at(context, drives, "clinic", []) == (), "a new medium of that label is another one"


class TwoMedia(MemoryTarget, SupportsMedia):
    """A target of two media, of which ``label`` is plugged in."""

    label = "MON"
    series = "old"

    def use(self, turn: Turn | None) -> None: ...

    def medium(self, operation: str) -> MediumMarker:
        name = f"{self.series} {self.label}"
        return MediumMarker(id=name, label=self.label, plan="clinic", target=self.name, made=TAKEN)

    def at_hand(self) -> dict[Path, MediumMarker]:
        return {}

    def init_medium(self, root: Path, label: str, plan: str, never: Iterable[Path] = ()) -> MediumMarker:
        raise NotImplementedError


def test_a3_a_target_whose_newest_backup_is_damaged_is_due_again(tmp_path: Path) -> None:
    context = office(tmp_path, "cellar", when={"weekly": "fri"})
    saturday = (TAKEN + timedelta(days=5)).date()
    assert not_due(context, "", saturday) == {}, "nothing was delivered yet"
    stock(context, "cellar", 3, 4)
    assert set(not_due(context, "", saturday)) == {"cellar"}
    rot(path_of(context, "cellar", 4))
    audit(context, "cellar")
    assert not_due(context, "", saturday) == {}


def test_the_journal_is_folded_once_for_many_questions(
    context: PlanContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit(context)
    before = damaged(context)
    asked: list[object] = []
    real = Journal.entries
    monkeypatch.setattr(Journal, "entries", lambda self, *kinds: asked.append(kinds) or real(self, *kinds))
    assert damaged(context) == before and damaged(PlanContext(context.path), "nas") == before
    assert not [kinds for kinds in asked if Kind.DAMAGED in kinds]  # type: ignore[operator]
    stock(context, "nas", 5)
    assert damaged(context) == before and any(Kind.DAMAGED in kinds for kinds in asked)  # type: ignore[operator]


@pytest.mark.parametrize(
    "to", [str.upper, lambda name: f"{name}.bak", None], ids=["case", "ending", "deleted"]
)
def test_b5_the_latest_is_not_there_any_more(context: PlanContext, to: Callable[[str], str] | None) -> None:
    """No file says that there was a newer one; the journal does."""
    whole = path_of(context, "nas", 4)
    for path in (whole, whole.with_name(whole.name.replace(".tar.zst.age", ".manifest.json"))):
        path.rename(path.with_name(to(path.name))) if to else path.unlink()
    with context.target("nas") as place:
        choice = choose(origin_of(context, place, ""), "latest")
        asked = choose(origin_of(context, place, ""), "2")
    assert choice.manifest == stated(context, 3) and asked.warnings == ()
    (line,) = choice.warnings
    assert "#4 of " in line and "it was delivered there and is not there any more" in line


def test_b6_what_lies_in_another_slot_is_not_lost(tmp_path: Path) -> None:
    """Somebody gave the folder of the day another case; the backup counts there."""
    made = office(tmp_path, "nas", slots="weekday", floor=1)
    stock(made, "nas", 1)
    path = path_of(made, "nas", 1)
    (slot := path.parent / "mon").mkdir()
    for file in (path, path.with_name(path.name.replace(".tar.zst.age", ".manifest.json"))):
        file.rename(slot / file.name)
    assert good_on(made) == [1] and LOST not in audit(made)
    assert prune(made, "nas").broken == ()


def test_b6_a_run_names_what_it_saw_damaged_or_missing(context: PlanContext) -> None:
    """What was delivered there; another's files and a delivery that was cut off are no loss."""
    audit(context)
    lose(context, 1)
    whole = path_of(context, "nas", 2)
    whole.with_name(whole.name.replace(".tar.zst.age", ".manifest.json")).unlink()
    (path_of(context, "nas", 1).with_name("clinic-000099-20261120T020000Z.tar.zst.age")).write_bytes(b"cut")
    pruned = prune(context, "nas")
    told = "; ".join(pruned.broken)
    assert "000004" in told and "found damaged on" in told
    assert "its manifest is gone" in told and "#1 (" in told and "not removed by Datasave" in told
    assert len(pruned.broken) == 3 and all("datasave repair" in one for one in pruned.broken)
    assert prune(context, "nas").note == ""


def test_a3_a_target_that_is_lost_as_a_whole_fills_no_pages(context: PlanContext) -> None:
    stock(context, "nas", *range(5, 15))
    for number in range(1, 15):
        path_of(context, "nas", number).write_bytes(b"")
    told = prune(context, "nas").broken
    assert len(told) == 6 and "000014" in told[0] and told[-1].startswith("9 more are damaged")
