"""Copy Database and Check Database, when someone asks: nothing sealed, numbered or delivered."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing

import pytest

from tests.flows.site import Site, counts

pytestmark = pytest.mark.slow


def test_a_copy_is_whole_private_and_in_the_clear(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    place = site.root / "for-the-accountant"
    assert site.run("copy", "--to", str(place)) == 0
    said = capsys.readouterr().out
    assert "readable for whoever reaches that folder" in said and "3 tables" in said
    assert counts(place / "clinic.db") == counts(site.database)
    if os.name == "posix":
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE((place / "clinic.db").stat().st_mode) == 0o600
    assert [site.objects(target) for target in ("nas", "second-disk", "cellar")] == [[], [], []]
    assert not any(path.is_dir() for path in site.staging.iterdir()), "the working copy is gone"
    page = site.report()
    assert "read whole and counted" in page and "This is no backup" in page

    before = (place / "clinic.db").stat().st_mtime_ns
    assert site.run("copy", "--to", str(place)) == 1
    assert "not empty" in capsys.readouterr().err
    assert (place / "clinic.db").stat().st_mtime_ns == before
    for forbidden in (site.root / "nas" / "copy", site.staging / "copy"):
        assert site.run("copy", "--to", str(forbidden)) == 1
        assert "cannot copy into" in capsys.readouterr().err
        assert not forbidden.exists()

    assert site.run("copy") == 0
    (found,) = (site.context.state / "copies").rglob("clinic.db")
    assert counts(found) == counts(site.database)
    assert site.run("backup") == 0
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [1], "a copy takes no number"


def test_a_check_finds_damage_and_leaves_nothing(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    expect = {"type": "expect_column_values_to_be_between", "kwargs": {"min_value": 1}}
    question = {"title": "there are patients", "sql": "SELECT COUNT(*) FROM patients", "expect": expect}
    site.change_plan(checks=[question])
    assert site.run("check") == 0
    assert "clinic passed every check: 3 tables" in capsys.readouterr().out
    assert "there are patients" in site.report()
    assert not any(path.is_dir() for path in site.staging.iterdir())

    impossible = {**question, "expect": {**expect, "kwargs": {"min_value": 10**9}}}
    site.change_plan(checks=[impossible])
    assert site.run("check") == 1
    assert "not as the plan's checks expect" in capsys.readouterr().err

    with closing(sqlite3.connect(site.database)) as opened:
        pages, size = (opened.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    with site.database.open("r+b") as stream:
        stream.seek((pages - 2) * size)
        stream.write(b"\xff" * size)
    assert site.run("check") == 1
    assert "did not pass its check" in capsys.readouterr().err
    assert site.run("copy", "--to", str(site.root / "damaged")) == 1
    assert not (site.root / "damaged" / "clinic.db").exists(), "what fails its check is not handed out"
    assert not any(path.is_dir() for path in site.staging.iterdir())
