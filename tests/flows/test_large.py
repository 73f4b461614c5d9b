"""The whole chain on a gigabyte that a program keeps writing to, as a user starts it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from deployments.cli.demo_clinic import make_clinic
from tests.flows.site import Site, counts


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_gigabyte_beside_a_busy_writer(tmp_path: Path, prefect_server: str) -> None:
    """Figures are printed: pytest -rP."""
    assert prefect_server
    site = Site.make(tmp_path, ["nas"])
    _make_a_gigabyte(site.database)
    assert site.database.stat().st_size > 1_000_000_000
    command = [
        sys.executable,
        "-m",
        "deployments.cli.demo_clinic",
        "write",
        str(site.database),
        "--per-second",
        "20",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert site.run("backup") == 0
            assert writer.poll() is None, "the writer gave up"
        finally:
            writer.terminate()
        told = (writer.stdout.read() if writer.stdout else "").split()
    print(f"worst wait of a commit during the whole run: {told[-1]} s")
    assert site.run("restore", "--identity", str(site.keys[0]), "--to", str(tmp_path / "back")) == 0
    restored = counts(tmp_path / "back" / "clinic.db")
    assert restored["visits"] == restored["ledger"], "the copy was not taken at one moment"
    with closing(sqlite3.connect(site.database)) as database:
        assert database.execute("SELECT count(*) FROM visits").fetchone()[0] > restored["visits"]
    shutil.rmtree(tmp_path / "back")


def _make_a_gigabyte(path: Path) -> None:
    """130 MB made row by row, then doubled three times."""
    make_clinic(path, 130_000_000)
    with closing(sqlite3.connect(path)) as database:
        for _ in range(3):
            (last,) = database.execute("SELECT max(id) FROM visits").fetchone()
            with database:
                database.execute("INSERT INTO visits SELECT id + ?, patient, at, note FROM visits", (last,))
                database.execute(
                    "INSERT INTO ledger SELECT id + ?, visit + ?, booked, cents FROM ledger", (last, last)
                )
