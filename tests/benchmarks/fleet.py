"""What one Prefect server carries: the deployments of many offices, and many of their backups at once.

    python -m tests.benchmarks.fleet [--sites 300] [--runs 50] [--folder SCRATCH]

A real server on a real PostgreSQL, every office's plan registered as ``datasave fleet register`` does it, and
a real worker that does the backups, each with its own small database and target. All of it runs on this
machine, the offices' own work too, which in a fleet runs in the offices. Printed at the end, as a table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import yaml

from deployments.clinic import make_clinic
from deployments.naming import deployment_name
from tests.flows.serving import free_port
from tests.flows.site import Site
from tests.servers.postgresql import ACCOUNTS, SUPERUSER, PostgresqlServer, postgresql_server

POOL = "offices"
MB = 1_000_000


@dataclass
class Figures:
    """What was measured, as it is printed."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, value: str) -> None:
        self.rows.append((what, value))
        print(f"{what}: {value}", flush=True)


@dataclass(frozen=True)
class Fleet:
    """The server's address and process, its database, the folder of plans."""

    url: str
    process: int
    database: PostgresqlServer
    plans: Path
    environment: dict[str, str]

    def ask(self, path: str, **body: Any) -> Any:
        return httpx.post(f"{self.url}{path}", json=body, timeout=60).raise_for_status().json()

    def database_bytes(self) -> int:
        return int(self.database.sql("prefect", "SELECT pg_database_size('prefect')"))

    def memory(self) -> int:
        """Resident bytes of the server and its children."""
        pages = 0
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = entry.read_text().rpartition(")")[2].split()
                command = entry.with_name("cmdline").read_bytes()
            except OSError:
                continue
            if int(entry.parent.name) == self.process or (
                int(words[1]) == self.process and b"prefect" in command
            ):
                pages += int(words[21])
        return pages * os.sysconf("SC_PAGE_SIZE")


def make_offices(root: Path, count: int) -> Path:
    """A folder of plans; each names a database and a target of its own, at staggered times of the night."""
    plans = root / "plans"
    plans.mkdir()
    first = root / "office-000"
    first.mkdir()
    make_clinic(first / "clinic.db", MB)
    office = Site.make(first, ["nas"])
    plan = yaml.safe_load(office.plan.read_text("utf-8"))
    for number in range(count):
        name, home = f"office-{number:03d}", root / f"office-{number:03d}"
        if number:
            shutil.copytree(first, home)
        times = {"backup": f"{number % 60} {1 + number // 60 % 5} * * *", "audit": f"{number % 60} 8 * * *"}
        target = {"name": "nas", "kind": "folder", "path": str(home / "nas")}
        mine = {
            **plan,
            "name": name,
            "source": {"kind": "sqlite", "path": str(home / "clinic.db")},
            "targets": [target],
            "state": str(home / "state"),
            "schedule": {**times, "timezone": "America/New_York"},
        }
        (plans / f"{name}.yaml").write_text(yaml.safe_dump(mine, sort_keys=False), "utf-8")
    return plans


@contextmanager
def serving_fleet(root: Path, plans: Path) -> Iterator[Fleet]:
    """A Prefect server on a PostgreSQL of its own."""
    with postgresql_server() as database:
        database.program("createdb", "prefect")
        port = free_port()
        url = f"http://127.0.0.1:{port}/api"
        # What tests switch off in their servers is what is measured here.
        usual = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment = {
            **usual,
            "PREFECT_HOME": str(root / "prefect"),
            "PREFECT_API_URL": url,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{SUPERUSER}:{ACCOUNTS[SUPERUSER]}@127.0.0.1:{database.port}/prefect",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        }
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
        with (root / "server.log").open("wb") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            try:
                wait_for(lambda: httpx.get(f"{url}/health", timeout=2).is_success, 120)
                yield Fleet(url, server.pid, database, plans, environment)
            finally:
                server.terminate()
                server.wait(30)


def wait_for(there: Any, seconds: float) -> None:
    """Wait until ``there()`` is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if there():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise SystemExit("gave up waiting")


def register(fleet: Fleet, figures: Figures, sites: int) -> None:
    """Register all offices as the command does."""
    began = time.monotonic()
    command = [sys.executable, "-m", "deployments", "fleet", "register", str(fleet.plans), "--pool", POOL]
    there = ["--at", f"{fleet.plans}/{{name}}.yaml"]
    subprocess.run([*command, *there], env=fleet.environment, check=True, stdout=subprocess.DEVNULL)
    took = time.monotonic() - began
    deployments = fleet.ask("/deployments/count")
    figures.add(f"registering {sites} offices ({deployments} deployments)", f"{took:.0f} s")
    # The scheduler goes through them in its own time.
    time.sleep(60)
    figures.add("scheduled runs ahead", str(fleet.ask("/flow_runs/count")))
    figures.add("database after registering", f"{fleet.database_bytes() / MB:.0f} MB")
    figures.add("server's memory", f"{fleet.memory() / MB:.0f} MB")


def run_at_once(fleet: Fleet, figures: Figures, runs: int) -> None:
    """Start that many backups for one moment, and see how they come through."""
    names = sorted(path.stem for path in fleet.plans.glob("*.yaml"))[:runs]
    before = fleet.database_bytes()
    start = datetime.now(UTC) + timedelta(seconds=20)
    ids = []
    for name in names:
        deployment = httpx.get(
            f"{fleet.url}/deployments/name/backup/{quote(deployment_name('backup', name))}", timeout=60
        ).json()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": start.isoformat()}}
        path = f"/deployments/{deployment['id']}/create_flow_run"
        ids.append(fleet.ask(path, state=state, parameters=deployment["parameters"])["id"])
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", POOL]
    log = (fleet.plans.parent / "worker.log").open("wb")
    worker = subprocess.Popen([*command, "--limit", str(runs)], env=fleet.environment, stdout=log, stderr=log)
    try:
        answers, most = watch(fleet, ids)
    finally:
        # Told politely it waits for the queue's next look; nothing of it is needed any more.
        worker.kill()
        worker.wait()
        log.close()
    found = runs_of(fleet, ids)
    lags = [run["estimated_start_time_delta"] for run in found]
    took = [run["total_run_time"] for run in found]
    good = sum(run["state_type"] == "COMPLETED" for run in found)
    figures.add(f"{runs} backups at once: Completed", f"{good}")
    figures.add("start behind schedule, median / worst", f"{statistics.median(lags):.0f} / {max(lags):.0f} s")
    figures.add("a backup's duration, median / worst", f"{statistics.median(took):.0f} / {max(took):.0f} s")
    ordered = sorted(answers)
    ninety_five = ordered[int(len(ordered) * 0.95)]
    figures.add(
        "server's answers meanwhile, median / 95 %", f"{statistics.median(ordered):.2f} / {ninety_five:.2f} s"
    )
    figures.add("server's memory, most", f"{most / MB:.0f} MB")
    a_run = (fleet.database_bytes() - before) / runs
    figures.add("database growth a backup", f"{a_run / 1000:.0f} kB")
    figures.add("database growth a day, 300 offices, a backup each", f"{a_run * 300 / MB:.0f} MB")


def watch(fleet: Fleet, ids: Sequence[str]) -> tuple[list[float], int]:
    """Until all runs have ended: how long the server took to answer, its most memory."""
    answers: list[float] = []
    most = 0
    deadline = time.monotonic() + 3600
    while time.monotonic() < deadline:
        began = time.monotonic()
        found = runs_of(fleet, ids)
        answers.append(time.monotonic() - began)
        most = max(most, fleet.memory())
        if all(run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") for run in found):
            return answers, most
        time.sleep(1)
    raise SystemExit("the runs did not end within an hour")


def runs_of(fleet: Fleet, ids: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fleet.ask("/flow_runs/filter", flow_runs={"id": {"any_": list(ids)}})
    return found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=300)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="datasave-fleet-", dir=options.folder))
    figures = Figures()
    try:
        plans = make_offices(root, options.sites)
        with serving_fleet(root, plans) as fleet:
            register(fleet, figures, options.sites)
            run_at_once(fleet, figures, options.runs)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print("\n| | |\n|---|---|")
    for what, value in figures.rows:
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
