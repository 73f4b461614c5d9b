"""The files of a copy: listed in staging, summed up in manifests, compared after a restore."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.backup.copy import MOST_LISTED, Copied, identical, listed, summed_up
from tasks.platform.files import sha256_of
from tasks.records import CopiedFile, Engine, LiveCopy


def folder_of(root: Path, count: int) -> tuple[CopiedFile, ...]:
    (root / "sub").mkdir(parents=True)
    files = []
    for n in range(count):
        path = root / ("sub" if n % 2 else "") / f"Smith, John {n}.rtf"
        path.write_text(f"letter {n}")
        name = path.relative_to(root).as_posix()
        files.append(CopiedFile(path=name, bytes=path.stat().st_size, sha256=sha256_of(path)))
    return tuple(files)


@pytest.mark.parametrize("count", [1, 3, MOST_LISTED, MOST_LISTED + 1])
def test_the_same_files_are_identical(tmp_path: Path, count: int) -> None:
    files = folder_of(tmp_path, count)
    recorded = summed_up(files)
    assert len(recorded) == (count if count <= MOST_LISTED else 1)
    assert identical(tmp_path, recorded).passed


@pytest.mark.parametrize("count", [5, MOST_LISTED + 1])
@pytest.mark.parametrize("fault", ["altered", "missing", "renamed"])
def test_any_difference_is_found(tmp_path: Path, count: int, fault: str) -> None:
    recorded = summed_up(folder_of(tmp_path, count))
    victim = tmp_path / "sub" / "Smith, John 3.rtf"
    if fault == "altered":
        victim.write_text("letter x")
    elif fault == "missing":
        victim.unlink()
    else:
        victim.rename(victim.with_name("other"))
    finding = identical(tmp_path, recorded)
    assert not finding.passed
    assert ("John 3" in finding.detail) == (count == 5)


@pytest.mark.parametrize("count", [5, MOST_LISTED + 1])
def test_an_added_file_is_found(tmp_path: Path, count: int) -> None:
    recorded = summed_up(folder_of(tmp_path, count))
    (tmp_path / "planted").write_text("x")
    assert not identical(tmp_path, recorded).passed


def test_what_is_handed_on_names_no_file(tmp_path: Path) -> None:
    files = folder_of(tmp_path / "copy", 4)
    now = datetime.now(UTC)
    copy = LiveCopy(
        folder=tmp_path / "copy",
        engine=Engine(kind="files", version="-", bytes=1),
        files=files,
        started=now,
        finished=now,
    )
    copied = listed(copy, tmp_path / "listing.jsonl")
    assert "Smith" not in copied.model_dump_json()
    again = Copied.model_validate_json(copied.model_dump_json())
    assert again.read_files() == files
    assert again.count == 4
    assert again.bytes == copy.bytes
    assert (tmp_path / "listing.jsonl").stat().st_mode & 0o777 == 0o600
