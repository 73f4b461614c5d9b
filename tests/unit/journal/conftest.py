"""A journal of a few entries, and what a hand that means harm does to its file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.journal.journal import FILE, Journal

KEY = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()


@pytest.fixture(scope="package")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a journal of eight entries, numbered from 1."""
    made = Journal(tmp_path_factory.mktemp("eight") / "journal", KEY)
    for sequence in range(1, 9):
        made.append("number", sequence=sequence, run=f"run {sequence}")
    return made.folder


@pytest.fixture
def journal(eight: Path, tmp_path: Path) -> Journal:
    """A copy of it, to do with as one likes."""
    return Journal(Path(shutil.copytree(eight, tmp_path / "journal")), KEY)


Change = Callable[[list[bytes]], list[bytes]]


def rewrite(folder: Path, change: Change) -> None:
    """Write the lines of a journal anew, as ``change`` gives them back."""
    path = folder / FILE
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    path.write_bytes(b"".join(line + b"\n" for line in change(lines)))
