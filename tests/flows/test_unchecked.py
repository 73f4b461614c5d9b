"""A run over a database of which not everything can be checked: made, restored and named; or refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.flows.site import Site
from tests.unit.sources.sqlite.test_source import programs_own

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_it_is_backed_up_drilled_restored_and_named(
    tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    del prefect_server
    site = Site.make(tmp_path, ["nas"])
    programs_own(site.database)
    assert site.run("backup") == 0
    report = site.report()
    assert "Not everything could be checked." in report
    assert "integrity of people" in report
    assert "needs collation GERMAN" in report
    (manifest,) = site.manifests("nas")
    (check,) = [one for one in manifest["checks"] if one["check"] == "integrity"]
    assert (check["passed"], check["unchecked"]) == (False, True)
    assert "people" not in str(manifest["checks"])
    capsys.readouterr()
    assert site.run("list") == 0
    assert "checked: integrity" in capsys.readouterr().out
    assert site.run("drill", "--identity", str(site.keys[0])) == 0
    assert site.run("restore", "--identity", str(site.keys[0]), "--to", str(tmp_path / "out")) == 0
    assert "could not be checked" in capsys.readouterr().err
    with closing(sqlite3.connect(tmp_path / "out" / "clinic.db")) as restored:
        assert restored.execute("SELECT count(*) FROM people").fetchone() == (300,)
    site.change_plan(strict=True)
    assert site.run("backup") == 1
    assert "did not pass its check" in site.report()
    assert len(site.archives("nas")) == 1
