"""A clone counts as prepared only where the program says so in each of the three ways that it has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from tasks.errors import ValidationError
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.scratch import prepare

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell script takes the program's place")


class Scripted:
    """As Programs; its mariadb-backup ends with this status, saying and writing these words."""

    def __init__(self, folder: Path, status: int, said: str, noted: str) -> None:
        self._program = folder / "mariadb-backup"
        note = folder / "data" / "xtrabackup_checkpoints"
        lines = ["#!/bin/sh", f"echo '{noted}' > {note}", f"echo '{said}' >&2", f"exit {status}", ""]
        self._program.write_text("\n".join(lines))
        self._program.chmod(0o700)

    @property
    def folders(self) -> list[Path]:
        return [self._program.parent]

    def matching(self, *_names: str) -> Path:
        return self._program


@pytest.mark.parametrize(
    ("status", "said", "noted", "refused"),
    [
        (0, "completed OK!", "backup_type = log-applied", ""),
        (1, "completed OK!", "backup_type = log-applied", "ended with status 1"),
        (0, "the log ends here", "backup_type = log-applied", "ended with status 0"),
        (0, "completed OK!", "backup_type = full-backuped", "its log was not applied"),
    ],
    ids=["prepared", "status", "last words", "note"],
)
def test_prepare(tmp_path: Path, status: int, said: str, noted: str, refused: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "backup-my.cnf").write_text("[mysqld]\ninnodb_page_size=16384\n")
    programs = cast("Programs", Scripted(tmp_path, status, said, noted))
    if not refused:
        prepare(programs, data)
        return
    with pytest.raises(ValidationError, match=refused):
        prepare(programs, data)


def test_s1_what_prepares_a_clone_has_its_own_folder_for_temporary_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins as a server does, which clears `#sql…` files out; others keep theirs in the usual one."""
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    data = tmp_path / "data"
    data.mkdir()
    (data / "backup-my.cnf").write_text("[mysqld]\n")
    program = tmp_path / "mariadb-backup"
    given = data / "given"
    done = f"echo backup_type = log-applied > {data}/xtrabackup_checkpoints; echo 'completed OK!' >&2"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {given}\n{done}\n')
    program.chmod(0o700)
    scripted = Scripted.__new__(Scripted)
    scripted._program = program
    prepare(cast("Programs", scripted), data)
    (room,) = [Path(word[9:]) for word in given.read_text().splitlines() if word.startswith("--tmpdir=")]
    assert room.parent == shared
    assert not room.exists()
