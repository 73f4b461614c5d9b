"""The promise about size and peace: 200 MB under load, whose users hardly notice the copy.

``pytest -s`` prints the figures.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.checks.measure import profile
from tests.contract.source_contract import fresh
from tests.servers.postgresql import BIN, SUPERUSER, PostgresqlServer, postgresql, postgresql_server, started

__all__ = ["postgresql"]

SCALE = 14  # 15 MB each
COUNTS = "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pgbench_branches)"


@pytest.fixture(scope="module")
def bench(postgresql: PostgresqlServer) -> str:
    database = postgresql.create("bench")
    postgresql.program("pgbench", "-i", "-q", "-s", str(SCALE), database)
    postgresql.sql(database, "CHECKPOINT")
    assert int(postgresql.sql(database, "SELECT pg_database_size('bench')")) > 200e6
    return database


@contextmanager
def load(server: PostgresqlServer, database: str, logs: Path) -> Iterator[None]:
    """Two clients, 40 transactions a second together, each written down with the time it took."""
    command = [
        BIN / "pgbench",
        "-n",
        "-c",
        "2",
        "-R",
        "40",
        "-T",
        "600",
        "--log",
        "--log-prefix",
        logs / "tx",
    ]
    with subprocess.Popen(
        [*command, database], env=server.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            deadline = time.monotonic() + 30
            while not transactions(logs):
                assert time.monotonic() < deadline, "pgbench never began"
                time.sleep(0.1)
            yield
            assert running.poll() is None, "pgbench stopped"
        finally:
            running.terminate()


def transactions(logs: Path) -> list[tuple[float, float]]:
    """(when it ended, how long it took in seconds), of all clients."""
    found = []
    for path in logs.glob("tx.*"):
        for line in path.read_text("ascii").splitlines():
            words = line.split()
            if len(words) >= 7:
                found.append((int(words[4]) + int(words[5]) / 1e6, int(words[2]) / 1e6))
    return found


@pytest.mark.slow
@pytest.mark.disk
@pytest.mark.parametrize("method", ["physical", "logical"])
def test_a_copy_under_load(postgresql: PostgresqlServer, bench: str, method: str, tmp_path: Path) -> None:
    source, logs = postgresql.source(method, bench), fresh(tmp_path / "logs")
    with load(postgresql, bench, logs):
        time.sleep(5)
        before = [took for _, took in transactions(logs)]
        began = time.time()
        copy = source.copy_live(fresh(tmp_path / "copy"))
        ended = time.time()
        # Written down in blocks, in the order of their ends, some seconds late.
        deadline = time.monotonic() + 60
        while max(at for at, _ in transactions(logs)) <= ended + 1:
            assert time.monotonic() < deadline, "pgbench writes nothing any more"
            time.sleep(0.2)
    during = [took for at, took in transactions(logs) if began <= at <= ended + 1]
    seconds, size = ended - began, copy.bytes / 1e6
    print(
        f"{method}: {size:.0f} MB in {seconds:.1f} s ({1000 * seconds / size:.1f} s/GB); "
        f"{len(during)} transactions, worst {max(during):.3f} s, without a copy {max(before):.3f} s"
    )
    assert len(during) > 10
    assert max(during) < 1

    begun = time.perf_counter()
    scratch = fresh(tmp_path / "v")
    findings = source.validate(copy.folder, scratch)
    print(f"{method}: validated in {time.perf_counter() - begun:.1f} s")
    assert [finding for finding in findings if not finding.passed] == []
    begun = time.perf_counter()
    with source.open(copy.folder, scratch) as connection:
        held = {table.name: table.rows for table in profile(connection, source.tables(connection)).tables}
    print(f"{method}: every value read in {time.perf_counter() - begun:.1f} s")
    names = ("accounts", "branches", "history")
    expected = "|".join(str(held[f"public.pgbench_{name}"]) for name in names)
    assert held["public.pgbench_accounts"] == SCALE * 100_000
    restored = source.restore(copy.folder, tmp_path / "restored")
    sql = f"{COUNTS}, (SELECT count(*) FROM pgbench_history)"
    assert counted(postgresql, method, restored, sql) == expected


def counted(server: PostgresqlServer, method: str, restored: Path, sql: str) -> str:
    """What a fresh server, begun from what ``restore`` returned by stock programs, answers."""
    if method == "physical":
        with tempfile.TemporaryDirectory() as sockets, started(restored, Path(sockets)):
            environment = {**server.environment(SUPERUSER), "PGHOST": sockets, "PGPORT": "5432"}
            command = [BIN / "psql", "-X", "-A", "-t", "-d", "bench", "-c", sql]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            return done.stdout.strip()
    with postgresql_server() as other:
        other.program("createdb", "-T", "template0", "bench")
        other.program("pg_restore", "-j", "2", "-d", "bench", restored)
        return other.sql("bench", sql)
