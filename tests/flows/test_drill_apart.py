"""A drill cannot reach production: nothing it starts knows where that is or how to get in."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasks.keys.identities import read_identities
from tasks.platform.processes import run
from tasks.records import Certificate
from tasks.recovery.drill import drill_backup
from tests.contract import mariadb_ledger, postgresql_ledger
from tests.flows.engines import options_of
from tests.flows.nights import night
from tests.flows.site import Site
from tests.servers.mariadb import mariadb_server
from tests.servers.postgresql import ACCOUNTS, postgresql_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 200
PROC = Path("/proc")


class Production(NamedTuple):
    """A server in production: how a plan names it, what must not be known elsewhere, who connected so far."""

    options: dict[str, Any]
    secrets: tuple[str, ...]
    variables: dict[str, str]
    connected: Callable[[], int]
    server: str


@contextmanager
def postgresql(_folder: Path) -> Iterator[Production]:
    with postgresql_server(settings={"log_connections": "on"}) as server:
        database = postgresql_ledger.create_ledger(server, "clinic", ROWS)
        log = server.folder / "log"
        password = ACCOUNTS["bk_phys"]
        yield Production(
            options=options_of(server.source("physical", database)),
            secrets=(password, str(server.folder), str(server.port)),
            variables={
                "PGHOST": str(server.sockets),
                "PGPORT": str(server.port),
                "PGPASSWORD": password,
                "PGPASSFILE": str(server.folder / "bk_phys.pass"),
            },
            connected=lambda: log.read_text("utf-8", "replace").count("connection received"),
            server="postgres",
        )


@contextmanager
def mariadb(folder: Path) -> Iterator[Production]:
    with mariadb_server() as server:
        mariadb_ledger.create_ledger(server, ROWS)
        source = mariadb_ledger.backup_account(server, "physical", folder / "mariadb.password")
        log = server.folder / "general.log"
        server.run(f"SET GLOBAL general_log_file = '{log}'", "SET GLOBAL general_log = ON")
        yield Production(
            options=options_of(source),
            secrets=(mariadb_ledger.PASSWORD, str(server.folder), str(server.port)),
            variables={
                "MYSQL_UNIX_PORT": str(server.socket),
                "MYSQL_TCP_PORT": str(server.port),
                "MYSQL_PWD": mariadb_ledger.PASSWORD,
                "MYSQL_HOST": "127.0.0.1",
            },
            connected=lambda: log.read_text("utf-8", "replace").count("Connect\t"),
            server="mariadbd",
        )


class ChildrenWatcher:
    """While its block runs: arguments and environment of every process that this one started."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.programs: set[str] = set()
        self.environments = 0
        self.leaks: set[str] = set()

    def __enter__(self) -> ChildrenWatcher:
        self._before = self._children()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.03):
            for process in self._children() - self._before:
                self._look(process)

    def _look(self, process: int) -> None:
        try:
            line = (PROC / str(process) / "cmdline").read_bytes().split(b"\0")
            environment = (PROC / str(process) / "environ").read_bytes().split(b"\0")
        except OSError:
            return  # it ended meanwhile
        if not any(environment):
            return  # forked, and not yet the program it will be
        self.environments += 1
        self.programs |= {Path(os.fsdecode(word)).name for word in line[:8]}
        for text in (*line, *environment):
            self.leaks |= {text.decode() for secret in self._secrets if secret in text}

    def _children(self) -> set[int]:
        parents: dict[int, int] = {}
        for path in PROC.glob("[0-9]*/stat"):
            try:
                parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
        found = {os.getpid()}
        while grown := {child for child, parent in parents.items() if parent in found} - found:
            found |= grown
        return found - {os.getpid()}


def test_the_watcher_would_see_a_leak() -> None:
    with ChildrenWatcher(("hunter2",)) as watcher:
        run(["sleep", "0.5"], environment={"PGPASSWORD": "hunter2"})
    assert watcher.leaks == {"PGPASSWORD=hunter2"}


def drilled(site: Site) -> Certificate:
    return drill_backup(site.context, "nas", "latest", read_identities([site.keys[0]]))


@pytest.mark.parametrize("production", [postgresql, mariadb])
def test_a_drill_knows_nothing_of_production(
    production: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with production(tmp_path) as made:
        site = Site.make(tmp_path, ["nas"], source=made.options)
        before = made.connected()
        night(site, datetime.now(UTC))
        assert made.connected() > before, "the log shows who connects"

        for name, value in made.variables.items():
            monkeypatch.setenv(name, value)
        before = made.connected()
        with ChildrenWatcher(made.secrets) as watcher:
            assert drilled(site).passed
        assert made.connected() == before, "the drill came near production"
        assert made.server in watcher.programs, f"only {watcher.programs} were seen"
        assert watcher.environments > 5
        assert watcher.leaks == set()

    # Production is gone, and its password with it.
    (tmp_path / "mariadb.password").unlink(missing_ok=True)
    assert drilled(site).passed
