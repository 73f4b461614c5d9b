"""Drills by themselves: targets and keys take turns, certificates are what counts, time is measured."""

from __future__ import annotations

import json

import pytest

from tests.flows.site import Site

pytestmark = pytest.mark.slow


def told(capsys: pytest.CaptureFixture[str]) -> str:
    found = capsys.readouterr()
    return " ".join(f"{found.out} {found.err}".split())


@pytest.fixture
def turns(running_site: Site) -> Site:
    """Two targets with a backup, two keys at hand."""
    site = running_site
    site.change_plan(
        targets=[{"name": name, "kind": "folder", "path": name} for name in ("nas", "cellar")],
        drill={
            "identities": {"Owner": "file:owner.key.txt", "Bank safe": "file:safe.key.txt"},
            "objective_hours": 0.5,
        },
    )
    assert site.run("backup") == 0
    return site


def test_each_target_and_each_key_is_proved_in_turn(turns: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert turns.run("drills") == 1
    assert "Never" in told(capsys)
    for _ in range(2):
        assert turns.run("drill") == 0
    certificates = [json.loads((turns.root / t / n).read_text()) for t, n in certificate_names(turns)]
    assert {(c["target"], c["holder"]) for c in certificates} == {("nas", "Owner"), ("cellar", "Bank safe")}
    assert all(c["objective_seconds"] == 1800 for c in certificates)
    assert "(objective: 30 min 0 s)" in told(capsys)

    assert turns.run("drills") == 0
    assert "each target and each key was proved in time" in told(capsys)
    page = (turns.context.reports / "clinic-drills.html").read_text("utf-8")
    assert page.count("clinic</bdi>") >= 1
    assert "from <bdi>cellar</bdi> with <bdi>Bank safe</bdi>’s key" in page

    # The backups go, and their certificates with them: what they proved stays on record here.
    for target, name in certificate_names(turns):
        (turns.root / target / name).unlink()
    assert turns.run("drills") == 0
    path = turns.context.journal.path
    path.write_text(path.read_text().replace('\\"Owner\\"', '\\"Bank safe\\"'))
    assert turns.run("drills") == 1, "a certificate that was altered proves nothing"


def test_a_slow_drill_passes_and_says_so(turns: Site, capsys: pytest.CaptureFixture[str]) -> None:
    turns.change_plan(drill={"identity": "file:owner.key.txt", "objective_hours": 0.000001})
    assert turns.run("drill") == 0
    said = told(capsys)
    assert "OBJECTIVE MISSED" in said
    assert "Getting the data back took longer than the plan allows" in turns.report()
    assert turns.run("drills") == 1
    assert "Too slow" in told(capsys)


def test_where_nothing_can_be_drilled_the_run_fails_with_a_report(
    running_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running_site.run("drill", "--identity", str(running_site.keys[0])) == 1
    said = told(capsys)
    assert "no target can be drilled now: nas holds no backup yet" in said
    assert "Make a backup first" in running_site.report()


def certificate_names(site: Site) -> list[tuple[str, str]]:
    return [(t, name) for t in ("nas", "cellar") for name in site.objects(t) if ".drill-" in name]
