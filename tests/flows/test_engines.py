"""Whole runs on every engine: backup under load, drill, restore into a fresh server; no secret anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import HOME
from tests.flows.engines import ENGINES, Engine, engine
from tests.flows.site import Site
from tests.watching import ArgumentsWatcher, files_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run_all(site: Site, made: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    """Backup beside a writer, drill, restore into a fresh server."""
    with made.writer() as writer:
        before = writer.commits
        assert site.run("backup") == 0
        after = writer.commits
        assert writer.wait_for_commit(30)
    assert after > before + 5, "the writer stood still during the run"
    assert site.run("drill", "--identity", str(site.keys[1])) == 0
    assert len([name for name in site.objects("nas") if ".drill-" in name]) == 1
    back = site.root / "back"
    capsys.readouterr()
    assert site.run("restore", "--identity", str(site.keys[0]), "--to", str(back)) == 0
    [opened] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Open:")]
    with made.opened(Path(opened.removeprefix("Open:").strip())) as connection:
        commits = made.commits(connection)
    assert before <= commits <= after + 1
    assert site.plaintext() == []


# One method of each engine; the others in `make test-all`.
OFTEN = ("postgresql logical", "mariadb physical", "sqlserver")


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.long) for name in ENGINES]
)
def test_backup_drill_and_restore_beside_a_writer(
    name: str, tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long the writer waits on large databases is measured by tests/benchmarks/waits.py."""
    assert prefect_server
    with engine(name, tmp_path) as made:
        site = Site.make(tmp_path, ["nas", "cellar"], source=made.options)
        with ArgumentsWatcher(*made.secrets) as watcher:
            assert site.run("doctor") == 0
            run_all(site, made, capsys)
    assert made.programs <= watcher.programs, "the watcher saw the programs run"
    assert watcher.leaks == set()
    # Reports, staging, the targets; Prefect's database, results and logs.
    kept = [site.context.state, *(site.root / target for target in ("nas", "cellar")), HOME]
    for secret in made.secrets:
        assert files_with(secret, *kept) == []
    assert files_with("clinic", HOME), "what Prefect keeps was looked at"
