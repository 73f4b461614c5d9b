"""Files published whole where the file system cannot sync a folder, as some network shares can't."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tasks.platform.files import sync_folder
from tasks.sources.shared.folders import copy_whole


def syncing_folders_fails(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let fsync of a folder, and of nothing else, end with this errno."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_restore_does_without_what_the_file_system_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "dump.sql").write_bytes(b"SELECT 1;")
    syncing_folders_fails(monkeypatch, code)
    target = tmp_path / "restored.sql"
    copy_whole(tmp_path / "dump.sql", target)
    assert target.read_bytes() == b"SELECT 1;"


def test_a_folder_on_a_failing_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing_folders_fails(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync_folder(tmp_path)
