"""A database that lost a third of its ledger passes every check; nothing old may go because of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.flows.site import Site

pytestmark = pytest.mark.slow


def lose_rows(site: Site, share: float) -> None:
    with closing(sqlite3.connect(site.database)) as opened, opened:
        rows = opened.execute("SELECT count(*) FROM ledger").fetchone()[0]
        gone = int(rows * share)
        opened.execute("DELETE FROM ledger WHERE rowid IN (SELECT rowid FROM ledger LIMIT ?)", (gone,))
        assert opened.execute("SELECT changes()").fetchone()[0] == gone > 100


def test_a_great_loss_suspends_pruning_until_someone_says_it_was_meant(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    site.change_plan(
        targets=[{"name": "nas", "kind": "folder", "path": "nas", "keep": {"last": 1}, "floor": 1}]
    )
    assert site.run("backup") == 0
    assert site.run("backup") == 0
    assert [m["sequence"] for m in site.manifests("nas")] == [2]

    lose_rows(site, 0.3)
    for _ in range(3):
        capsys.readouterr()
        assert site.run("backup") == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "pruning suspended: table ledger lost 30 % of its rows since number 2" in said
    assert [m["sequence"] for m in site.manifests("nas")] == [2, 3, 4, 5]
    assert "table ledger lost 30 %" in site.report()

    assert site.run("prune", "--apply") == 1
    assert [m["sequence"] for m in site.manifests("nas")] == [2, 3, 4, 5]
    capsys.readouterr()
    assert site.run("prune", "--explain") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "row counts" in said
    assert "newest read back" in said

    assert site.run("prune", "--accept-change") == 0
    assert "accepted that table ledger lost 30 %" in " ".join(capsys.readouterr().out.split())
    assert site.run("prune", "--explain") == 0
    assert site.run("backup") == 0
    assert [m["sequence"] for m in site.manifests("nas")] == [6]


def test_a_usual_loss_is_none(running_site: Site) -> None:
    assert running_site.run("backup") == 0
    lose_rows(running_site, 0.1)
    assert running_site.run("backup") == 0
