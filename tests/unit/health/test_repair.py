"""A broken backup is put right from another place's good copy; killed in the middle, nothing is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from deployments.cli import app as cli
from deployments.cli import screen
from tasks.backup.condition import damaged
from tasks.backup.retain import shelf_of
from tasks.backup.spool import Spooled, remember
from tasks.backup.workspace import Workspace
from tasks.context import PlanContext
from tasks.errors import NoBackup, ReadBackError
from tasks.health.audit import audit_target
from tasks.health.repair import STAGING, Mend, audit_and_repair, give_up, look, repair
from tasks.journal.kinds import Kind
from tasks.manifests.manifest import to_json
from tasks.records import Engine, Rehearsed, Run, Sealed, Stat
from tasks.targets.folder.target import FolderTarget
from tests.unit.health.stocked import SIZE, archive, failed, office, path_of, rot, stated, stock
from tests.unit.health.test_condition import NOW, lose


@pytest.fixture
def context(tmp_path: Path) -> PlanContext:
    made = office(tmp_path, "nas", "cellar", keep={"last": 9})
    for name in ("nas", "cellar"):
        stock(made, name, 1, 2, 3, 4)
    return made


def audit(context: PlanContext, target: str = "nas") -> dict[str, str]:
    return failed(audit_target(context, target, read_all=True, now=NOW))


def mends(context: PlanContext, *names: str) -> tuple[Mend, ...]:
    return look(context, names or ("nas",)).mends


def manifest_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".tar.zst.age", ".manifest.json"))


def rotten(context: PlanContext) -> None:
    rot(path_of(context, "nas", 2))


def cut_short(context: PlanContext) -> None:
    os.truncate(path_of(context, "nas", 2), 100)


def archive_gone(context: PlanContext) -> None:
    path_of(context, "nas", 2).unlink()


def manifest_gone(context: PlanContext) -> None:
    manifest_of(path_of(context, "nas", 2)).unlink()


def manifest_empty(context: PlanContext) -> None:
    manifest_of(path_of(context, "nas", 2)).write_bytes(b"")


def manifest_edited(context: PlanContext) -> None:
    path = manifest_of(path_of(context, "nas", 2))
    path.write_bytes(path.read_bytes().replace(b'"copy_bytes": 7', b'"copy_bytes": 8'))


def manifest_renamed(context: PlanContext) -> None:
    path = manifest_of(path_of(context, "nas", 2))
    path.rename(path.with_name("renamed.manifest (1).json"))


def both_gone(context: PlanContext) -> None:
    lose(context, 2)


def both_spoiled(context: PlanContext) -> None:
    rotten(context)
    manifest_empty(context)


HARMS = [
    rotten,
    cut_short,
    archive_gone,
    manifest_gone,
    manifest_empty,
    manifest_edited,
    manifest_renamed,
    both_gone,
    both_spoiled,
]


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_broken_is_repaired_from_another_target(context: PlanContext, harm: object) -> None:
    assert callable(harm)
    harm(context)
    assert audit(context)
    (mend,) = mends(context)
    assert (mend.broken.sequence, [copy.place for copy in mend.copies]) == (2, ["cellar"])
    before = {path.name: path.read_bytes() for path in (context.path.parent / "nas").iterdir()}
    assert mends(context) == (mend,), "looking changes nothing"
    assert before == {path.name: path.read_bytes() for path in (context.path.parent / "nas").iterdir()}
    assert repair(context, mend) == "cellar"
    assert path_of(context, "nas", 2).read_bytes() == archive(2)
    assert audit(context) == {}
    assert mends(context) == () and damaged(context) == ()
    facts = [entry.facts["from_target"] for entry in context.journal.entries(Kind.REPAIRING, Kind.REPAIRED)]
    assert facts == ["cellar", "cellar"]
    assert not list(context.staging.rglob("*.age"))


def test_a_copy_that_is_damaged_too_is_never_taken(context: PlanContext) -> None:
    """It looks whole: only reading it tells. What it is found to be is known from then on."""
    rotten(context)
    rot(path_of(context, "cellar", 2))
    audit(context)
    (mend,) = mends(context)
    before = path_of(context, "nas", 2).read_bytes()
    with pytest.raises(NoBackup, match=r"no whole copy .*that in cellar is damaged as well"):
        repair(context, mend)
    assert path_of(context, "nas", 2).read_bytes() == before
    assert {one.target for one in damaged(context)} == {"nas", "cellar"}
    assert [one.copies for one in mends(context, "nas", "cellar")] == [(), ()]


def test_the_damaged_one_stays_where_the_medium_keeps_nothing(
    context: PlanContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotten(context)
    audit(context)
    (mend,) = mends(context)
    before = path_of(context, "nas", 2).read_bytes()
    real = FolderTarget.put

    def put(self: FolderTarget, name: str, *arguments: Any) -> Stat:
        stat = real(self, name, *arguments)
        rot(context.path.parent / self.name / name)
        return stat

    monkeypatch.setattr(FolderTarget, "put", put)
    with pytest.raises(ReadBackError, match="is not what was written"):
        repair(context, mend)
    assert path_of(context, "nas", 2).read_bytes() == before
    assert [one.sequence for one in damaged(context)] == [2]


def test_what_waits_in_staging_is_a_copy_as_well(tmp_path: Path) -> None:
    context = office(tmp_path, "nas")
    stock(context, "nas", 1, 2, 3, 4)
    record = stated(context, 2)
    workspace = Workspace(context.staging / str(uuid4()))
    workspace.sealed.mkdir(parents=True)
    path, manifest = workspace.sealed / record.sealed_name, workspace.sealed / "manifest.json"
    path.write_bytes(archive(2))
    manifest.write_bytes(to_json(record))
    workspace.mark("sealed")
    engine = Engine(kind="sqlite", version="3", bytes=1)
    scope = {"plan": context.path, "id": workspace.folder.name, "source": "clinic", "sequence": 2}
    remember(
        context,
        Spooled(
            run=Run(**scope, started=record.taken, engine=engine),
            sealed=Sealed(path=path, name=path.name, bytes=SIZE, sha256=record.sealed_sha256),
            rehearsed=Rehearsed(findings=(), seconds=1.0, manifest=manifest),
        ),
    )
    lose(context, 2)
    (mend,) = mends(context)
    assert repair(context, mend) == STAGING
    assert path_of(context, "nas", 2).read_bytes() == archive(2)
    assert audit(context) == {}
    rotten(context)
    rot(path)
    audit(context)
    with pytest.raises(NoBackup):
        repair(context, *mends(context))


@pytest.mark.parametrize("harm", [rotten, both_gone, both_spoiled])
def test_killed_at_every_point_nothing_is_lost(context: PlanContext, harm: object) -> None:
    """Each time what lies there is the damaged one or the good one; the next repair ends it."""
    assert callable(harm)
    harm(context)
    audit(context)
    point = 0
    while _killed_at(context, point):
        point += 1
        assert path_of(context, "cellar", 2).read_bytes() == archive(2)
        with context.target("nas") as place:
            shelf = shelf_of(context, place)
        verified = [one.manifest.sequence for one in shelf if one.verified and one.manifest]
        whole = path_of(context, "nas", 2).exists() and path_of(context, "nas", 2).read_bytes() == archive(2)
        assert verified in ([1, 3, 4], [1, 2, 3, 4]) and (2 not in verified or whole)
        # As before, so that each point is reached anew.
    assert point > 8
    assert audit(context) == {}


def _killed_at(context: PlanContext, point: int) -> bool:
    """Repair in a process that dies at its n-th call of the system's that may change something."""
    child = os.fork()
    if child == 0:
        calls = 0

        def counted(real: object) -> object:
            def call(*arguments: object, **options: object) -> object:
                nonlocal calls
                calls += 1
                if calls > point:
                    os.kill(os.getpid(), signal.SIGKILL)
                assert callable(real)
                return real(*arguments, **options)

            return call

        try:
            for name in ("open", "fsync", "write", "rename", "replace", "unlink"):
                setattr(os, name, counted(getattr(os, name)))
            for mend in mends(PlanContext(context.path)):
                repair(PlanContext(context.path), mend)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_what_is_gone_for_good_is_given_up_when_asked(context: PlanContext) -> None:
    lose(context, 2)
    audit(context)
    (mend,) = mends(context)
    assert not give_up(context, mend, "dana"), "it can be repaired"
    lose(context, 2, "cellar")
    (mend,) = mends(context)
    assert mend.copies == ()
    assert give_up(context, mend, "dana")
    assert mends(context) == ()
    assert audit(context) == {}
    (entry,) = context.journal.entries(Kind.REMOVED)
    assert entry.facts["reason"] == "lost, and given up by dana"


def test_what_is_not_ours_to_repair_is_left(context: PlanContext) -> None:
    """A cut-off delivery, another machine's backup, copies in other folders."""
    root = context.path.parent / "nas"
    (root / stated(context, 4).sealed_name.replace("-000004", "-000009")).write_bytes(b"half")
    (root / "old").mkdir()
    (root / "old" / stated(context, 4).sealed_name).write_bytes(b"whatever")
    assert mends(context) == ()


def test_an_audit_repairs_where_the_plan_wants_it(context: PlanContext) -> None:
    rotten(context)
    found = failed(audit_and_repair(context, "nas", read_all=True))
    assert "archive reads back" in found, "the plan does not"
    plan = yaml.safe_load(context.path.read_text("utf-8"))
    context.path.write_text(yaml.safe_dump({**plan, "audit": {"repair": True}}), "utf-8")
    wanting = PlanContext(context.path)
    findings = audit_and_repair(wanting, "nas", read_all=True)
    (repaired,) = [finding for finding in findings if finding.check == "repaired"]
    name = stated(context, 2).sealed_name
    assert repaired.passed and repaired.detail.startswith(f"{name} on nas (found damaged")
    assert repaired.detail.endswith(", from cellar")
    assert set(failed(findings)) <= {"newest is fresh"}
    lose(context, 3), lose(context, 3, "cellar")
    found = failed(audit_and_repair(wanting, "nas", read_all=True))
    assert "no whole copy of" in found["repaired"]


def test_the_command_shows_first_and_does_what_it_showed(
    context: PlanContext, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen.out, "width", 300)
    command = ["repair", "--plan", str(context.path)]
    assert cli.main(command) == 0
    assert "No backup is known to be damaged or gone" in capsys.readouterr().out
    rotten(context)
    lose(context, 3), lose(context, 3, "cellar")
    audit(context)
    before = path_of(context, "nas", 2).read_bytes()
    assert cli.main(command) == 0
    shown = capsys.readouterr().out
    assert (
        "#2" in shown and "found damaged on" in shown and "cellar" in shown and "Nothing was changed" in shown
    )
    assert "#3" in shown and "not there any more" in shown and "none" in shown
    assert path_of(context, "nas", 2).read_bytes() == before
    assert cli.main([*command, "--apply"]) == 1, "nobody has #3"
    said = capsys.readouterr()
    assert "#2 on nas is whole again, from cellar" in said.out and "no whole copy of" in said.err
    assert cli.main([*command, "--apply", "--give-up"]) == 0
    assert capsys.readouterr().out.count("is given up") == 2
    assert audit(context) == audit(context, "cellar") == {}
