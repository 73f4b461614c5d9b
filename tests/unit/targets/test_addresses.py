"""Addresses of places with backups, as typed on a bare machine: what they lead to, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from deployments.cli import app as cli
from tasks.errors import PlanError, TargetReadOnly
from tasks.targets.base import Target
from tasks.targets.registry import needs_password, open_place
from tasks.targets.s3.target import S3Target
from tasks.targets.shared.addresses import Access
from tasks.targets.shared.unmarked import UnmarkedFolder, UnmarkedRemote

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHJwRdNnZ6EtvjYvzmJmEJ3nQv0eAJXjL6d4hJnB2J3n"  # a public one
ACCESS = Access(host_key=KEY, key=Path("id"), password="env:NAS")


def where(target: Target) -> str:
    assert isinstance(target, UnmarkedRemote)
    return target._remote.where


def test_each_form_leads_to_its_place(tmp_path: Path) -> None:
    assert isinstance(open_place(str(tmp_path), ACCESS), UnmarkedFolder)
    assert isinstance(open_place("s3://office/front", ACCESS), S3Target)
    assert where(open_place("sftp://k@nas:2222/volume1/d", ACCESS)) == "k@nas:/volume1/d"
    assert where(open_place("sftp://k@nas/~/back%20ups", ACCESS)) == "k@nas:back ups"
    assert where(open_place("smb://k@nas/backups/a/b", ACCESS)) == "//nas/backups/a/b"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://nas/backups", "is not a known scheme"),
        ("sftp://nas/backups", "user"),
        ("smb://k@nas", "share"),
        ("s3://", "bucket"),
        ("sftp://k@nas:port/x", "port"),
        ("smb://k:hunter2@nas/backups", "does not belong into an address"),
        ("sftp://k:hunter2@[nas/backups", "cannot be read"),
    ],
)
def test_what_leads_nowhere_is_refused(address: str, words: str) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        open_place(address, ACCESS)
    assert "hunter2" not in str(caught.value)


def test_when_a_password_is_asked_for() -> None:
    assert needs_password("smb://k@nas/backups", Access())
    assert needs_password("sftp://k@nas/backups", Access())
    assert not needs_password("sftp://k@nas/backups", Access(key=Path("id")))
    assert not needs_password("smb://k@nas/backups", ACCESS)
    assert not needs_password("s3://office", Access())


def test_nothing_is_changed_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    place = open_place(str(tmp_path), ACCESS)
    with pytest.raises(TargetReadOnly):
        place.delete("x")
    with pytest.raises(TargetReadOnly):
        place.put("y", io.BytesIO(b"y"), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["smb://k@nas/backups", "--password", "hunter2", "--list"], "is never the password itself"),
        (["smb://k@nas/backups", "--list"], "no terminal"),
        (["smb://k:hunter2@nas/backups", "--list"], "does not belong into an address"),
        (["s3://k:hunter2@[backups", "--list"], "the address cannot be read"),
        (["/nowhere/at/all", "--list"], "no such folder"),
        (["--mounts", "/nowhere/*", "--list"], "no drive with backups"),
        (["/nowhere"], "needs a key"),
    ],
)
def test_refusals_are_one_clear_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert cli.main(["rescue", *words]) == 1
    shown = capsys.readouterr().err
    assert said in shown and "hunter2" not in shown and "Traceback" not in shown
