"""Which folders are on the network, by the texts and paths of Linux and Windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.errors import SourceError
from tasks.platform import mounts as platform_mounts
from tasks.platform.mounts import Mount, is_share, mount_at_or_below, network_mount, refuse_network

MOUNTS = [
    Mount("/", "ext4"),
    Mount("/srv/nas", "nfs4"),
    Mount("/srv/nas/local", "ext4"),
    Mount("/mnt/my share", "cifs"),
    Mount("/home/u/remote", "fuse.sshfs"),
    Mount("/data", "ext4"),
    Mount("/data", "smb3"),
]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/datasave", ""),
        ("/srv/nas", "nfs4"),
        ("/srv/nas/staging", "nfs4"),
        ("/srv/nasty", ""),
        ("/srv/nas/local/staging", ""),
        ("/mnt/my share/x", "cifs"),
        ("/home/u/remote/x", "fuse.sshfs"),
        ("/data/x", "smb3"),
    ],
)
def test_network_mounts(folder: str, kind: str) -> None:
    assert network_mount(folder, MOUNTS) == kind


@pytest.mark.parametrize(
    ("folder", "share"),
    [
        (r"C:\Datasave", False),
        (r"\\nas\backup", True),
        ("//nas/backup", True),
        (r"\\?\UNC\nas\backup", True),
        (r"\\?\C:\Datasave", False),
        (r"\\.\C:\Datasave", False),
    ],
)
def test_shares(folder: str, share: bool) -> None:
    assert is_share(folder) is share


def test_refused_by_the_real_mount_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk that tests run on, declared a network one."""
    refuse_network(tmp_path)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    every = {line.partition(" - ")[2].split(" ")[0] for line in mounts}
    monkeypatch.setattr(platform_mounts, "NETWORK_SYSTEMS", frozenset(every))
    with pytest.raises(SourceError, match="on the network"):
        refuse_network(tmp_path / "not" / "yet" / "there")


def test_mount_points_below_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_mounts, "_mounts", lambda: MOUNTS)
    assert mount_at_or_below(Path("/srv")) == "/srv/nas"
    assert mount_at_or_below(Path("/mnt/my share")) == "/mnt/my share"
    assert mount_at_or_below(Path("/srv/nasty")) == ""
