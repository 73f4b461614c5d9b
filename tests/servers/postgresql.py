"""A real PostgreSQL server for tests: started in a scratch folder, gone with the block that asked for it.

Every account needs its password (scram), over the socket as over TCP. Beside the superuser there are the two
accounts that ``datasave doctor --grants`` would make, with nothing but those rights.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.platform.processes import serving
from tasks.sources.postgresql import scratch
from tasks.sources.postgresql.programs import Programs
from tasks.sources.postgresql.source import PostgresqlOptions, PostgresqlSource
from tests.servers.ports import free_port

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
SUPERUSER = "postgres"
ACCOUNTS = {SUPERUSER: "not:so\\secret", "bk_phys": "copies files", "bk_dump": "reads rows"}
ACCOUNT_OF = {"physical": "bk_phys", "logical": "bk_dump"}
HBA = "".join(
    f"{kind} {database} all {address} scram-sha-256\n"
    for kind, address in (("local", ""), ("host", "127.0.0.1/32"))
    for database in ("all", "replication")
)
SETTINGS = {
    "fsync": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "64MB",
    "max_prepared_transactions": "5",
    "listen_addresses": "127.0.0.1",
}


@dataclass(frozen=True)
class PostgresqlServer:
    """A running server. ``folder`` is its own and ends with it; ``data`` lies below."""

    folder: Path
    port: int
    host: str = "127.0.0.1"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def sockets(self) -> Path:
        return self.folder / "s"

    def password_file(self, user: str) -> Path:
        """The private file that a plan's ``password: file:…`` names."""
        return self.folder / f"{user}.password"

    def options(self, method: str, database: str, **changes: Any) -> PostgresqlOptions:
        """Options of a plan for this server, with the account of least privilege for that method."""
        user = changes.get("user", ACCOUNT_OF[method])
        given = {
            "host": self.host,
            "port": self.port,
            "user": user,
            "password": f"file:{self.password_file(user)}",
        }
        return PostgresqlOptions(**{"method": method, "database": database, **given, **changes})

    def source(self, method: str, database: str, **changes: Any) -> PostgresqlSource:
        return PostgresqlSource(self.options(method, database, **changes))

    def environment(self, user: str = SUPERUSER) -> dict[str, str]:
        """libpq's variables for stock programs."""
        here = {"PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": user}
        return {**os.environ, **here, "PGPASSFILE": str(self.folder / f"{user}.pass"), "PGOPTIONS": ""}

    def program(self, name: str, *arguments: str | Path, user: str = SUPERUSER) -> str:
        """Run a stock program against this server, as the superuser; its output."""
        command = [str(BIN / name), *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment(user), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        return done.stdout

    def sql(self, database: str, *statements: str) -> str:
        """Run statements one by one; what psql prints, without headings."""
        words = [word for statement in statements for word in ("-c", statement)]
        return self.program(
            "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, *words
        ).strip()

    def script(self, sql: str) -> None:
        """Run SQL that holds a secret: by standard input, because arguments can be seen."""
        command = [BIN / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
        subprocess.run(command, input=sql, env=self.environment(), text=True, check=True, capture_output=True)

    def create(self, database: str, template: str = "template0") -> str:
        self.sql("postgres", f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return database

    def drop(self, database: str) -> None:
        self.sql("postgres", f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


@contextmanager
def postgresql_server(
    *, initdb: Sequence[str] = (), settings: dict[str, str] | None = None
) -> Iterator[PostgresqlServer]:
    """A server of its own for the block. ``initdb`` are more arguments, ``settings`` go before SETTINGS."""
    folder = Path(tempfile.mkdtemp(prefix="datasave-pg-"))
    server = PostgresqlServer(folder, free_port())
    try:
        _prepare(server, initdb)
        words = [f"{name}={value}" for name, value in {**SETTINGS, **(settings or {})}.items()]
        arguments = [word for setting in words for word in ("-c", setting)]
        command = [*other_account(), BIN / "postgres", "-D", server.data, *arguments]
        command += ["-p", str(server.port), "-k", str(server.sockets)]
        with serving(command, ready=lambda: is_ready(server), log=folder / "log", stop="SIGINT"):
            for user, password in list(ACCOUNTS.items())[1:]:
                server.script(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
            server.sql("postgres", "ALTER ROLE bk_phys REPLICATION", "ALTER ROLE bk_dump BYPASSRLS")
            server.sql("postgres", "GRANT pg_read_all_data TO bk_dump")
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def started(data: Path, sockets: Path, settings: Sequence[str] = ()) -> Iterator[Path]:
    """Start a server over a data folder as it is, with its own configuration; where its socket is."""
    command = [*same_files(), BIN / "postgres", "-D", data, "-k", sockets, "-c", "listen_addresses="]
    command += [word for setting in settings for word in ("-c", setting)]

    def ready() -> bool:
        return subprocess.run([BIN / "pg_isready", "-q", "-h", sockets], check=False).returncode == 0

    with serving(command, ready=ready, log=sockets / "log", stop="SIGINT"):
        yield sockets


def same_files() -> list[str]:
    """PostgreSQL does not run as root: in a user namespace root's files belong to an ordinary account."""
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []


def other_account() -> list[str]:
    """Another account than the tests' own, as in production."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


def is_ready(server: PostgresqlServer) -> bool:
    command = [BIN / "pg_isready", "-q", "-h", server.host, "-p", str(server.port)]
    return subprocess.run(command, check=False).returncode == 0


def _prepare(server: PostgresqlServer, initdb: Sequence[str]) -> None:
    server.sockets.mkdir(mode=0o700)
    for user, password in ACCOUNTS.items():
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        for name, text in ((f"{user}.password", password), (f"{user}.pass", f"*:*:*:*:{escaped}")):
            (server.folder / name).touch(mode=0o600)
            (server.folder / name).write_text(f"{text}\n")
    if os.geteuid() == 0:
        for path in (server.folder, *server.folder.iterdir()):
            shutil.chown(path, "postgres", "postgres")
    secret = server.password_file(SUPERUSER)
    command = [*other_account(), BIN / "initdb", "-D", server.data, "-U", SUPERUSER, "-A", "scram-sha-256"]
    command += ["--pwfile", secret, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1", *initdb]
    subprocess.run(command, check=True, capture_output=True)
    if os.geteuid() == 0:
        # Ours again: libpq takes a password file from its owner alone.
        for path in server.folder.glob("*.pass*"):
            shutil.chown(path, "root", "root")
    (server.data / "pg_hba.conf").write_text(HBA)


@pytest.fixture(scope="module")
def one_initdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Scratch servers begin with a copy of one empty cluster: to make it takes longest."""
    made, init_cluster = tmp_path_factory.mktemp("initdb"), scratch.init_cluster

    def copied(programs: Programs, data: Path, user: str) -> None:
        if not (made / user).exists():
            init_cluster(programs, made / user, user)
        shutil.copytree(made / user, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "init_cluster", copied)
        yield


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    """A server for the tests of one file."""
    with postgresql_server() as server:
        yield server
