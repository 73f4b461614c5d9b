"""One of three targets fails: the others get the backup, and a re-run sends only what is missing."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tasks.backup import copy, deliver, preflight, seal, validate
from tests.flows.site import Site
from tests.mounts import run, tmpfs

Fault = Callable[[Site], Any]

STEPS = [
    (preflight, "preflight"),
    (copy, "live_copy"),
    (validate, "validate_copy"),
    (seal, "archive_and_encrypt"),
    (deliver, "deliver"),
    (deliver, "read_back"),
]


@pytest.fixture
def executions(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each step's body really ran."""
    counted: Counter[str] = Counter()
    for module, name in STEPS:
        real = getattr(module, name)

        def counting(*arguments: Any, _real: Any = real, _name: str = name, **options: Any) -> Any:
            counted[_name] += 1
            return _real(*arguments, **options)

        monkeypatch.setattr(module, name, counting)
    return counted


@contextmanager
def unmounted(site: Site) -> Iterator[None]:
    """The nas is not mounted: its folder is there, and empty."""
    elsewhere = site.root / "mounted-no-more"
    (site.root / "nas").rename(elsewhere)
    (site.root / "nas").mkdir()
    try:
        yield
        assert not any((site.root / "nas").iterdir()), "bytes went to the system disk"
    finally:
        shutil.rmtree(site.root / "nas")
        elsewhere.rename(site.root / "nas")


@contextmanager
def full(site: Site) -> Iterator[None]:
    """The nas has no room: a 12 MB file system with a large file in it."""
    with tmpfs(site.root / "nas", 12):
        site.init_target("nas")
        filler = site.root / "nas" / "filler"
        filler.write_bytes(bytes(11 << 20))
        yield
        assert site.archives("nas") == []
        # Still the same medium, with room again.
        filler.unlink()
        shutil.copytree(site.root / "nas", site.root / "kept")
    shutil.rmtree(site.root / "nas")
    (site.root / "kept").rename(site.root / "nas")


@contextmanager
def read_only(site: Site) -> Iterator[None]:
    """The nas refuses writes, as a file system does after an error."""
    with tmpfs(site.root / "nas", 64):
        site.init_target("nas")
        run("mount", "-o", "remount,ro", site.root / "nas")
        yield
        assert site.archives("nas") == []
        shutil.copytree(site.root / "nas", site.root / "kept")
    shutil.rmtree(site.root / "nas")
    (site.root / "kept").rename(site.root / "nas")


FAULTS: list[tuple[Fault, str, str]] = [
    (unmounted, "missed", "target init nas"),
    (full, "failed", "Free space"),
    (read_only, "failed", ""),
]


@pytest.mark.parametrize(("fault", "outcome", "advice"), FAULTS, ids=["unmounted", "full", "read-only"])
def test_one_target_fails_and_a_rerun_sends_only_there(
    running_site: Site,
    executions: Counter[str],
    fault: Fault,
    outcome: str,
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = running_site
    with fault(site):
        assert site.run("backup") == 1
        said = capsys.readouterr().err
        assert "1 of 3 targets failed" in said and "nas" in said and advice in said
        assert "Traceback" not in said
        page = site.report()
        assert "nas" in page and outcome.upper() in page.upper() and advice in page
        assert len(site.archives("second-disk")) == len(site.archives("cellar")) == 1
        assert site.plaintext() == [], "only encrypted parts wait for the re-run"
    arrived = {path: path.stat().st_mtime_ns for path in site.archives("second-disk")}
    expected = Counter(preflight=1, live_copy=1, validate_copy=1, archive_and_encrypt=1)
    assert executions == expected + Counter(deliver=3, read_back=2)
    executions.clear()
    assert site.run("retry") == 0
    assert executions == Counter(deliver=1, read_back=1)
    assert {path: path.stat().st_mtime_ns for path in site.archives("second-disk")} == arrived
    (delivered,) = site.archives("nas")
    assert delivered.read_bytes() == site.archives("cellar")[0].read_bytes()
    assert len(site.manifests("nas")) == 1
    assert not any(site.staging.glob("*/sealed/*")), "nothing waits any more"


def test_a_rerun_after_staging_was_swept_takes_everything_afresh(
    running_site: Site, executions: Counter[str]
) -> None:
    """The results on record name files that are gone; believing them would deliver nothing."""
    site = running_site
    with unmounted(site):
        assert site.run("backup") == 1
    shutil.rmtree(site.staging)
    executions.clear()
    assert site.run("retry") == 0
    assert executions["live_copy"] == 1 and executions["deliver"] == 3
    sequences = {name: [m["sequence"] for m in site.manifests(name)] for name in ("nas", "second-disk")}
    assert sequences == {"nas": [2], "second-disk": [1, 2]}


def test_a_delivery_that_reads_back_wrong_is_sent_again(
    running_site: Site, executions: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = running_site
    monkeypatch.setattr("tasks.steps.backup.read_back.task.retries", 0)
    real, fired = deliver.deliver, []

    def deliver_and_damage(*arguments: Any, **options: Any) -> Any:
        placed = real(*arguments, **options)
        if placed.target == "nas" and not fired:
            path = site.root / "nas" / placed.name
            path.write_bytes(path.read_bytes()[:-1] + b"?")
            fired.append(path)
        return placed

    monkeypatch.setattr(deliver, "deliver", deliver_and_damage)
    assert site.run("backup") == 1
    assert len(fired) == 1
    assert site.objects("nas") == [], "what reads back wrong does not stay"
    assert site.run("retry") == 0
    assert len(site.manifests("nas")) == 1


def test_missing_source_and_bad_plan_are_one_clear_line(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    site.database.rename(site.root / "elsewhere.db")
    assert site.run("backup") == 1
    said = capsys.readouterr().err
    assert "clinic.db" in said and "Traceback" not in said
    assert not site.database.exists(), "looking must not create a database"
    site.change_plan(nmae="clinic")
    assert site.run("backup") == 1
    assert "name" in capsys.readouterr().err


def test_retention_keeps_one_backup_a_weekday_above_the_floor(running_site: Site) -> None:
    site = running_site
    nas = {"name": "nas", "kind": "folder", "path": "nas", "slots": "weekday", "floor": 1}
    site.change_plan(targets=[nas])
    for _ in range(3):
        assert site.run("backup") == 0
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [3]
    assert "#2, " in site.report() and "no rule keeps it (last 1)" in site.report()
    site.change_plan(targets=[{**nas, "floor": 3}])
    for _ in range(3):
        assert site.run("backup") == 0
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [4, 5, 6]


def test_prune_shows_before_it_deletes(running_site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site = running_site
    nas = {"name": "nas", "kind": "folder", "path": "nas", "floor": 1}
    site.change_plan(targets=[{**nas, "keep": "forever"}])
    for _ in range(3):
        assert site.run("backup") == 0
    site.change_plan(targets=[{**nas, "keep": {"last": 2}}])
    before = site.objects("nas")
    capsys.readouterr()
    assert site.run("prune", "--apply") == 1
    assert "the plan was changed and would let #1 go" in " ".join(capsys.readouterr().err.split())
    assert site.objects("nas") == before
    assert site.run("prune", "--accept-change") == 0
    capsys.readouterr()
    assert site.run("prune") == 0
    shown = capsys.readouterr().out
    assert shown.count("remove") == 1 and "Nothing was deleted" in shown
    assert site.objects("nas") == before
    assert site.run("prune", "--apply") == 0
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [2, 3]


def test_a_forged_manifest_neither_counts_nor_removes(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    site.change_plan(
        targets=[{"name": "nas", "kind": "folder", "path": "nas", "floor": 1, "keep": {"last": 1}}]
    )
    assert site.run("backup") == 0
    (archive,) = site.archives("nas")
    manifest = next((site.root / "nas").glob("*.manifest.json"))
    for number in (7, 8, 9):
        forged = manifest.read_text().replace("-000001", f"-00000{number}")
        forged = forged.replace('"sequence": 1', f'"sequence": {number}')
        path = manifest.with_name(manifest.name.replace("-000001", f"-00000{number}"))
        path.write_text(forged)
        shutil.copy(archive, path.with_name(path.name.replace(".manifest.json", ".tar.zst.age")))
    assert site.run("prune", "--apply") == 0
    assert archive.exists() and manifest.exists()
    capsys.readouterr()
    assert site.run("list") == 0
    assert capsys.readouterr().out.count("signature") == 3
    assert site.run("audit") == 1


def test_a_clock_that_jumped_back_suspends_pruning_and_alarms(
    running_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    site.change_plan(
        targets=[{"name": "nas", "kind": "folder", "path": "nas", "floor": 1, "keep": {"last": 1}}]
    )
    assert site.run("backup") == 0
    from datetime import UTC, datetime, timedelta

    class Yesterday(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz or UTC) - timedelta(days=1)

    monkeypatch.setattr(preflight, "datetime", Yesterday)
    assert site.run("backup") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "the clock went back: this backup is dated" in said
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [2, 1]
