"""From each target alone, on an empty machine with one identity file: list, drill, restore.

One backup run delivers to a target of each kind, on real servers and a real file system. Then each is all
that is left: a fresh process with an empty home, an empty folder and nothing of the office.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from deployments.cli import app as cli
from tasks.age.file import encrypt
from tasks.age.keys import ScryptRecipient
from tasks.age.x25519 import X25519Identity
from tasks.calendars import WEEKDAYS
from tests.conftest import ROOT
from tests.contract.s3_targets import credentials, secrets_in
from tests.flows.site import Site, counts
from tests.flows.warm import Warm
from tests.mounts import ext4
from tests.servers.account import PASSWORD, USER
from tests.servers.radosgw import Radosgw, s3
from tests.servers.samba import Samba, samba
from tests.servers.sshd import Sshd, sshd

__all__ = ["s3", "samba", "sshd"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KINDS = ["folder", "drive", "s3", "sftp", "smb"]


@dataclass(frozen=True)
class Address:
    """How a place is named on the command line, and what the account's environment must hold for it."""

    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Left:
    """What is left of an office: its five targets, a holder's key, what was in its database.

    ``named`` is another way to a place, where there is one; ``signer`` is on the key's sheet.
    """

    site: Site
    addresses: dict[str, Address]
    named: dict[str, Address]
    rows: dict[str, int]
    signer: tuple[str, str]


@pytest.fixture(scope="module")
def left(
    tmp_path_factory: pytest.TempPathFactory,
    clinic: Path,
    prefect_server: str,
    s3: Radosgw,
    sshd: Sshd,
    samba: Samba,
) -> Iterator[Left]:
    """Two backups on a target of each kind; the office itself is gone."""
    assert prefect_server
    root = tmp_path_factory.mktemp("office")
    shutil.copy(clinic, root / "clinic.db")
    site = Site.make(root, ["nas"])
    bucket = s3.bucket()
    vault, share = sshd.place("rescue"), samba.place("rescue")
    calendar = {day: day.upper() for day in WEEKDAYS}
    site.change_plan(
        targets=[
            {"name": "nas", "kind": "folder", "path": "nas", "slots": "weekday", "floor": 2},
            {"name": "drives", "kind": "drive", "calendar": calendar, "mounts": [f"{root}/media/*"]},
            {"name": "cloud", "kind": "s3", "bucket": bucket, "prefix": "clinic", "endpoint": s3.endpoint}
            | credentials(s3.admin),
            sshd.options(vault).model_dump(mode="json", exclude_none=True) | {"name": "vault"},
            samba.options(share).model_dump(mode="json", exclude_none=True) | {"name": "share"},
        ]
    )
    with pytest.MonkeyPatch.context() as environment, ext4(root / "usb", 64) as drive:
        secrets_in(environment, s3.admin)
        environment.setenv("SMB_PASSWORD", PASSWORD)
        (root / "media").mkdir()
        stick = root / "media" / "usb"
        stick.mkdir()
        subprocess.run(["mount", "--bind", str(drive.path), str(stick)], check=True)
        try:
            _back_up_twice(site, stick)
            rows, signer = counts(site.database), site.signer
            _lose_the_office(site)
            addresses = {
                "folder": Address((str(root / "nas"),)),
                # Not named at all: found among what is plugged in.
                "drive": Address(("--mounts", f"{root}/media/*")),
                "s3": Address(
                    (f"s3://{bucket}/clinic", "--endpoint", s3.endpoint),
                    {"AWS_ACCESS_KEY_ID": s3.admin.access, "AWS_SECRET_ACCESS_KEY": s3.admin.secret},
                ),
                "sftp": Address(
                    (
                        f"sftp://{USER}@127.0.0.1:{sshd.port}{vault}",
                        *("--key", str(sshd.folder / "client")),
                        *("--host-key", sshd.host_key()),
                    )
                ),
                "smb": Address(
                    (f"smb://{USER}@127.0.0.1:{samba.port}/backup/rescue", "--password", "env:SHARE"),
                    {"SHARE": PASSWORD},
                ),
            }
            yield Left(site, addresses, {"drive": Address((str(stick),))}, rows, signer)
        finally:
            subprocess.run(["umount", str(stick)], check=True)


def _back_up_twice(site: Site, stick: Path) -> None:
    plan = ("--plan", str(site.plan))
    today = WEEKDAYS[datetime.now(site.context.timezone).weekday()].upper()
    assert cli.main(["media", "init", str(stick), "--label", today, *plan]) == 0
    for name in ("vault", "share"):
        assert cli.main(["target", "init", name, *plan]) == 0
    assert site.run("backup") == 0
    assert site.run("backup", "--target", "nas", "--target", "cloud", "--target", "vault") == 0


def _lose_the_office(site: Site) -> None:
    shutil.rmtree(site.context.state)
    site.database.unlink()
    site.plan.unlink()
    site.keys[1].unlink()


@dataclass(frozen=True)
class Machine:
    """An empty machine: a home and a folder with nothing in them but one key."""

    root: Path
    key: Path
    warm: Warm
    log: Path

    def rescue(self, way: Address, *words: str, status: int = 0, command: str = "rescue") -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
            "AWS_EC2_METADATA_DISABLED": "true",
            **way.environment,
        }
        log = self.log / "rescue.log"
        log.unlink(missing_ok=True)
        child = self.warm.start(
            "datasave", [command, *way.words, *words], log, environment, folder=self.root / "here"
        )
        ended, said = child.wait(300), log.read_text("utf-8")
        assert ended == status, said
        assert "Traceback" not in said
        return said

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*"))


@pytest.fixture
def machine(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, left: Left, warm: Warm) -> Machine:
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    key = tmp_path / "here" / "owner.key.txt"
    shutil.copy(left.site.keys[0], key)
    return Machine(tmp_path, key, warm, tmp_path_factory.mktemp("log"))


def mutable(root: Path) -> dict[str, tuple[int, int]]:
    """Every file below, with size and time of change."""
    found = [path for path in root.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("kind", KINDS)
def test_list_drill_and_restore_from_one_target_alone(left: Left, machine: Machine, kind: str) -> None:
    way, key = left.addresses[kind], ("--identity", str(machine.key))
    before, empty = mutable(left.site.root / "nas"), machine.files()
    newest = 2 if kind in ("folder", "s3", "sftp") else 1

    listed = machine.rescue(left.named.get(kind, way), "--list", *key)
    assert f"#{newest}" in listed and "clinic in" in listed and "verified" in listed
    assert re.search(r"ed25519:\S", listed) and left.signer[1] in listed and "opens it" in listed

    drilled = machine.rescue(way, "--drill", *key, *left.signer)
    assert "can be brought back with the key of Owner" in drilled and "nothing was kept" in drilled
    assert machine.files() == empty, "a drill keeps nothing, and nothing was asked of the state folder"

    restored = machine.rescue(way, *key, *left.signer)
    assert f"clinic #{newest} of" in restored
    assert counts(machine.root / "here" / "rescued" / "clinic.db") == left.rows
    assert machine.files() == sorted([*empty, "here/rescued", "here/rescued/clinic.db"])
    assert mutable(left.site.root / "nas") == before, "nothing is written where the backups lie"


@pytest.mark.parametrize("kind", KINDS)
def test_fetched_by_a_second_machine_it_comes_back_from_there(
    left: Left, machine: Machine, kind: str
) -> None:
    way, before = left.named.get(kind, left.addresses[kind]), mutable(left.site.root / "nas")
    words, second = ("--to", "second", *left.signer), machine.root / "here" / "second"
    machine.rescue(way, *words, "--list", command="fetch")
    assert not second.exists(), "what is only shown makes nothing"
    expected = 2 if kind in ("folder", "s3", "sftp") else 1
    assert f"{expected} new backup" in machine.rescue(way, *words, command="fetch")
    assert len([*second.glob("*.tar.zst.age")]) == len([*second.glob("*.manifest.json.sig")]) == expected
    files = mutable(second)
    assert "0 new backups" in machine.rescue(way, *words, command="fetch")
    assert mutable(second) == files and mutable(left.site.root / "nas") == before
    machine.rescue(Address(("second",)), "--identity", str(machine.key), *left.signer)
    assert counts(machine.root / "here" / "rescued" / "clinic.db") == left.rows


def test_what_is_fetched_outlasts_the_place_and_is_never_replaced(left: Left, machine: Machine) -> None:
    place = machine.root / "place"
    shutil.copytree(left.site.root / "nas", place)
    way, words = Address((str(place),)), ("--to", "second", *left.signer)
    first, newest = sorted(place.rglob("*.tar.zst.age"), key=lambda path: path.name)
    with newest.open("r+b") as file:
        file.seek(1000)
        file.write(b"rotten")
    said = machine.rescue(way, *words, status=1, command="fetch")
    assert "it is damaged there" in said and newest.name in said
    second = machine.root / "here" / "second"
    assert [path.name for path in second.glob("*.tar.zst.age")] == [first.name]
    assert "1 new backup" in machine.rescue(left.addresses["folder"], *words, command="fetch")
    files = mutable(second)
    for path in place.rglob("clinic-*"):
        path.unlink()
    said = machine.rescue(way, *words, status=1, command="fetch")
    assert "#2 was fetched before" in said and mutable(second) == files
    said = machine.rescue(
        way, "--to", "second", "--signer", "ed25519:" + "A" * 43 + "=", status=1, command="fetch"
    )
    assert "no backup there was signed by the machine given" in said and mutable(second) == files
    said = machine.rescue(way, "--to", str(place / "inside"), *left.signer, status=1, command="fetch")
    assert "lie in each other" in said and not (place / "inside").exists()


def test_an_older_one_and_a_key_that_opens_nothing(left: Left, machine: Machine) -> None:
    way = left.addresses["folder"]
    # With the key locked by a passphrase, as it may lie in a safe.
    locked = machine.root / "locked.txt.age"
    with machine.key.open("rb") as plain, locked.open("wb") as sealed:
        encrypt(plain, sealed, [ScryptRecipient("four plain words here", work_factor=10)])
    opening = Address(way.words, {"KEY_PASSPHRASE": "four plain words here"})
    words = ("-i", str(locked), "--passphrase-from", "env:KEY_PASSPHRASE", "--backup", "1", "--to", "first")
    words += left.signer
    assert "clinic #1 of" in machine.rescue(opening, *words)
    assert counts(machine.root / "here" / "first" / "clinic.db") == left.rows
    stranger = machine.root / "stranger.txt"
    stranger.write_text(X25519Identity.generate().secret_text())
    said = machine.rescue(way, "-i", str(stranger), *left.signer, status=1)
    assert "this key opens none" in said and "Owner" in said and "Bank safe" in said


def test_a_server_whose_key_is_not_known_is_refused(left: Left, machine: Machine) -> None:
    """Never accepted silently: the fingerprint that it shows is told, and nothing is asked of it."""
    address, _, client, *_ = left.addresses["sftp"].words
    said = machine.rescue(Address((address, "--key", client)), "--list", status=1)
    assert "the server's key is unknown" in said and "SHA256:" in said and "ssh-keygen -lf" in said
