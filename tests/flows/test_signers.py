"""Whoever can write to a target puts a backup of their own there: nobody opens it for the office's."""

from __future__ import annotations

import io
import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from deployments.cli import app as cli
from deployments.cli.demo_clinic import make_clinic
from tasks.keys.machines import noted, words_of
from tasks.manifests.signing import allowed_signer, public_text
from tests.flows.nights import night
from tests.flows.site import Site, counts
from tests.terminal import typed

FIRST = datetime(2026, 11, 23, 2, tzinfo=UTC)


class Places(NamedTuple):
    """An office, and a place where a stranger put two newer backups beside its own one."""

    site: Site
    nas: Path
    machine: str
    stranger: str
    rows: dict[str, int]


def machine_of(site: Site) -> str:
    return public_text(site.context.machine_key().public_key())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Places:
    root = tmp_path_factory.mktemp("signers")
    sites = []
    for name in ("office", "stranger"):
        (root / name).mkdir()
        make_clinic(root / name / "clinic.db", 100_000, wal=False)
        sites.append(Site.make(root / name, ["nas"]))
    office, stranger = sites
    # All that sealing for the holders takes is public.
    stranger.change_plan(holders=yaml.safe_load(office.plan.read_text("utf-8"))["holders"])
    with closing(sqlite3.connect(stranger.database)) as database, database:
        database.execute("DELETE FROM ledger")
    night(office, FIRST)
    for day in (1, 2):
        night(stranger, FIRST + timedelta(days=day))
    shutil.copytree(office.root / "nas", root / "both")
    for path in (stranger.root / "nas").rglob("clinic-*"):
        place = root / "both" / path.relative_to(stranger.root / "nas")
        place.parent.mkdir(exist_ok=True)
        shutil.copy(path, place)
    return Places(office, root / "both", machine_of(office), machine_of(stranger), counts(office.database))


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty machine, and nobody at a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def rescue(made: Places, *words: str, place: Path | None = None) -> int:
    return cli.main(["rescue", str(place or made.nas), "-i", str(made.site.keys[0]), "--to", "new", *words])


def restore(made: Places, *words: str) -> int:
    own = ["-i", str(made.site.keys[0]), "--to", "new"]
    return cli.main(["restore", "--folder", str(made.nas), *own, *words])


@pytest.mark.parametrize("command", [rescue, restore])
def test_s3_nothing_is_opened_where_nobody_knows_the_machine(
    made: Places,
    command,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    assert command(made) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "2 machines signed backups there, not one" in said
    assert f"{words_of(made.stranger)} (2 backups of clinic, up to #2)" in said
    assert words_of(made.machine) in said and "--signer" in said
    assert not Path("new").exists()


@pytest.mark.parametrize("command", [rescue, restore])
@pytest.mark.parametrize("how", ["words", "key", "line", "code"])
def test_s3_the_machine_that_was_named_counts_alone(
    made: Places,
    command,
    how: str,  # type: ignore[no-untyped-def]
) -> None:
    Path("code.txt").write_text(f"# machine: {made.machine}\n", "utf-8")
    given = {
        "words": words_of(made.machine).replace("-", "  ").upper(),
        "key": made.machine,
        "line": allowed_signer(made.machine),
        "code": "code.txt",
    }
    assert command(made, "--signer", given[how]) == 0
    assert counts(Path("new/clinic.db")) == made.rows


def test_s3_other_words_open_nothing(made: Places, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_of(made.machine).split("-")
    assert rescue(made, "--signer", "-".join([*words[1:], words[0]])) == 1
    assert "no backup there was signed by the machine given" in capsys.readouterr().err
    assert rescue(made, "--signer", "-".join(words[:9])) == 1
    assert rescue(made, "--signer", "") == 1
    assert not Path("new").exists()


def test_s3_the_key_file_knows_the_machine(made: Places, capsys: pytest.CaptureFixture[str]) -> None:
    key = Path("key.txt")
    key.write_bytes(made.site.keys[0].read_bytes())
    key.chmod(0o600)
    for _ in range(2):
        assert made.site.run("keys", "fingerprint", "--note", str(key)) == 0
    assert noted(key.read_text("utf-8")) == (made.machine,) and key.read_text("utf-8").count("#") == 1
    assert words_of(made.machine) in capsys.readouterr().out
    assert cli.main(["rescue", str(made.nas), "-i", str(key), "--to", "new"]) == 0
    assert counts(Path("new/clinic.db")) == made.rows
    # The stranger's alone: whatever they are called, this key was not made for that machine's.
    stranger = made.nas.parent / "stranger" / "nas"
    assert cli.main(["rescue", str(stranger), "-i", str(key), "--to", "other"]) == 1
    assert "none of the machines that the key or the plan names" in capsys.readouterr().err
    assert not Path("other").exists()


def test_s3_the_papers_name_the_machine(made: Places, tmp_path: Path) -> None:
    key, plan = str(made.site.keys[0]), ("--plan", str(made.site.plan))
    assert cli.main(["keys", "sheet", "-i", key, "--out", "sheet.html", *plan]) == 0
    assert cli.main(["keys", "split", "-i", key, "--out", "shares", *plan]) == 0
    assert cli.main(["keys", "new", "--holder", "New", "--out", "new.txt", *plan]) == 0
    assert cli.main(["runbook", "--out", str(tmp_path), *plan]) == 0
    shares = sorted(Path("shares").glob("*.txt"))
    assert cli.main(["keys", "join", *map(str, shares[:2]), "--out", "joined.txt"]) == 0
    for paper in ("sheet.html", str(shares[0].with_suffix(".html")), "RUNBOOK.md"):
        assert words_of(made.machine) in Path(paper).read_text("utf-8"), paper
    assert allowed_signer(made.machine).rpartition(" ")[2] in Path("sheet.html").read_text("utf-8")
    for file in ("new.txt", "joined.txt", str(shares[0])):
        assert noted(Path(file).read_text("utf-8")) == (made.machine,), file


def test_s3_at_a_terminal_the_words_are_typed(made: Places) -> None:
    command = [sys.executable, "-P", "-m", "deployments", "rescue", str(made.nas)]
    own = ["-i", str(made.site.keys[0]), "--to", "new"]
    # With two machines nobody goes on without paper.
    status, said = typed([*command, *own], [("Type its words", "uncompared")])
    assert status == 1 and "the words of none of the machines" in " ".join(said.split())
    assert not Path("new").exists()
    status, said = typed([*command, *own], [("Type its words", words_of(made.machine))])
    assert status == 0, said
    assert counts(Path("new/clinic.db")) == made.rows


def test_s3_one_machine_may_be_gone_on_with_uncompared_and_that_is_said(
    made: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "uncompared")
    assert rescue(made, place=made.site.root / "nas") == 0
    said = capsys.readouterr().err
    assert "nobody compared whose machine" in said
    assert "no journal here: write down who opened this data" in said


def test_s3_a_list_tells_of_several_machines(made: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rescue", str(made.nas), "--list"]) == 0
    assert capsys.readouterr().err.count("signed there by") == 2
    assert cli.main(["rescue", str(made.nas), "--list", "--signer", words_of(made.machine)]) == 0
    said = capsys.readouterr().out
    assert said.count("verified") == 1 and said.count("(ed25519:") == 2


def test_s3_a_forgery_cannot_hide_the_offices_own(
    made: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sealed "anew", as the stranger says, the office's own would not count; it is asked for all the same."""
    assert rescue(made, "--signer", words_of(made.machine), "--backup", "2") == 1
    assert "signed by another machine" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
