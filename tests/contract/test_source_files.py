"""The source of plain folders against the contract of source_contract.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.sources.files.source import FilesOptions, FilesSource
from tests.contract.files_ledger import (
    commits_in_files,
    create_files,
    damage_file,
    open_folder,
    whole_files,
    writing_files,
)
from tests.contract.source_contract import SourceCase, SourceContract, fresh


class TestFiles(SourceContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> SourceCase:
        folder = create_files(tmp_path / "office")
        return SourceCase(
            source=FilesSource(FilesOptions(path=folder)),
            missing=FilesSource(FilesOptions(path=folder.with_name("gone"))),
            writer=lambda: writing_files(folder),
            damage=damage_file,
            open_restored=open_folder,
            commits_in=commits_in_files,
        )

    def test_a_torn_file_would_show(self, case: SourceCase, tmp_path: Path) -> None:
        """The ledger itself: half a commit in one file is none of the states that pass."""
        folder = fresh(tmp_path / "copy")
        case.source.copy_live(folder)
        with case.source.open(folder, fresh(tmp_path / "o")) as connection:
            assert case.commits_in(connection) == 0
        damage_file(folder)
        with (
            case.source.open(folder, fresh(tmp_path / "o2")) as connection,
            pytest.raises(AssertionError),
        ):
            case.commits_in(connection)
        assert len(whole_files()) == 256
