"""The whole chain on a running database: backup, list, drill, restore, audit."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import stat
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest

from deployments.cli.demo_clinic import keep_writing
from tests.flows.site import Site, counts


def test_the_whole_chain(running_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = running_site
    assert site.run("backup") == 0
    for target in ("nas", "second-disk", "cellar"):
        names = site.objects(target)
        assert [name.rpartition(".")[2] for name in names] == ["json", "age"]
        assert (site.root / target / "RECOVER.md").read_text("utf-8").count("Owner")
    assert len({path.read_bytes() for path in _all_archives(site)}) == 1
    assert site.plaintext() == []
    assert not any(site.staging.glob("*/sealed/*")), "after full success nothing needs to stay"
    assert site.run("list") == 0
    assert capsys.readouterr().out.count("verified") == 3
    assert site.run("drill", "--identity", str(site.keys[1]), "--target", "cellar") == 0
    certificates = [name for name in site.objects("cellar") if ".drill-" in name]
    assert len(certificates) == 1
    certificate = json.loads((site.root / "cellar" / certificates[0]).read_text())
    assert certificate["passed"] and certificate["holder"] == "Bank safe"
    assert site.run("audit") == 0
    destination = tmp_path / "restored"
    assert site.run("restore", "--identity", str(site.keys[0]), "--to", str(destination)) == 0
    assert counts(destination / "clinic.db") == counts(site.database)


def test_a_writer_commits_all_the_while(running_site: Site, tmp_path: Path) -> None:
    site = running_site
    with closing(sqlite3.connect(site.database)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    enough = threading.Event()
    writer = threading.Thread(target=_write_until, args=(site.database, enough))
    writer.start()
    try:
        assert site.run("backup") == 0
    finally:
        enough.set()
        writer.join()
    assert site.run("restore", "--identity", str(site.keys[0]), "--to", str(tmp_path / "r")) == 0
    found = counts(tmp_path / "r" / "clinic.db")
    # Each visit was committed together with its ledger line: a copy of one moment has as many of both.
    assert found["visits"] == found["ledger"]
    with closing(sqlite3.connect(site.database)) as database:
        assert database.execute("SELECT count(*) FROM visits").fetchone()[0] > found["visits"]


def test_restore_on_an_empty_machine_with_one_identity(
    running_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(site.root / "nas", elsewhere / "medium")
    shutil.copy(site.keys[1], elsewhere / "key.txt")
    expected = counts(site.database)
    signer = site.signer
    shutil.rmtree(site.root / ".datasave")
    from deployments.cli import app as cli

    arguments = ["--folder", str(elsewhere / "medium"), "--identity", str(elsewhere / "key.txt"), *signer]
    assert cli.main(["restore", *arguments, "--to", str(elsewhere / "new")]) == 0
    assert counts(elsewhere / "new" / "clinic.db") == expected
    assert "Bank safe" in capsys.readouterr().out
    occupied = cli.main(["restore", *arguments, "--to", str(elsewhere / "new")])
    assert occupied == 1
    assert "not empty" in capsys.readouterr().err


def test_a_strangers_key_opens_nothing(
    running_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    from deployments.cli import app as cli

    assert cli.main(["keys", "new", "--holder", "Thief", "--out", str(tmp_path / "thief.txt")]) == 0
    status = site.run("restore", "--identity", str(tmp_path / "thief.txt"), "--to", str(tmp_path / "loot"))
    assert status == 1
    message = capsys.readouterr().err
    assert "Owner, Bank safe" in message and "Traceback" not in message
    assert not (tmp_path / "loot").exists()
    assert not list(tmp_path.glob(".datasave-restore-*")), "nothing readable stays behind"


def test_recover_md_works_literally_with_stock_tools(running_site: Site, tmp_path: Path) -> None:
    """Its own command lines, run as they stand in the folder it asks for, give the data back."""
    site = running_site
    assert site.run("backup", "--target", "nas") == 0
    (archive,) = site.archives("nas")
    page = (site.root / "nas" / "RECOVER.md").read_text("utf-8")
    checksum, _, _, step_by_step, in_one_go = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    for number, commands in enumerate((step_by_step, in_one_go)):
        folder = tmp_path / f"restore-{number}"
        folder.mkdir()
        shutil.copy(site.keys[number], folder / "key.txt")
        shutil.copy(archive, folder / "backup.tar.zst.age")
        manifest = archive.with_name(archive.name.replace(".tar.zst.age", ".manifest.json"))
        shutil.copy(manifest, folder / "backup.manifest.json")
        assert json.loads(manifest.read_text())["sealed_sha256"] in _bash(checksum, folder)
        _bash(commands, folder)
        assert counts(folder / "restored" / "clinic.db") == counts(site.database)


def test_nothing_secret_or_personal_is_kept_outside_staging(running_site: Site) -> None:
    """Results, the report and the manifests: no keys, no patients; private files and folders."""
    site = running_site
    assert site.run("backup") == 0
    with closing(sqlite3.connect(site.database)) as database:
        names = [row[0] for row in database.execute("SELECT name FROM patients LIMIT 50")]
    secret = site.keys[0].read_text().strip()
    machine_key = (site.context.state / "machine.key").read_text()
    import os

    kept = [path for path in site.root.rglob("*") if path.is_file() and path.name != "clinic.db"]
    results = list((Path(os.environ["PREFECT_HOME"]) / "storage").rglob("*"))
    assert results, "finished steps must be on record, or a re-run would repeat them"
    for path in [*kept, *(path for path in results if path.is_file())]:
        data = path.read_bytes()
        assert path in site.keys or secret.encode() not in data, path
        assert path.name == "machine.key" or machine_key.splitlines()[1].encode() not in data, path
        assert not any(name.encode() in data for name in names), path
        if path in results:
            assert path.stat().st_size < 20_000, path
            json.loads(data)
    for path in (site.context.state, site.staging, site.context.reports):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (site.context.state / "machine.key", *site.context.reports.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for manifest in site.manifests("nas"):
        assert "visits" not in json.dumps(manifest), "table names are for holders only"


def _all_archives(site: Site) -> list[Path]:
    return [path for target in ("nas", "second-disk", "cellar") for path in site.archives(target)]


def _write_until(database: Path, enough: threading.Event) -> None:
    for _ in keep_writing(database, 50):
        if enough.is_set():
            return


def _bash(commands: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", commands],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
