"""What one Prefect server carries: the deployments of many offices, and many of their backups at once.

    python -m tests.benchmarks.fleet [--sites 300] [--runs 50] [--folder SCRATCH] [--keep]

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
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import yaml

from deployments.cli.demo_clinic import make_clinic
from deployments.serving.deployments import deployment_name
from deployments.serving.environment import SETTINGS
from tests.benchmarks import scratch_folder
from tests.flows.site import Site
from tests.servers.ports import free_port
from tests.servers.postgresql import ACCOUNTS, SUPERUSER, PostgresqlServer, postgresql_server

POOL = "offices"
MB = 1_000_000
# Growth is told for so many; runs are kept for so long (environment.py), and events, Prefect's own default.
OFFICES = 300
DAYS_OF_RUNS = 90
DAYS_OF_EVENTS = 7
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Case(NamedTuple):
    """How backups meet at the server; ``bandwidth`` makes their deliveries take long."""

    title: str
    apart: timedelta
    bandwidth: str | None


CASES = (
    # As in real offices: minutes of work for the line, little for the machine.
    Case("{} backups of some 6 min, begun 6 s apart", timedelta(seconds=6), "1.2 kB/s"),
    Case("{} backups begun in the same second", timedelta(0), None),
)


@dataclass
class Watched:
    """What was seen while runs were under way; seconds and bytes."""

    answers: list[float] = field(default_factory=list)
    memory: int = 0
    together: int = 0


@dataclass
class Figures:
    """What was measured, as it is printed."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, value: str) -> None:
        self.rows.append((what, value))
        print(f"{what}: {value}", flush=True)

    def title(self, text: str) -> None:
        self.add(f"**{text}**", "")

    def spread(self, what: str, times: Sequence[timedelta]) -> None:
        seconds = [time.total_seconds() for time in times]
        self.add(f"{what}, median / worst", f"{statistics.median(seconds):.0f} / {max(seconds):.0f} s")


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

    def event_bytes(self) -> int:
        sizes = "pg_total_relation_size('events') + pg_total_relation_size('event_resources')"
        return int(self.database.sql("prefect", f"SELECT {sizes}"))

    @property
    def offices(self) -> list[str]:
        return sorted(path.stem for path in self.plans.glob("*.yaml"))

    def failures(self) -> int:
        log = (self.plans.parent / "server.log").read_text("utf-8", errors="replace")
        return log.count("Encountered exception in request")

    def alarms(self) -> int:
        return int(self.ask("/flow_runs/count", flows={"name": {"any_": ["alarm"]}}))

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
            **SETTINGS,
            "PREFECT_HOME": str(root / "prefect"),
            "PREFECT_API_URL": url,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{SUPERUSER}:{ACCOUNTS[SUPERUSER]}@127.0.0.1:{database.port}/prefect",
            "PREFECT_SERVER_UI_ENABLED": "false",
            # By default each hour.
            "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "60",
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


def run_all(fleet: Fleet, figures: Figures, runs: int, case: Case) -> None:
    """Start that many backups, and see how they come through."""
    figures.title(case.title.format(runs))
    for name in fleet.offices[:runs]:
        path = fleet.plans / f"{name}.yaml"
        plan = yaml.safe_load(path.read_text("utf-8"))
        plan["targets"][0]["bandwidth"] = case.bandwidth
        path.write_text(yaml.safe_dump(plan, sort_keys=False), "utf-8")
    before = fleet.database_bytes(), fleet.event_bytes()
    start = datetime.now(UTC) + timedelta(seconds=20)
    times = {name: start + number * case.apart for number, name in enumerate(fleet.offices[:runs])}
    due = {schedule(fleet, name, when): when for name, when in times.items()}
    failures, alarms = fleet.failures(), fleet.alarms()
    with worker(fleet, runs):
        watched = watch(fleet, list(due))
    # What is new needs time to be written: events go in a batch each few seconds.
    time.sleep(15)
    tell_runs(fleet, figures, due, watched)
    figures.add("requests that the server failed (500)", str(fleet.failures() - failures))
    figures.add("automations that took a run for dead", str(fleet.alarms() - alarms))
    events = (fleet.event_bytes() - before[1]) / runs
    others = (fleet.database_bytes() - before[0]) / runs - events
    figures.add(
        "database growth a backup", f"{(others + events) / 1000:.0f} kB, {events / 1000:.0f} of events"
    )
    # Of all figures here the only ones that are not measured: one backup an office and day.
    a_day = (others + events) * OFFICES / MB
    kept = (others * DAYS_OF_RUNS + events * DAYS_OF_EVENTS) * OFFICES / MB
    figures.add(f"by that, {OFFICES} offices grow it a day / to", f"{a_day:.0f} MB / {kept / 1000:.1f} GB")


def tell_runs(fleet: Fleet, figures: Figures, due: dict[str, datetime], watched: Watched) -> None:
    """How the runs came through, and how the server bore it."""
    found = runs_of(fleet, list(due))
    figures.add("Completed", f"{sum(run['state_type'] == 'COMPLETED' for run in found)} of {len(due)}")
    figures.add("under way at once, most", str(watched.together))
    late = [handed(fleet, run) - due[run["id"]] for run in found]
    figures.spread("handed to the worker behind schedule", late)
    figures.spread("first step behind schedule", [first_step(run) - due[run["id"]] for run in found])
    figures.spread("a backup's duration", [timedelta(seconds=run["total_run_time"]) for run in found])
    steps = [fleet.ask("/task_runs/count", flow_runs={"id": {"any_": [run]}}) for run in due]
    figures.add("steps on record of a run, least / most", f"{min(steps)} / {max(steps)}")
    ordered = sorted(watched.answers)
    slow = ordered[int(len(ordered) * 0.95)]
    figures.add(
        "server's answers meanwhile, median / 95 %", f"{statistics.median(ordered):.2f} / {slow:.2f} s"
    )
    figures.add("server's memory, most", f"{watched.memory / MB:.0f} MB")


def schedule(fleet: Fleet, name: str, start: datetime) -> str:
    """Start an office's backup at that time; the run's id."""
    path = f"/deployments/name/backup/{quote(deployment_name('backup', name))}"
    deployment = httpx.get(f"{fleet.url}{path}", timeout=60).json()
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": start.isoformat()}}
    return str(fleet.ask(f"/deployments/{deployment['id']}/create_flow_run", state=state)["id"])


@contextmanager
def worker(fleet: Fleet, runs: int) -> Iterator[None]:
    """A worker for all queues. It and the backups yield to the server: in a fleet they run elsewhere."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", POOL]
    polite = ["nice", "-n", "19", *command, "--limit", str(runs)]
    with (fleet.plans.parent / "worker.log").open("wb") as log:
        running = subprocess.Popen(polite, env=fleet.environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            # Told politely it waits for the queue's next look; nothing of it is needed any more.
            running.kill()
            running.wait()


def handed(fleet: Fleet, run: dict[str, Any]) -> datetime:
    """When the server gave a run to the worker."""
    states = httpx.get(f"{fleet.url}/flow_run_states/", params={"flow_run_id": run["id"]}, timeout=60).json()
    return min(datetime.fromisoformat(state["timestamp"]) for state in states if state["type"] == "PENDING")


def first_step(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["start_time"])


def forget(fleet: Fleet, figures: Figures) -> None:
    """Make the runs so old that the server has to remove them, and see it do so."""
    ended = f"state_type IN {ENDED}"
    counts = [f"(SELECT count(*) FROM {table})" for table in ("flow_run", "task_run", "log", "artifact")]
    counting = f"SELECT concat_ws(', ', {', '.join(counts)})"
    fleet.database.sql(
        "prefect",
        f"UPDATE flow_run SET end_time = end_time - interval '{DAYS_OF_RUNS + 1} days' WHERE {ended}",
    )
    before, began = fleet.database.sql("prefect", counting), time.monotonic()
    wait_for(
        lambda: fleet.database.sql("prefect", f"SELECT count(*) FROM flow_run WHERE {ended}") == "0", 600
    )
    time.sleep(5)
    figures.add(
        f"runs, steps, log lines, artifacts before / after {DAYS_OF_RUNS} days",
        f"{before} / {fleet.database.sql('prefect', counting)}, {time.monotonic() - began:.0f} s",
    )


def watch(fleet: Fleet, ids: Sequence[str]) -> Watched:
    """Look once a second until all runs have ended."""
    watched = Watched()
    deadline = time.monotonic() + 3600
    while time.monotonic() < deadline:
        asked = time.monotonic()
        found = runs_of(fleet, ids)
        watched.answers.append(time.monotonic() - asked)
        watched.memory = max(watched.memory, fleet.memory())
        watched.together = max(watched.together, sum(run["state_type"] == "RUNNING" for run in found))
        if all(run["state_type"] in ENDED for run in found):
            return watched
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
    parser.add_argument("--folder", type=scratch_folder)
    parser.add_argument("--keep", action="store_true", help="leave the offices and the logs in the folder")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="datasave-fleet-", dir=options.folder))
    figures = Figures()
    try:
        plans = make_offices(root, options.sites)
        with serving_fleet(root, plans) as fleet:
            register(fleet, figures, options.sites)
            for case in CASES:
                run_all(fleet, figures, options.runs, case)
            figures.title("after that")
            forget(fleet, figures)
    finally:
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)
    print("\n| | |\n|---|---|")
    for what, value in figures.rows:
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
