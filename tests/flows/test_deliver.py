"""A target that was away gets the newest sealed archive later, without a new copy of the database."""

from __future__ import annotations

import shutil

import pytest

from tests.flows.site import Site

pytestmark = pytest.mark.slow


def test_a_target_that_was_away_gets_the_backup_without_a_new_copy(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    nas, away = site.root / "nas", site.root / "away"
    shutil.move(nas, away)
    assert site.run("backup") == 1
    assert [m["sequence"] for m in site.manifests("cellar")] == [1]

    capsys.readouterr()
    assert site.run("deliver") == 1, "it is still away"
    assert "nas" in capsys.readouterr().err

    shutil.move(away, nas)
    # Proof that nothing is copied again: the database is gone.
    site.database.rename(site.root / "gone.db")
    assert site.run("deliver") == 0
    assert "clinic #1 delivered to nas" in capsys.readouterr().out
    assert [m["sequence"] for m in site.manifests("nas")] == [1]
    assert site.plaintext() == []

    assert site.run("deliver") == 1
    assert "no sealed archive waits in staging" in " ".join(capsys.readouterr().err.split())
    assert site.run("drill", "--identity", str(site.keys[0]), "--target", "nas") == 0


def test_only_the_newest_is_delivered_and_never_over_a_newer_one(running_site: Site) -> None:
    site = running_site
    nas, away = site.root / "nas", site.root / "away"
    shutil.move(nas, away)
    assert site.run("backup") == 1
    assert site.run("backup") == 1
    shutil.move(away, nas)
    assert site.run("deliver", "--target", "nas") == 0
    assert [m["sequence"] for m in site.manifests("nas")] == [2]
    assert [m["sequence"] for m in site.manifests("cellar")][-1] == 2


def test_a_numbered_archive_goes_to_a_chosen_target_beside_a_newer_one(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    site.change_plan(targets=[{"name": n, "kind": "folder", "path": n} for n in ("nas", "cellar")])
    nas, away = site.root / "nas", site.root / "away"
    shutil.move(nas, away)
    assert site.run("backup") == 1
    assert site.run("backup") == 1
    shutil.move(away, nas)
    capsys.readouterr()
    assert site.run("deliver", "--target", "nas", "--backup", "9") == 1
    assert "Waiting: #1, #2" in " ".join(capsys.readouterr().err.split())
    assert site.run("deliver", "--target", "nas") == 0
    assert site.run("deliver", "--target", "nas", "--backup", "1") == 0
    assert sorted(m["sequence"] for m in site.manifests("nas")) == [1, 2]
    assert site.run("drill", "-i", str(site.keys[0]), "--target", "nas", "--backup", "1") == 0
    assert len([name for name in site.objects("nas") if "-000001.drill-" in name]) == 1


def test_a_skipped_target_is_left_out_and_told(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    shutil.move(site.root / "nas", site.root / "being-repaired")
    assert site.run("backup", "--skip", "nas") == 0
    assert len(site.manifests("cellar")) == len(site.manifests("second-disk")) == 1
    assert "left out of this run, as asked" in site.report()
    capsys.readouterr()
    every = [word for name in ("nas", "cellar", "second-disk") for word in ("--skip", name)]
    assert site.run("backup", *every) == 1
    assert "no target is left" in capsys.readouterr().err
