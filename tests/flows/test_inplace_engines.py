"""Restore in place on every engine that allows it: stopped, put aside, replaced, started, taken back."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract import mariadb_ledger, postgresql_ledger, sqlanywhere_office
from tests.flows.engines import options_of
from tests.flows.site import Site
from tests.flows.warm import Warm
from tests.servers.mariadb import ROOT as AS_ROOT
from tests.servers.mariadb import SERVER as MARIADBD
from tests.servers.mariadb import MariadbServer, mariadb_server
from tests.servers.postgresql import BIN, other_account, postgresql_server
from tests.standins.sqlanywhere.production import NAME, SERVER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FOLDER = Path(__file__).parents[2]


@dataclass(frozen=True)
class Live:
    """An engine in production. ``enter`` adds an entry, ``entries`` counts them through the engine."""

    options: dict[str, Any]
    data: Path
    enter: Callable[[], object]
    entries: Callable[[], int]


@contextmanager
def postgresql(_folder: Path) -> Iterator[Live]:
    with postgresql_server() as server:
        postgresql_ledger.create_ledger(server, "clinic", 50)
        control = [*other_account(), str(BIN / "pg_ctl"), "-D", str(server.data), "-w"]
        words = f"-p {server.port} -k {server.sockets} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(server.data.parent / "s" / "log")
        commands = {
            "data": str(server.data),
            "stop": [*control, "-m", "fast", "stop"],
            "start": [*control, "-l", log, "-o", words, "start"],
        }
        options = {**options_of(server.source("physical", "clinic")), "in_place": commands}
        if other_account():
            subprocess.run(["chown", "postgres", str(server.sockets)], check=True)
            server.folder.chmod(0o711)  # as where Debian keeps its servers' data
        try:
            yield Live(
                options,
                server.data,
                lambda: server.sql("clinic", "INSERT INTO entries (amount) VALUES (1)"),
                lambda: int(server.sql("clinic", "SELECT count(*) FROM entries")),
            )
        finally:
            subprocess.run(commands["stop"], check=False, capture_output=True)


@contextmanager
def mariadb(folder: Path) -> Iterator[Live]:
    with mariadb_server("--debug-no-sync") as server:
        mariadb_ledger.create_ledger(server, 50)
        source = mariadb_ledger.backup_account(server, "physical", folder / "mariadb.password")
        socket = f"--socket={server.socket}"
        stop = ["mariadb-admin", "--no-defaults", socket, "--user=root", "shutdown"]
        commands = {"data": str(server.data), "stop": stop, "start": [str(_start_script(server))]}
        try:
            yield Live(
                {**options_of(source), "in_place": commands},
                server.data,
                lambda: server.run(
                    "INSERT INTO entries (amount) VALUES (1)", database=mariadb_ledger.DATABASE
                ),
                lambda: _mariadb_entries(server),
            )
        finally:
            subprocess.run(stop, check=False, capture_output=True)


def _start_script(server: MariadbServer) -> Path:
    """As a service manager would: a server that outlives the command which started it."""
    words = [MARIADBD, "--no-defaults", f"--datadir={server.data}", f"--socket={server.socket}", *AS_ROOT]
    words += [f"--port={server.port}", "--bind-address=127.0.0.1", f"--pid-file={server.folder / 'pid'}"]
    script = server.folder / "start"
    script.write_text(f"#!/bin/sh\nsetsid {' '.join(words)} --debug-no-sync >{server.folder}/log 2>&1 &\n")
    script.chmod(0o755)
    return script


def _mariadb_entries(server: MariadbServer) -> int:
    with closing(server.connect(mariadb_ledger.DATABASE)) as connection:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])


@contextmanager
def sqlanywhere(folder: Path) -> Iterator[Live]:
    with (
        sqlanywhere_office.installed(folder / "sqlanywhere17") as standin,
        standin.production(folder / "SOS" / "DATA", rows=50) as production,
    ):
        stop = [standin.program("dbstop"), "-y", "-c", "UID=dba;PWD=sql", SERVER]
        engine = [standin.program("dbsrv"), "-n", SERVER, "-gd", "all", "-c", "64M"]
        start = [standin.program("dbspawn"), "-f", *engine, production.database, "-n", NAME]
        restart = {"stop": [str(word) for word in stop], "start": [str(word) for word in start]}
        options = {**options_of(sqlanywhere_office.office(standin)), "restart": restart}
        yield Live(
            options,
            production.folder,
            lambda: production.execute("INSERT INTO entries (amount) VALUES (1)"),
            lambda: int(production.execute("SELECT COUNT(*) FROM entries")[0][0]),
        )


ENGINES = {"postgresql": postgresql, "mariadb": mariadb, "sqlanywhere": sqlanywhere}


@contextmanager
def backed_up(name: str, folder: Path) -> Iterator[tuple[Site, Live]]:
    """A site with one backup, and one entry more since."""
    with ENGINES[name](folder) as live:
        site = Site.make(folder, ["nas"], source=live.options)
        live.enter()
        assert site.run("backup") == 0
        live.enter()
        assert live.entries() == 2
        yield site, live


def beside(live: Live) -> set[str]:
    return {path.name for path in live.data.parent.iterdir()}


@pytest.mark.parametrize("name", ENGINES)
def test_in_place_and_back(
    name: str, tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prefect_server
    with backed_up(name, tmp_path) as (site, live):
        before = beside(live)
        key = str(site.keys[0])
        assert site.run("restore", "--in-place", "--yes", "--identity", key) == 0, capsys.readouterr()
        assert "content identical" in capsys.readouterr().out
        assert live.entries() == 1
        live.enter()
        assert beside(live) == {*before, "DATASAVE"}
        owners = {path.stat().st_uid for path in (live.data, *live.data.rglob("*"))}
        assert owners == {(live.data.parent / "DATASAVE").stat().st_uid}
        assert site.run("restore", "--undo", "--yes") == 0
        assert live.entries() == 2
        [kept] = beside(live) - before
        assert kept.startswith(f"{live.data.name}.UNDONE-"), "the engine ran over it: it may hold new entries"


def test_an_engine_that_does_not_start_over_it_gets_its_old_data_back(
    tmp_path: Path, prefect_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prefect_server
    with backed_up("sqlanywhere", tmp_path) as (site, live):
        start = live.options["restart"]["start"]
        refuse = f'test -d "{live.data.parent}/DATASAVE" && exit 3; exec "$@"'
        restart = {**live.options["restart"], "start": ["sh", "-c", refuse, "start", *start]}
        site.change_plan(source={**live.options, "restart": restart})
        before = beside(live)
        assert site.run("restore", "--in-place", "--yes", "--identity", str(site.keys[0])) == 1
        said = capsys.readouterr()
        assert "ended with code 3" in said.err and "the old data is back" in said.out
        assert live.entries() == 2
        assert {name for name in beside(live) - before if "UNDONE" not in name} == set()


POINTS = [
    ("postgresql", (("moved", "resume"), ("placed", "undo"))),
    ("mariadb", (("placed", "resume"),)),
    pytest.param("postgresql", (("moving", "undo"), ("starting", "resume")), marks=pytest.mark.long),
    pytest.param("mariadb", (("moved", "undo"),), marks=pytest.mark.long),
]


@pytest.mark.parametrize(("name", "points"), POINTS)
def test_killed_on_real_engines(
    name: str, points: tuple[tuple[str, str], ...], warm: Warm, tmp_path: Path, prefect_server: str
) -> None:
    assert prefect_server
    with backed_up(name, tmp_path) as (site, live):
        before = beside(live)
        restore = ["restore", "--in-place", "--yes", "--identity", str(site.keys[0])]
        for phase, way in points:
            command = [phase, *restore, "--plan", str(site.plan)]
            child = warm.start("killing_phase", command, site.root / "killed.log", os.environ)
            assert child.wait() == -signal.SIGKILL, child.said
            assert site.run("backup") == 1, "no backup is made of data that is half moved"
            assert site.run("restore", f"--{way}") == 0
            assert live.entries() == (2 if way == "undo" else 1)
            if way == "resume":
                assert "DATASAVE" in beside(live)
                assert site.run("restore", "--undo", "--yes") == 0
                assert live.entries() == 2
            assert {left for left in beside(live) - before if "UNDONE" not in left} == set()
