"""The seven bad days of the domain, staged one by one, and recovered from by the runbook's own commands.

An office with SQLite and a PostgreSQL server; a folder target, drives that take turns and a locked bucket on
an S3 server. Each test breaks a copy of that office in one of the seven ways, then types what RUNBOOK.md
says, in order, as a person would: nothing in here knows how to restore.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from deployments.cli import app as cli
from deployments.serving.environment import home_of
from tasks.calendars import WEEKDAYS
from tasks.errors import TargetLocked
from tasks.health.runbook import runbook_of
from tests.conftest import ROOT, migrated_database
from tests.contract.s3_targets import credentials, secrets_in, variable
from tests.flows.engines import Engine, engine
from tests.flows.site import Site, counts
from tests.flows.warm import Child, Warm
from tests.mounts import Drive
from tests.servers.radosgw import Radosgw, s3
from tests.terminal import on_a_terminal, typed

__all__ = ["s3"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="drives are images mounted below /media"),
]

PLUG = Path("/media") / f"datasave-test-{os.getpid()}"


@dataclass(frozen=True)
class LostOffice:
    """A backed-up office in a folder of its own; ``machine`` is where a person types, with one key."""

    site: Site
    server: Engine
    drive: Drive
    bucket_keys: dict[str, str]
    rows: dict[str, int]
    commits: int
    machine: Path
    warm: Warm

    @property
    def database(self) -> Path:
        return self.site.root / "data" / "clinic.db"

    def type_in(self, command: str) -> tuple[int, str]:
        """Type a line of the runbook at a terminal, and the plan's name where that is asked for."""
        asked = "--in-place" in command and "--dry-run" not in command
        environment = {
            "PATH": f"{self.machine / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.machine / "home"),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.bucket_keys,
        }
        answers = [("type the name", "clinic")] if asked else []
        # The way back needs no Prefect, whose settings stand once it is imported.
        alone = command.startswith(("datasave restore ", "datasave rescue "))
        if not alone or set("|&;<>()$`*?~") & set(command):
            return typed(["sh", "-c", f"cd '{self.machine}' && {command}"], answers, environment)
        _, *words = shlex.split(command)

        def start(terminal: int) -> Child:
            screen = Path(os.ttyname(terminal))
            return self.warm.start("datasave", words, screen, environment, folder=self.machine, reads=screen)

        return on_a_terminal(start, answers)

    def follow(self, case: str, *, may_fail: bool = False) -> dict[str, str]:
        """Type every command of a case, in order; what each printed.

        All must succeed, unless ``may_fail``: where a place is gone the case itself names the next one.
        """
        printed = {}
        for command in self.commands(case):
            status, said = self.type_in(command)
            assert "Traceback" not in said, said
            assert may_fail or status == 0, f"{command}: {said}"
            printed[command] = said if status == 0 else f"FAILED: {said}"
        assert not all(said.startswith("FAILED") for said in printed.values()), printed
        return printed

    def commands(self, case: str) -> list[str]:
        text = (self.machine / "RUNBOOK.md").read_text("utf-8")
        parts = text.split("\n## ")
        section = next(part for part in parts if re.match(rf"Case \d: {re.escape(case)}\n", part))
        return re.findall(r"```sh\n\s*(.*?)\n\s*```", section)

    def came_back(self, folder: str = "restored") -> None:
        """Everything is in ``folder``: the clinic, and the ledger once a fresh server has it."""
        root = self.machine / folder
        assert counts(next(root.rglob("clinic.db"))) == self.rows
        with self.server.opened(next(root.rglob("dump"))) as connection:
            assert self.server.commits(connection) == self.commits


@pytest.fixture(scope="module")
def backed_up(
    tmp_path_factory: pytest.TempPathFactory, clinic: Path, prefect_server: str, s3: Radosgw, warm: Warm
) -> Iterator[LostOffice]:
    """The office, with a backup of each source on each target, and the drive taken home."""
    assert prefect_server
    root = tmp_path_factory.mktemp("template") / "office"
    (root / "data").mkdir(parents=True)
    shutil.copy(clinic, root / "data" / "clinic.db")
    drive = Drive.formatted(root.parent / "usb.img", "ext4", 64)
    bucket = s3.bucket(lock=True)
    with pytest.MonkeyPatch.context() as environment, engine("postgresql logical", root.parent) as server:
        secrets_in(environment, s3.admin)
        with server.writer() as writer:
            assert writer.wait_for_commit(30)
        site = Site.make(
            root,
            ["nas"],
            source={"kind": "sqlite", "path": "data/clinic.db"},
            also=[{"name": "ledger", **server.options}],
            keys={"contacts": ["Dana Reyes, manager, +1 555 0100"]},
        )
        vault = {"name": "vault", "kind": "s3", "bucket": bucket, "endpoint": s3.endpoint, "keep": "forever"}
        vault |= {"off_premises": True}
        site.change_plan(
            targets=[
                {"name": "nas", "kind": "folder", "path": "nas", "slots": "weekday"},
                {
                    "name": "drives",
                    "kind": "drive",
                    "calendar": {day: day.upper() for day in WEEKDAYS},
                    "mounts": [str(PLUG)],
                },
                vault | {"lock": {"mode": "compliance", "days": 1}} | credentials(s3.admin),
            ]
        )
        with drive.plugged_in(PLUG):
            today = WEEKDAYS[datetime.now(site.context.timezone).weekday()].upper()
            assert cli.main(["media", "init", str(PLUG), "--label", today, "--plan", str(site.plan)]) == 0
            assert site.run("backup") == 0
        keys = {"AWS_ACCESS_KEY_ID": s3.admin.access, "AWS_SECRET_ACCESS_KEY": s3.admin.secret}
        keys[variable(s3.admin)] = s3.admin.secret
        rows = counts(root / "data" / "clinic.db")
        yield LostOffice(site, server, drive, keys, rows, writer.commits, root, warm)
    PLUG.rmdir()


@pytest.fixture
def office(backed_up: LostOffice, tmp_path: Path) -> LostOffice:
    """A copy of the office to be destroyed, and beside it the machine at which a person sits."""
    root, machine = tmp_path / "office", tmp_path / "machine"
    shutil.copytree(backed_up.site.root, root)
    site = Site(root, root / "clinic.yaml", tuple(root / key.name for key in backed_up.site.keys))
    for folder in (machine / "bin", machine / "home"):
        folder.mkdir(parents=True)
    home = home_of(site.plan)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(migrated_database(), home / "prefect.db")
    program = machine / "bin" / "datasave"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m deployments "$@"\n', "utf-8")
    program.chmod(0o755)
    assert site.run("runbook", "--out", str(machine)) == 0
    shutil.move(site.keys[1], machine / "holder.key.txt")
    return replace(backed_up, site=site, machine=machine)


def at_the_office(office: LostOffice) -> LostOffice:
    """The person sits at the office's own machine, where the plan is."""
    for name in ("RUNBOOK.md", "holder.key.txt", "bin", "home"):
        shutil.move(office.machine / name, office.site.root / name)
    return replace(office, machine=office.site.root)


def test_the_plan_lies_on_every_target(backed_up: LostOffice) -> None:
    office = backed_up.site.context
    edition = f"Edition {runbook_of(office).edition}"
    assert edition in (backed_up.site.root / "nas" / "RUNBOOK.md").read_text("utf-8")
    with office.target("vault") as vault, vault.open("RUNBOOK.html") as page:
        assert edition in page.read().decode("utf-8")
    with backed_up.drive.plugged_in(PLUG), office.target("drives") as drive:
        assert drive.stat("RUNBOOK.md").bytes > 1000


def test_an_update_went_wrong(office: LostOffice) -> None:
    office.database.write_bytes(b"made by version 2 of another program" + office.database.read_bytes()[36:])
    with pytest.raises(sqlite3.DatabaseError):
        counts(office.database)
    office = at_the_office(office)
    office.follow("An update went wrong")
    assert counts(office.database) == office.rows
    assert (office.site.root / "data" / "DATASAVE").exists(), "the old data is kept"
    with office.server.opened(next(office.machine.glob("restored-*/dump"))) as connection:
        assert office.server.commits(connection) == office.commits


def test_the_power_went_out(office: LostOffice) -> None:
    with office.database.open("r+b") as stream:
        stream.truncate(office.database.stat().st_size // 2)
    with pytest.raises(sqlite3.DatabaseError):
        counts(office.database)
    office = at_the_office(office)
    office.follow("The power went out")
    assert counts(office.database) == office.rows


def test_files_were_deleted(office: LostOffice) -> None:
    office.database.unlink()
    office = at_the_office(office)
    office.follow("Files were deleted")
    assert counts(office.database) == office.rows


def test_everything_was_stolen(office: LostOffice) -> None:
    """The drive that was at home is left."""
    shutil.rmtree(office.site.root)
    with office.drive.plugged_in(PLUG):
        first = office.commands("Everything was stolen")[0]
        status, said = office.type_in(first)
    assert status == 0, said
    office.came_back()


def test_the_office_burned(office: LostOffice) -> None:
    """The drive as well; the locked bucket is left."""
    shutil.rmtree(office.site.root)
    said = office.follow("Fire or flood", may_fail=True)
    assert next(iter(said.values())).startswith("FAILED"), "no drive was there"
    office.came_back()


def test_a_backup_cannot_be_read(office: LostOffice) -> None:
    for archive in office.site.archives("nas"):
        with archive.open("r+b") as stream:
            stream.seek(archive.stat().st_size // 2)
            stream.write(bytes(100))
    office = at_the_office(office)
    with office.drive.plugged_in(PLUG):
        said = office.follow("A backup cannot be read", may_fail=True)
    restored = {
        c: not text.startswith("FAILED") for c, text in said.items() if c.startswith("datasave restore")
    }
    assert not any(came for command, came in restored.items() if " nas " in command), (
        "the damaged one is refused"
    )
    assert all(came for command, came in restored.items() if " nas " not in command), said
    assert "is whole again, from drives" in said["datasave repair --plan clinic.yaml --apply"]
    audit = next(text for command, text in said.items() if command.startswith("datasave audit"))
    assert "damaged" in audit
    for folder in ("restored-drives-clinic", "restored-vault-clinic"):
        assert counts(office.machine / folder / "clinic.db") == office.rows


def test_ransomware(office: LostOffice) -> None:
    """All that the machine could write to is noise, and its keys were used to delete the rest."""
    for path in (office.database, *office.site.archives("nas")):
        path.write_bytes(os.urandom(path.stat().st_size))
    with office.site.context.target("vault") as vault:
        for stat in vault.list():
            if stat.name.endswith((".age", ".manifest.json")):
                with pytest.raises(TargetLocked):
                    vault.delete(stat.name)
    shutil.rmtree(office.site.root)
    said = office.follow("Ransomware", may_fail=True)
    listed = next(text for command, text in said.items() if "s3://" in command and "--list" in command)
    assert "verified" in listed
    office.came_back()
