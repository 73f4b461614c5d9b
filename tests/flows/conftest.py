"""An office of its own for each test: a small clinic, two holders, three folder targets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deployments.cli.demo_clinic import make_clinic
from tests.flows.site import Site


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clinic's database of 2 MB, made once; tests copy it."""
    path = tmp_path_factory.mktemp("clinic") / "clinic.db"
    make_clinic(path, 2_000_000, wal=False)
    return path


@pytest.fixture
def site(tmp_path: Path, clinic: Path) -> Site:
    """An office ready for its first backup."""
    shutil.copy(clinic, tmp_path / "clinic.db")
    return Site.make(tmp_path, ["nas", "second-disk", "cellar"])


@pytest.fixture
def running_site(site: Site, prefect_server: str) -> Site:
    """The same, with a Prefect server for flows run in this process."""
    assert prefect_server
    return site
