"""Data and backups apart: what the plan cannot know of places is asked of the engine and of the disks."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deployments.cli import app as cli
from tasks.backup.apart import refuse_overlap, shares_disk
from tasks.backup.preflight import preflight
from tasks.errors import PlanError
from tasks.health.doctor import checkup
from tasks.health.posture import posture_of
from tasks.records import Engine
from tests import mounts
from tests.flows.site import Site
from tests.unit.plan.material import CLASSIC, OTHER

Captured = pytest.CaptureFixture[str]


def database_with(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE patients (name TEXT)")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Where ``vault`` lies: a disk of its own."""
    with mounts.tmpfs(tmp_path / "disk") as path:
        yield path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site.make(tmp_path, ["nas"])
    database_with(made.database)
    return made


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("nas/16/main", "the target nas contains the live data of postgresql"),
        ("nas", "the target nas is the same place as the live data of mariadb"),
        (".", "the target nas lies inside the live data of sqlanywhere"),
    ],
)
def test_b8_a_target_in_the_folder_that_the_engine_names(site: Site, data: str, told: str) -> None:
    folder = site.root / data
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(kind=told.rpartition(" ")[2], version="1", bytes=1, data=str(folder))
    with pytest.raises(PlanError, match=told) as caught:
        refuse_overlap(site.context, engine)
    assert "another disk" in caught.value.hint
    refuse_overlap(site.context, engine.model_copy(update={"data": "/nowhere/on/this/machine"}))


def test_b8_the_preflight_refuses_what_came_between_since_the_plan_was_read(site: Site) -> None:
    """A link was put in the place of the target: it is found before anything is copied."""
    context = site.context
    (site.root / "nas").rename(site.root / "old")
    (site.root / "nas").symlink_to(site.root)
    with pytest.raises(PlanError, match="the target nas contains the live data of sqlite"):
        preflight(context, "folder")


def test_b8_the_same_disk_is_told_by_doctor_init_and_posture(
    site: Site, disk: Path, capsys: Captured
) -> None:
    target = {"kind": "folder", "path": str(disk / "vault")}
    site.change_plan(targets=[{"name": "nas", "kind": "folder", "path": "nas"}, {"name": "vault", **target}])
    capsys.readouterr()
    for name, beside in (("nas", True), ("vault", False)):
        assert site.run("target", "init", name) == 0
        said = capsys.readouterr()
        assert ("on the same disk as the data" in said.err) is beside, name
    found = {finding.check: finding.detail for finding in checkup(site.context)}
    assert "on the same disk as the data" in found["target nas"]
    assert "on the same disk" not in found["target vault"]
    rule = next(rule for rule in posture_of(site.context).results if rule.id == "other-disk")
    assert (rule.state, rule.found) == ("met", "on the data's disk: nas")
    site.change_plan(targets=[{"name": "nas", "kind": "folder", "path": "nas"}])
    rule = next(rule for rule in posture_of(site.context).results if rule.id == "other-disk")
    assert (rule.state, rule.must) == ("open", True)


def test_b8_a_target_that_is_not_there_is_on_no_disk(site: Site) -> None:
    (site.root / "nas" / ".datasave-target.json").unlink()
    with site.context.target("nas") as target:
        assert not shares_disk(site.context, target)


def test_d_init_prints_next_steps_that_work_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Also for a plan of another name, in a folder with a space, from somewhere else.

    tests/flows/test_first_steps.py takes the backup as well.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATASAVE_PLAN", raising=False)
    office = tmp_path / "front office"
    office.mkdir()
    database_with(office / "clinic.db")
    holders = [f"Owner={CLASSIC}", f"Bank safe={OTHER}"]
    words = ["init", str(office / "clinic.yaml"), "--path", "clinic.db", "--target", "nas=nas"]
    assert cli.main([*words, *(word for text in holders for word in ("--holder", text))]) == 0
    said = capsys.readouterr()
    assert "nas lies on the same disk as the data" in said.err
    steps = [line.strip() for line in said.out.splitlines() if line.startswith("  ")]
    assert [step.split()[1] for step in steps] == ["target", "doctor", "backup", "runbook", "serve"]
    for step in steps:
        if "backup" in step.split():
            continue
        program, *arguments = shlex.split(step)
        assert program == "datasave"
        assert cli.main(arguments) == 0, step
