"""Targets that lie in one another, or in what they are to save: refused when the plan is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.context import KINDS
from tasks.errors import PlanError
from tasks.plan.load import check_plan
from tasks.plan.model import EXAMPLE_RECIPIENT
from tests import mounts

S3: dict[str, Any] = {"kind": "s3", "bucket": "office"}
SFTP: dict[str, Any] = {
    "kind": "sftp",
    "host": "nas.office",
    "user": "datasave",
    "key": "id",
    "known_hosts": "known",
}
SMB: dict[str, Any] = {
    "kind": "smb",
    "server": "nas.office",
    "share": "backups",
    "user": "datasave",
    "password": "env:X",
}


def refusals(folder: Path, *targets: dict[str, Any], **options: Any) -> list[str]:
    """What is wrong with a plan in ``folder`` that has these targets; each is called a, b, c …"""
    plan = {
        "name": "clinic",
        "source": {"kind": "sqlite", "path": "data/clinic.db"},
        "holders": [{"name": "Owner", "recipient": EXAMPLE_RECIPIENT}],
        "targets": [{"name": "abc"[number], **target} for number, target in enumerate(targets)],
        **options,
    }
    try:
        check_plan(yaml.safe_dump(plan), "plan", folder, KINDS)
    except PlanError as error:
        assert error.hint
        return [line.removeprefix("plan: ") for line in error.message.splitlines()]
    return []


def at(path: object) -> dict[str, Any]:
    return {"kind": "folder", "path": str(path)}


INSIDE, AROUND, SAME = (
    f"targets[1]: {words}" for words in ("lies inside `a`", "contains `a`", "is the same place as `a`")
)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("nas", "nas/long", INSIDE),
        ("nas/long", "nas", AROUND),
        ("nas", "nas", SAME),
        ("nas", "./x/../nas/", SAME),
        ("nas", "x/../nas/y/../long", INSIDE),
        ("link", "nas/long", INSIDE),
        ("nas", "link/long", INSIDE),
        ("new", "new/long", INSIDE),
        ("new/long", "new", AROUND),
        ("nas", "nas-2", ""),
        ("nas/a", "nas/ab", ""),
        ("NAS", "nas", ""),
        ("new/A", "new/a", ""),
    ],
)
def test_a2_folders_in_one_another(tmp_path: Path, first: str, second: str, told: str) -> None:
    for name in ("nas/long", "data", "x", "NAS"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("nas")
    assert refusals(tmp_path, at(first), at(second)) == ([told] if told else [])


def test_a2_a_folder_that_is_mounted_at_a_second_place(tmp_path: Path) -> None:
    mounts.need("mount", "umount")
    for name in ("nas/long", "data", "mnt"):
        (tmp_path / name).mkdir(parents=True)
    mounts.run("mount", "--bind", tmp_path / "nas", tmp_path / "mnt")
    try:
        assert refusals(tmp_path, at("nas"), at("mnt")) == [SAME]
        assert refusals(tmp_path, at("nas"), at("mnt/new")) == [INSIDE]
        assert refusals(tmp_path, at("mnt/long"), at("nas/long/new")) == [INSIDE]
    finally:
        mounts.run("umount", tmp_path / "mnt")


@pytest.fixture
def stick(tmp_path: Path) -> Iterator[Path]:
    with mounts.exfat(tmp_path / "stick") as mounted:
        yield mounted.path


def test_a2_where_the_case_of_letters_does_not_count(tmp_path: Path, stick: Path) -> None:
    (stick / "nas").mkdir()
    assert (stick / "NAS").is_dir(), "the file system ignores case"
    assert refusals(tmp_path, at(stick / "nas"), at(stick / "NAS" / "long")) == [INSIDE]
    assert refusals(tmp_path, at(stick / "nas" / "New"), at(stick / "nas" / "nEW" / "long")) == [INSIDE]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (S3, {**S3, "prefix": "vault"}, INSIDE),
        ({**S3, "prefix": "vault"}, S3, AROUND),
        ({**S3, "prefix": "vault"}, {**S3, "prefix": "/vault/"}, SAME),
        ({**S3, "prefix": "front"}, {**S3, "prefix": "front-office"}, ""),
        (S3, {**S3, "bucket": "other"}, ""),
        (S3, {**S3, "endpoint": "https://s3.eu-central-1.amazonaws.com/", "prefix": "x"}, INSIDE),
        (
            {**S3, "endpoint": "https://S3.Example.com"},
            {**S3, "endpoint": "https://s3.example.com:443/"},
            SAME,
        ),
        ({**S3, "endpoint": "http://localhost:9000"}, {**S3, "endpoint": "http://127.0.0.1:9000"}, SAME),
        ({**S3, "endpoint": "http://localhost:9000"}, {**S3, "endpoint": "http://localhost:9001"}, ""),
        ({**SFTP, "path": "/v/nas"}, {**SFTP, "path": "/v/x/../nas//long", "host": "NAS.office."}, INSIDE),
        ({**SFTP, "path": "nas"}, {**SFTP, "path": "./nas"}, SAME),
        ({**SFTP, "path": "/v/nas"}, {**SFTP, "path": "/v/nas", "user": "other"}, ""),
        ({**SFTP, "path": "nas"}, {**SFTP, "path": "/nas"}, ""),
        (SMB, {**SMB, "path": "long", "user": "other"}, INSIDE),
        (
            {**SMB, "path": "Nas"},
            {**SMB, "path": "NAS\\Long", "share": "BACKUPS", "server": "Nas.Office"},
            INSIDE,
        ),
        ({**SMB, "path": "a"}, {**SMB, "path": "ab"}, ""),
    ],
)
def test_a2_places_of_services_in_one_another(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], told: str
) -> None:
    assert refusals(tmp_path, first, second) == ([told] if told else [])


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("data", "contains what is backed up (`source`)"),
        (".", "contains what is backed up (`source`)"),
        (".datasave/plans.d/clinic/nas", "lies inside the state folder (`state`)"),
        (".datasave/plans.d/clinic", "is the same place as the state folder (`state`)"),
        (".datasave/plans.d/clinic/staging", "lies inside the state folder (`state`)"),
        (".datasave", "contains the state folder (`state`)"),
        ("forms/nas", "lies inside what is backed up (`also[0]`)"),
        ("link/nas", "lies inside what is backed up (`also[0]`)"),
        ("pg/16/nas", "lies inside what is backed up (`also[1]`)"),
        ("nas", ""),
    ],
)
def test_b8_a_target_that_lies_in_what_it_is_to_save_or_around_it(
    tmp_path: Path, target: str, told: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "clinic.db").touch()
    (tmp_path / "forms").mkdir()
    (tmp_path / "link").symlink_to("forms")
    also = [
        {"name": "forms", "kind": "files", "path": "forms"},
        {
            "name": "server",
            "kind": "postgresql",
            "database": "x",
            "in_place": {"data": "pg/16", "stop": ["true"], "start": ["true"]},
        },
    ]
    found = refusals(tmp_path, at(target), also=also)
    assert [line.removeprefix("targets[0]: ") for line in found][:1] == ([told] if told else [])
