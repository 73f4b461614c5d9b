"""The command line as its users meet it: help, refusals in one clear line, and what each command leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.states import Completed

from deployments.cli import app as cli
from deployments.cli import screen
from flows.report import drill_report
from tasks.context import KINDS, PlanContext
from tasks.keys.identities import read_identities
from tasks.plan.load import load_plan
from tasks.recovery.drill import drill_backup
from tasks.recovery.find import PASSED_OVER
from tasks.steps import progress
from tasks.targets.shared.marker import MARKER
from tests.flows.site import Site, counts
from tests.mounts import tmpfs

COMMANDS = ["init", "target init", "doctor", "backup", "retry", "drill", "audit", "prune", "restore", "list"]
COMMANDS += [
    "serve",
    "notify",
    "demo",
    "keys new",
    "keys protect",
    "keys sheet",
    "keys split",
    "keys join",
    "keys opens",
]
COMMANDS += ["keys rewrap", "keys prove", "keys status", "help"]

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal so wide that no sentence is broken."""
    monkeypatch.setattr(screen.out, "width", 400)
    monkeypatch.setattr(screen.err, "width", 400)


@pytest.fixture
def office_folder(tmp_path: Path, clinic: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but a database in it; commands are run from there."""
    shutil.copy(clinic, tmp_path / "clinic.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clear_line(captured: Captured) -> str:
    """What was said about a failure: one line with a cross, perhaps its hint below, and no traceback."""
    said = captured.readouterr().err
    lines = said.splitlines()
    assert lines and lines[0].startswith("✗ "), said
    assert all(line.startswith("  → ") for line in lines[1:]), said
    assert len(lines) <= 2, said
    return said


def recipient_in(text: str) -> str:
    (found,) = re.findall(r"age1[a-z0-9]+", text)
    return str(found)


def new_key(captured: Captured, holder: str, *options: str) -> str:
    """Make a key on the command line; the recipient that was shown."""
    captured.readouterr()
    assert cli.main(["keys", "new", "--holder", holder, *options]) == 0
    return recipient_in(captured.readouterr().out)


# Help and what was not understood


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(command: str, capsys: Captured) -> None:
    assert cli.main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: datasave {command}" in shown
    heading, _, examples = shown.partition("Examples:")
    assert f"datasave {command}" in examples, heading


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_no_arguments_show_what_there_is(arguments: list[str], capsys: Captured) -> None:
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f" {command.split()[0]} " in shown


def test_the_version(capsys: Captured) -> None:
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["bakcup"], "bakcup"),
        (["keys", "old"], "old"),
        (["backup", "--tagret", "nas"], "--tagret"),
        (["backup", "nas"], "nas"),
        (["backup", "--plan"], "--plan"),
        (["keys", "new"], "--holder"),
        (["serve", "--port", "many"], "--port"),
        (["target", "init"], "TARGET"),
        (["adopt"], "TARGET"),
    ],
)
def test_what_was_not_understood(arguments: list[str], named: str, capsys: Captured) -> None:
    assert cli.main(arguments) == 2
    said = clear_line(capsys)
    assert named in said and "--help" in said


def test_a_restore_says_which_options_it_lacks(capsys: Captured) -> None:
    assert cli.main(["restore", "--to", "there"]) == 1
    assert "--identity" in clear_line(capsys)


@pytest.mark.parametrize("command", ["backup", "doctor", "list", "drill", "audit", "prune", "retry"])
def test_no_plan_there(command: str, capsys: Captured, tmp_path: Path) -> None:
    assert cli.main([command, "--plan", str(tmp_path / "nowhere.yaml")]) == 1
    assert "nowhere.yaml" in clear_line(capsys)


def test_the_plan_from_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("DATASAVE_PLAN", str(site.plan))
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out.count("no backups") == 3


def test_the_only_plan_of_a_folder_needs_no_name(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(site.plan.parent)
    (site.plan.parent / "other.yaml").write_text("services: [1]\n")
    assert site.plan.name != "datasave.yaml"
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out.count("no backups") == 3
    assert "DATASAVE_PLAN" not in os.environ
    (site.plan.parent / "second.yml").write_text(site.plan.read_text())
    assert cli.main(["list"]) == 1, "which of the two?"
    assert "datasave.yaml" in clear_line(capsys)


def test_status_ends_with_its_verdict(site: Site, capsys: Captured) -> None:
    """Where a pipe or a screen keeps the last lines, and on standard output: it is what was asked for."""
    assert site.run("status") == 1
    said = capsys.readouterr()
    assert said.err == ""
    before, _, after = said.out.partition("✗ ")
    assert "Page:" in before and "Page:" not in after
    assert "attention" in after.splitlines()[0]
    assert any(line.startswith("  → nas is empty") for line in after.splitlines())


# init


def test_init_writes_a_plan_that_loads_as_it_stands(office_folder: Path, capsys: Captured) -> None:
    owner, safe = new_key(capsys, "Owner"), new_key(capsys, "Bank safe")
    holders = ["--holder", f"Owner={owner}", "--holder", f"Bank safe={safe}"]
    assert cli.main(["init", *holders, "--target", "nas=nas", "--target", "disk=/mnt/a=b"]) == 0
    path = office_folder / "datasave.yaml"
    plan = load_plan(path, KINDS)
    assert plan.name == "clinic"
    assert [(holder.name, holder.recipient) for holder in plan.holders] == [
        ("Owner", owner),
        ("Bank safe", safe),
    ]
    named = yaml.safe_load(path.read_text("utf-8"))["targets"]
    assert [(target["name"], target["path"]) for target in named] == [("nas", "nas"), ("disk", "/mnt/a=b")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "AGE-SECRET-KEY" not in path.read_text("utf-8")
    (schema,) = re.findall(r"\$schema=(\S+)", path.read_text("utf-8"))
    assert "holders" in json.loads((office_folder / schema).read_text("utf-8"))["properties"]
    written = path.read_bytes()
    capsys.readouterr()
    assert cli.main(["init", "--holder", f"Owner={safe}", "--target", "other=there"]) == 1
    assert "never overwritten" in clear_line(capsys)
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (["--holder", "Owner=age1abc", "--target", "nas=nas"], "Copy the whole text that begins with age1"),
        (["--holder", "Owner", "--target", "nas=nas"], "Owner=age1…"),
        (["--holder", "=age1abc", "--target", "nas=nas"], "Owner=age1…"),
        ([], "datasave keys new"),
        (["--target", "nas=nas"], "datasave keys new"),
        (["--holder", "Owner=RECIPIENT"], "--target NAME=FOLDER"),
        (["--holder", "Owner=RECIPIENT", "--target", "nas=nas", "--source", "oracle"], "sqlite"),
        (
            ["nowhere/plan.yaml", "--holder", "Owner=RECIPIENT", "--target", "nas=nas"],
            "Make its folder first",
        ),
    ],
)
def test_init_refuses_and_leaves_nothing(
    office_folder: Path, capsys: Captured, arguments: list[str], way_out: str
) -> None:
    recipient = new_key(capsys, "Owner")
    before = sorted(office_folder.rglob("*"))
    assert cli.main(["init", *(part.replace("RECIPIENT", recipient) for part in arguments)]) == 1
    assert way_out in clear_line(capsys)
    assert sorted(office_folder.rglob("*")) == before


def test_init_with_a_private_key_in_place_of_the_recipient(office_folder: Path, capsys: Captured) -> None:
    """The likeliest slip of all: it must be named, and the key neither shown nor written down."""
    new_key(capsys, "Owner")
    secret = (office_folder / "owner.key.txt").read_text().splitlines()[-1]
    assert secret.startswith("AGE-SECRET-KEY-1")
    assert cli.main(["init", "--holder", f"Owner={secret}", "--target", "nas=nas"]) == 1
    said = clear_line(capsys)
    assert "private" in said and secret not in said
    assert not (office_folder / "datasave.yaml").exists()


def test_init_makes_keys_and_a_schedule_without_a_question(
    office_folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    (office_folder / "usb").mkdir()
    keys = ["--new-key", "Owner=.", "--new-key", "Bank safe=usb"]
    mail = [
        "--told",
        "a@office.example",
        "--told",
        "b@office.example",
        "--mail-server",
        "smtp.office.example",
    ]
    mail += ["--mail-password", "env:SMTP_PASSWORD"]
    assert cli.main(["init", "--yes", *keys, *mail, "--target", "nas=nas"]) == 0
    said = capsys.readouterr()
    plan = load_plan(office_folder / "datasave.yaml", KINDS)
    assert plan.schedule.backup == "0 2 * * *" and plan.schedule.timezone == "America/New_York"
    assert plan.notices.mail and plan.notices.mail.user == "a@office.example"
    assert len(plan.notices.mail.to) == 2
    for holder, path in zip(plan.holders, ("owner.key.txt", "usb/bank-safe.key.txt"), strict=True):
        assert stat.S_IMODE((office_folder / path).stat().st_mode) == 0o600
        assert recipient_in((office_folder / path).read_text("utf-8")) == holder.recipient
        assert f"datasave keys sheet --identity {path} " in said.out
    assert "At least two people are told" not in said.err, "nothing that the plan meets is named"
    assert "At least one copy is off premises." in said.err


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (["--new-key", "Owner=nowhere", "--target", "nas=nas"], "Name another folder"),
        (
            ["--new-key", "Owner=.", "--new-key", "Safe=.", "--told", "a@b.example", "--target", "n=n"],
            "--mail-server",
        ),
        (["--new-key", "Safe=.", "--schedule", "tonight", "--target", "nas=nas"], "hour"),
        (
            ["--new-key", "Safe=.", "--yes", "--timezone", "Office/Here", "--target", "nas=nas"],
            "America/New_York",
        ),
        (["--new-key", "Safe=.", "--yes"], "--target NAME=FOLDER"),
    ],
)
def test_init_makes_no_key_for_a_plan_that_is_none(
    office_folder: Path, capsys: Captured, arguments: list[str], way_out: str
) -> None:
    assert cli.main(["init", *arguments]) == 1
    assert way_out in clear_line(capsys)
    assert list(office_folder.rglob("*.key.txt")) == [] and not (office_folder / "datasave.yaml").exists()


# keys


def test_keys_new_is_private_and_never_overwrites(office_folder: Path, capsys: Captured) -> None:
    recipient = new_key(capsys, "Dr. Müller & Söhne")
    (path,) = office_folder.glob("*.key.txt")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert recipient_in(path.read_text("utf-8").partition("AGE-SECRET-KEY")[0]) == recipient
    written = path.read_bytes()
    assert cli.main(["keys", "new", "--holder", "Dr. Müller & Söhne"]) == 1
    assert "exists already" in clear_line(capsys)
    assert path.read_bytes() == written


def test_keys_new_where_nothing_can_be_written(office_folder: Path, capsys: Captured) -> None:
    assert cli.main(["keys", "new", "--holder", "Owner", "--out", "nowhere/owner.txt"]) == 1
    said = clear_line(capsys)
    assert "nowhere" in said and "folder" in said


def test_stock_age_reads_a_classic_key(office_folder: Path, capsys: Captured) -> None:
    recipient = new_key(capsys, "Owner")
    sealed = office_folder / "sealed.age"
    subprocess.run(["age", "-r", recipient, "-o", sealed], input=b"hello", check=True)
    opened = subprocess.run(
        ["age", "-d", "-i", "owner.key.txt", sealed], capture_output=True, check=True, cwd=office_folder
    )
    assert opened.stdout == b"hello"


@pytest.mark.slow
def test_a_post_quantum_office(office_folder: Path, prefect_server: str, capsys: Captured) -> None:
    """Keys, plan, backup, drill and restore with hybrid keys alone, all on the command line."""
    assert prefect_server
    owner = new_key(capsys, "Owner", "--post-quantum")
    safe = new_key(capsys, "Safe", "--post-quantum", "--out", "safe.txt")
    assert owner.startswith("age1pq1") and safe.startswith("age1pq1") and owner != safe
    assert stat.S_IMODE((office_folder / "safe.txt").stat().st_mode) == 0o600
    holders = ["--holder", f"Owner={owner}", "--holder", f"Safe={safe}"]
    assert cli.main(["init", *holders, "--target", "nas=nas"]) == 0
    assert cli.main(["target", "init", "nas"]) == 0
    assert cli.main(["doctor"]) == 0
    assert cli.main(["backup"]) == 0
    (archive,) = office_folder.rglob("*.tar.zst.age")
    header = archive.read_bytes()[:6000].partition(b"\n---")[0]
    assert header.count(b"-> mlkem768x25519 ") == 2 and b"-> X25519" not in header
    assert cli.main(["drill", "--identity", "safe.txt"]) == 0
    assert cli.main(["restore", "-i", "owner.key.txt", "--to", "restored"]) == 0
    assert counts(office_folder / "restored" / "clinic.db") == counts(office_folder / "clinic.db")


# target init


@pytest.mark.parametrize("command", [("target", "init"), ("adopt",)], ids=" ".join)
def test_target_init_marks_once_and_refuses_what_belongs_to_another(
    site: Site, capsys: Captured, command: tuple[str, ...]
) -> None:
    """`adopt` is the word that the command had at first: it works the same."""
    marker = site.root / "nas" / MARKER
    written = marker.read_bytes()
    assert site.run(*command, "nas") == 0
    assert "already" in capsys.readouterr().out
    assert marker.read_bytes() == written
    cellar = (site.root / "cellar" / MARKER).read_bytes()
    marker.write_bytes(cellar)
    assert site.run(*command, "nas") == 1
    said = clear_line(capsys)
    assert "'cellar'" in said and "Choose another folder" in said
    assert marker.read_bytes() == cellar
    assert site.run(*command, "nsa") == 1
    assert "nas, second-disk, cellar" in clear_line(capsys)


def test_the_old_word_makes_a_target_and_is_not_shown(site: Site, capsys: Captured) -> None:
    marker = site.root / "nas" / MARKER
    marker.unlink()
    assert site.run("adopt", "nas") == 0
    assert marker.exists()
    capsys.readouterr()
    assert cli.main(["--help"]) == 0
    assert "adopt" not in capsys.readouterr().out


# doctor


def test_doctor_on_a_healthy_office(site: Site, capsys: Captured) -> None:
    before = [site.objects(name) for name in ("nas", "second-disk", "cellar")]
    assert site.run("doctor") == 0
    shown = capsys.readouterr()
    assert "ready" in shown.out and "FAILED" not in shown.out and shown.err == ""
    assert [site.objects(name) for name in ("nas", "second-disk", "cellar")] == before, "no probe stays"


def no_source(site: Site) -> None:
    site.database.rename(site.root / "elsewhere.db")


def not_initialized(site: Site) -> None:
    (site.root / "nas" / MARKER).unlink()


def one_holder(site: Site) -> None:
    site.change_plan(holders=yaml.safe_load(site.plan.read_text("utf-8"))["holders"][:1])


def wrong_expectation(site: Site) -> None:
    expect = {"type": "expect_column_values_to_be_betwen", "kwargs": {"min_value": 1}}
    site.change_plan(checks=[{"title": "many visits", "sql": "SELECT 1", "expect": expect}])


def open_identity(site: Site) -> None:
    site.change_plan(drill={"identity": "file:owner.key.txt"})
    site.keys[0].chmod(0o644)


def no_identity(site: Site) -> None:
    site.change_plan(drill={"identity": "file:nobody.key.txt"})


def own_machine_key_open(site: Site) -> None:
    site.context.machine_key()
    (site.context.state / "machine.key").chmod(0o644)


SINGLE_FAULTS: list[tuple[Callable[[Site], None], str, str]] = [
    (no_source, "source", "Check `path:` in the plan"),
    (not_initialized, "target nas", "datasave target init nas"),
    (one_holder, "holders", "Add a second holder"),
    (wrong_expectation, "plan's checks", "Did you mean expect_column_values_to_be_between?"),
    (open_identity, "drill key", "chmod 600"),
    (no_identity, "drill key", "nobody.key.txt"),
    (own_machine_key_open, "machine key", "chmod 600"),
]


@pytest.mark.parametrize(
    ("fault", "named", "mend"), SINGLE_FAULTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_doctor_names_a_single_fault(
    site: Site, capsys: Captured, fault: Callable[[Site], None], named: str, mend: str
) -> None:
    fault(site)
    assert site.run("doctor") == 1
    assert_one_finding(capsys, named, mend)


def test_doctor_sees_that_staging_has_no_room(site: Site, capsys: Captured) -> None:
    with tmpfs(site.root / "small", 1):
        site.change_plan(state="small/state")
        assert site.run("doctor") == 1
        assert_one_finding(capsys, "staging", "`state:`")


def test_doctor_sees_that_a_target_has_no_room(site: Site, capsys: Captured) -> None:
    with tmpfs(site.root / "nas", 1):
        site.init_target("nas")
        assert site.run("doctor") == 1
        assert_one_finding(capsys, "target nas", "Free space there")


def assert_one_finding(captured: Captured, named: str, mend: str) -> None:
    shown = captured.readouterr()
    failed = [line for line in shown.out.splitlines() if line.strip().startswith("FAILED")]
    assert len(failed) == 1, shown.out
    assert named in failed[0] and mend in failed[0]
    assert shown.err.startswith("✗ 1 of ") and "Traceback" not in shown.err


# Commands on a running office


def test_list_with_one_target_out_of_reach(running_site: Site, capsys: Captured) -> None:
    site = running_site
    assert site.run("backup") == 0
    (site.root / "cellar").rename(site.root / "gone")
    capsys.readouterr()
    assert site.run("list") == 1
    shown = capsys.readouterr()
    assert shown.out.count("verified") == 2, "the others are still shown"
    assert shown.err.count("✗") == 1 and "cellar" in shown.err and "Mount" in shown.err
    assert site.run("list", "--target", "nas") == 0
    assert site.run("list", "--target", "nsa") == 1
    assert "nas, second-disk, cellar" in clear_line(capsys)


def test_an_unknown_target_is_refused_before_anything_runs(running_site: Site, capsys: Captured) -> None:
    site = running_site
    for command in ("backup", "audit", "prune"):
        assert site.run(command, "--target", "nsa") == 1
        assert "nas, second-disk, cellar" in clear_line(capsys)
    assert site.run("drill", "--target", "nsa", "--identity", str(site.keys[0])) == 1
    assert "nas, second-disk, cellar" in clear_line(capsys)
    assert not site.context.staging.exists() or site.plaintext() == []


def test_a_drill_without_identity_or_backup(running_site: Site, capsys: Captured) -> None:
    site = running_site
    assert site.run("drill") == 1
    said = capsys.readouterr().err
    assert said.count("✗") == 1 and "--identity" in said and "Traceback" not in said
    assert site.run("drill", "--identity", str(site.root / "nobody.txt")) == 1
    said = capsys.readouterr().err
    assert "nobody.txt" in said and "datasave keys new" in said and "Traceback" not in said
    assert site.run("drill", "--identity", str(site.keys[0])) == 1
    said = capsys.readouterr().err
    assert "nas holds no backup yet" in said and "Traceback" not in said
    assert site.objects("nas") == []


def test_retry_with_nothing_to_retry(running_site: Site, capsys: Captured) -> None:
    site = running_site
    assert site.run("retry") == 1
    assert "datasave backup" in clear_line(capsys)
    for unknown in ("5f7c2a1e-8d39-4c55-9d0e-2f6f4d3c8a10", "yesterday"):
        assert site.run("retry", unknown) == 1
        assert unknown in clear_line(capsys)
    assert site.run("backup", "--target", "nas") == 0
    capsys.readouterr()
    assert site.run("retry") == 1, "a run that succeeded is not run again"
    assert "no failed backup run" in clear_line(capsys)


def test_prune_shows_and_clears_cut_off_deliveries(running_site: Site, capsys: Captured) -> None:
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    before = site.objects("nas")
    (archive,) = site.archives("nas")
    cut_off = archive.with_name(archive.name.replace("-000001", "-000002"))
    cut_off.write_bytes(archive.read_bytes()[:1000])
    capsys.readouterr()
    assert site.run("list", "--target", "nas") == 0
    shown = capsys.readouterr().out
    assert shown.count("verified") == 1 and "1 delivery was cut off" in shown
    assert site.run("prune", "--unfinished") == 0
    shown = capsys.readouterr().out
    assert cut_off.name in shown and archive.name not in shown and "Nothing was deleted" in shown
    assert cut_off.exists()
    assert site.run("prune", "--apply") == 0
    assert cut_off.exists(), "retention leaves alone what it does not know"
    assert site.run("prune", "--unfinished", "--apply") == 0
    assert site.objects("nas") == before


def test_prune_with_a_target_out_of_reach(running_site: Site, capsys: Captured) -> None:
    site = running_site
    (site.root / "cellar" / MARKER).unlink()
    for arguments in (["prune"], ["prune", "--apply"], ["prune", "--unfinished"]):
        capsys.readouterr()
        assert site.run(*arguments) == 1, arguments
        shown = capsys.readouterr()
        assert "cellar" in shown.err and "Traceback" not in shown.err
    capsys.readouterr()


def test_a_plan_path_with_spaces_and_umlauts(
    tmp_path: Path, clinic: Path, prefect_server: str, capsys: Captured
) -> None:
    assert prefect_server
    # "[/alt]" would close a style, were the path taken for the terminal's own markup.
    root = tmp_path / "Praxis Müller & Söhne [" / "alt]"
    root.mkdir(parents=True)
    shutil.copy(clinic, root / "clinic.db")
    (root / "clinic.db").rename(root / "Kartei für alle?.db")
    made = Site.make(root, ["nas"], source={"kind": "sqlite", "path": "Kartei für alle?.db"})
    plan = root / "Plan der Praxis – Größe 1.yaml"
    made.plan.rename(plan)
    site = Site(root, plan, made.keys)
    assert site.run("doctor") == 0
    assert site.run("backup") == 0
    assert site.run("list") == 0
    assert site.run("drill", "--identity", str(site.keys[0])) == 0
    destination = tmp_path / "Zurück geholt"
    assert site.run("restore", "-i", str(site.keys[1]), "--to", str(destination)) == 0
    (restored,) = destination.iterdir()
    assert restored.name == "Kartei für alle?.db"
    # Under plain names: the helper that counts puts them into a URI as they are.
    shutil.copy(restored, tmp_path / "restored.db")
    shutil.copy(root / "Kartei für alle?.db", tmp_path / "live.db")
    assert counts(tmp_path / "restored.db") == counts(tmp_path / "live.db")
    assert str(restored) in capsys.readouterr().out, "the path can be copied from the screen"


def test_two_backups_of_one_plan_at_once(running_site: Site, prefect_server: str, capsys: Captured) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    site = running_site
    second: list[int] = []

    def back_up() -> None:
        with temporary_settings({PREFECT_API_URL: prefect_server}):
            second.append(site.run("backup"))

    def start_another(step: str, done: int, _total: int) -> None:
        if step == "archive and encrypt" and done > 0 and not second:
            second.append(-1)
            # A thread of its own: it must not pass for a part of the first run.
            other = threading.Thread(target=back_up)
            other.start()
            other.join()

    with progress.watched_by(start_another):
        assert site.run("backup") == 0
    assert second == [-1, 1], "the second was refused while the first ran"
    said = clear_line(capsys)
    assert "under way" in said and "Wait until it has ended" in said
    assert [manifest["sequence"] for manifest in site.manifests("nas")] == [1]
    assert site.plaintext() == []


# restore


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, clinic: Path, prefect_server: str) -> Site:
    """An office with two backups on its nas: the first without the ledger's last line. Not to be changed."""
    assert prefect_server
    root = tmp_path_factory.mktemp("stocked")
    shutil.copy(clinic, root / "clinic.db")
    targets = [{"name": "nas", "kind": "folder", "path": "nas", "slots": "weekday", "keep": "forever"}]
    site = Site.make(root, ["nas"])
    site.change_plan(targets=targets)
    with closing(sqlite3.connect(site.database)) as database:
        (last,) = database.execute("SELECT visit, booked, cents FROM ledger ORDER BY id DESC LIMIT 1")
        with database:
            database.execute("DELETE FROM ledger WHERE id = (SELECT max(id) FROM ledger)")
        assert site.run("backup") == 0
        with database:
            database.execute("INSERT INTO ledger (visit, booked, cents) VALUES (?, ?, ?)", last)
        assert site.run("backup") == 0
    return site


def names_of(site: Site) -> list[str]:
    return [path.relative_to(site.root / "nas").as_posix() for path in site.archives("nas")]


@pytest.mark.parametrize("where", ["plan", "target", "folder", "slot"])
def test_restore_from(stocked: Site, tmp_path: Path, where: str, capsys: Captured) -> None:
    slot = names_of(stocked)[0].partition("/")[0]
    places = {
        "plan": ["--plan", str(stocked.plan)],
        "target": ["--plan", str(stocked.plan), "--target", "nas"],
        "folder": ["--folder", str(stocked.root / "nas"), *stocked.signer],
        "slot": ["--folder", str(stocked.root / "nas" / slot), *stocked.signer],
    }
    command = ["restore", *places[where], "-i", str(stocked.keys[0]), "--to", str(tmp_path / "new")]
    assert cli.main(command) == 0
    assert counts(tmp_path / "new" / "clinic.db") == counts(stocked.database)
    shown = capsys.readouterr().out
    assert "key of Owner" in shown and str(tmp_path / "new" / "clinic.db") in shown
    assert stat.S_IMODE((tmp_path / "new" / "clinic.db").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"], "nothing readable stays beside it"


@pytest.mark.parametrize("how", ["number", "date", "name", "slot and name"])
def test_restore_one_of_several(stocked: Site, tmp_path: Path, how: str) -> None:
    first = names_of(stocked)[0]
    today = datetime.now(UTC).date().isoformat()
    wanted = {"number": "1", "date": today, "name": first.rpartition("/")[2], "slot and name": first}[how]
    arguments = ["--backup", wanted, "-i", str(stocked.keys[0]), "--to", str(tmp_path / "new")]
    assert stocked.run("restore", *arguments) == 0
    missing = 0 if how == "date" else 1
    found = counts(tmp_path / "new" / "clinic.db")
    assert found["ledger"] == counts(stocked.database)["ledger"] - missing, "of a day, the newest"


@pytest.fixture
def copied(stocked: Site, tmp_path: Path) -> Site:
    """The same office once more, to be changed."""
    root = tmp_path / "office"
    shutil.copytree(stocked.root, root)
    return Site(root, root / stocked.plan.name, tuple(root / key.name for key in stocked.keys))


def empty_manifest(archive: Path) -> str:
    archive.with_name(archive.name.replace(".tar.zst.age", ".manifest.json")).write_bytes(b"")
    return "manifest unreadable: it is empty"


def renamed_archive(archive: Path) -> str:
    archive.rename(archive.with_name(archive.name.replace(".tar", " (1).tar")))
    return "has its size; rename it to"


@pytest.mark.parametrize("harm", [empty_manifest, renamed_archive])
def test_b5_what_is_newer_is_named_before_and_after(
    copied: Site, harm: Callable[[Path], str], tmp_path: Path, capsys: Captured
) -> None:
    cause = harm(copied.archives("nas")[-1])
    key = ("-i", str(copied.keys[0]))
    capsys.readouterr()
    assert copied.run("restore", *key, "--to", str(tmp_path / "new")) == 0
    said = capsys.readouterr().err
    assert said.count("#2 of") == said.count("is newer and not used") == said.count(cause) == 2
    words = ["rescue", str(copied.root / "nas"), *key, "--to", str(tmp_path / "rescued"), *copied.signer]
    assert cli.main(words) == 0
    said = capsys.readouterr().err
    assert said.count("#2 of") == said.count("is newer and not used") == said.count(cause) == 2
    certificate = drill_backup(copied.context, "nas", "latest", read_identities([copied.keys[0]]))
    assert certificate.passed and certificate.sequence == 1
    (newer,) = [check for check in certificate.checks if check.check == PASSED_OVER]
    assert "#2 of" in newer.detail and cause in newer.detail
    done = {"": Completed(data=certificate)}
    report = drill_report(copied.context, "nas", done, certificate.drilled)
    assert "NOT THE NEWEST: #2 of" in report.headline and newer.detail in report.advice


@pytest.mark.parametrize("wanted", ["417", "2001-01-01", "clinic-19990101T000000Z-000001.tar.zst.age", ""])
def test_restore_an_unknown_backup_lists_those_there_are(
    stocked: Site, tmp_path: Path, wanted: str, capsys: Captured
) -> None:
    arguments = ["--backup", wanted, "-i", str(stocked.keys[0]), "--to", str(tmp_path / "new")]
    assert stocked.run("restore", *arguments) == 1
    said = clear_line(capsys)
    assert all(name in said for name in names_of(stocked))
    assert list(tmp_path.iterdir()) == []


def occupied(site: Site, root: Path) -> list[str]:
    (root / "new").mkdir()
    (root / "new" / "letter.txt").write_text("precious")
    return ["-i", str(site.keys[0])]


def a_file_there(site: Site, root: Path) -> list[str]:
    (root / "new").write_text("precious")
    return ["-i", str(site.keys[0])]


def no_key_file(site: Site, root: Path) -> list[str]:
    return ["-i", str(root / "nobody.txt")]


def database_as_key(site: Site, root: Path) -> list[str]:
    return ["-i", str(site.database)]


def recipient_as_key(site: Site, root: Path) -> list[str]:
    recipient = yaml.safe_load(site.plan.read_text("utf-8"))["holders"][0]["recipient"]
    (root / "public.txt").write_text(f"{recipient}\n")
    return ["-i", str(root / "public.txt")]


def no_folder(site: Site, root: Path) -> list[str]:
    return ["-i", str(site.keys[0]), "--folder", str(root / "unplugged")]


def empty_folder(site: Site, root: Path) -> list[str]:
    (root / "empty").mkdir()
    return ["-i", str(site.keys[0]), "--folder", str(root / "empty")]


REFUSALS: list[tuple[Callable[[Site, Path], list[str]], str]] = [
    (occupied, "not empty"),
    (a_file_there, "not empty"),
    (no_key_file, "nobody.txt"),
    (database_as_key, "not a text file"),
    (recipient_as_key, "public.txt: line 1"),
    (no_folder, "unplugged"),
    (empty_folder, "no verified backup"),
]


@pytest.mark.parametrize(("prepare", "words"), REFUSALS, ids=lambda value: getattr(value, "__name__", None))
def test_restore_refuses_and_changes_nothing(
    stocked: Site,
    tmp_path: Path,
    capsys: Captured,
    prepare: Callable[[Site, Path], list[str]],
    words: str,
) -> None:
    arguments = prepare(stocked, tmp_path)
    before = contents(tmp_path)
    assert stocked.run("restore", *arguments, "--to", str(tmp_path / "new")) == 1
    assert words in clear_line(capsys)
    assert contents(tmp_path) == before


def contents(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in root.rglob("*")}


def test_restore_without_plan_and_without_folder(
    tmp_path: Path, stocked: Site, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["restore", "-i", str(stocked.keys[0]), "--to", "new"]) == 1
    said = clear_line(capsys)
    assert "--plan" in said and "--folder" in said


@contextmanager
def a_check_that_fails(site: Site) -> Iterator[None]:
    """A plan's own check that today's copy does not pass, as if the plan had grown since the backup."""
    written = site.plan.read_text("utf-8")
    expect: dict[str, Any] = {"type": "expect_column_values_to_be_between", "kwargs": {"min_value": 10**9}}
    site.change_plan(
        checks=[{"title": "a billion visits", "sql": "SELECT count(*) FROM visits", "expect": expect}]
    )
    try:
        yield
    finally:
        site.plan.write_text(written, "utf-8")


def test_accept_damage_keeps_what_failed_its_checks(stocked: Site, tmp_path: Path, capsys: Captured) -> None:
    arguments = ["restore", "-i", str(stocked.keys[0]), "--to", str(tmp_path / "new")]
    with a_check_that_fails(stocked):
        assert stocked.run(*arguments) == 1
        said = clear_line(capsys)
        assert "a billion visits" in said and "--accept-damage" in said
        assert list(tmp_path.iterdir()) == []
        assert stocked.run(*arguments, "--accept-damage") == 1
    shown = capsys.readouterr().out
    assert "a billion visits" in shown and "Kept although checks did not pass" in shown
    assert counts(tmp_path / "new" / "clinic.db") == counts(stocked.database)


def test_restore_works_for_another_account_with_no_state(stocked: Site, tmp_path: Path) -> None:
    """With --folder nothing of the office is needed, and nothing is made beside the backups."""
    medium = tmp_path / "medium"
    shutil.copytree(stocked.root / "nas", medium)
    before = contents(medium)
    arguments = ["--folder", str(medium), "-i", str(stocked.keys[1]), "--to", str(tmp_path / "new")]
    assert cli.main(["restore", *arguments, *stocked.signer]) == 0
    assert contents(medium) == before
    assert not (tmp_path / ".datasave").exists()


def test_the_same_plan_on_a_new_machine(stocked: Site, tmp_path: Path, capsys: Captured) -> None:
    """The old machine burnt down. Its backups are called another's, and the way out is told and works."""
    shutil.copy(stocked.plan, tmp_path / "clinic.yaml")
    shutil.copytree(stocked.root / "nas", tmp_path / "nas")
    elsewhere = Site(tmp_path, tmp_path / "clinic.yaml", stocked.keys)
    assert PlanContext(elsewhere.plan).trusted().isdisjoint(stocked.context.trusted())
    assert elsewhere.run("list") == 0
    assert "verified" not in capsys.readouterr().out
    assert elsewhere.run("restore", "-i", str(stocked.keys[0]), "--to", str(tmp_path / "new")) == 1
    said = clear_line(capsys)
    assert "`signers:`" in said and "--folder" in said
    bare = ["restore", "--folder", str(tmp_path / "nas"), "-i", str(stocked.keys[0]), *stocked.signer]
    assert cli.main([*bare, "--to", str(tmp_path / "new")]) == 0
    (machine,) = set(re.findall(r"ed25519:\S+=", capsys.readouterr().out))
    elsewhere.change_plan(signers=[machine])
    assert elsewhere.run("restore", "-i", str(stocked.keys[0]), "--to", str(tmp_path / "again")) == 0
