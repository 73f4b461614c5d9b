"""Attributes beside the permission bits: hints that a file system may take, and refuse without harm."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.archive.reader import extract_archive
from tasks.archive.writer import write_archive
from tasks.platform.attributes import make_mutable, spread_out
from tasks.sources.files.source import FilesOptions, FilesSource

needs_hint = pytest.mark.skipif(shutil.which("lsattr") is None, reason="lsattr shows it")


def spread(folder: Path) -> bool:
    """Whether the folder bears the hint; skips the test where the file system keeps none."""
    listed = subprocess.run(["lsattr", "-d", str(folder)], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this file system has no such attributes")
    return "T" in listed.stdout.split()[0]


def office(root: Path) -> Path:
    for name in ("letters/2025", "letters/2026", "forms"):
        (root / name).mkdir(parents=True)
        (root / name / "a.txt").write_text(name)
    return root


def hint_kept(folder: Path) -> bool:
    folder.mkdir()
    spread_out(folder)
    return spread(folder)


@needs_hint
def test_folders_of_a_copy_and_of_what_is_unpacked_lie_apart(tmp_path: Path) -> None:
    if not hint_kept(tmp_path / "probe"):
        pytest.skip("this file system takes no such hint")
    copy, out = tmp_path / "copy", tmp_path / "out"
    copy.mkdir()
    out.mkdir()
    FilesSource(FilesOptions(path=office(tmp_path / "office"))).copy_live(copy)
    archive = io.BytesIO()
    write_archive(copy, archive)
    archive.seek(0)
    extract_archive(archive, out, limit=1 << 20)
    for root in (copy, out):
        assert all(spread(folder) for folder in (root / "files").rglob("*") if folder.is_dir())
        assert spread(root / "files")


def test_what_takes_no_hint_is_left_as_it_is(tmp_path: Path) -> None:
    spread_out(tmp_path / "missing")
    make_mutable(tmp_path / "missing")
    (tmp_path / "link").symlink_to(tmp_path)
    spread_out(tmp_path / "link")
    spread_out("/proc/self")
