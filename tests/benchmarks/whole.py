"""What a whole proven backup costs, and a restore, beside what other programs need for as much.

    python -m tests.benchmarks.whole [--size 1G] [--rounds 3] [--folder SCRATCH] [--json FILE] [ROW …]

Ours is the command as a person types it, with a server running as an office has one, to two folders. The
others do by a script what it does: copy the running database, keep it sealed in two places, read it all back,
restore it, start it, count, and check it with the engine's own program. All take turns in every round; each
figure is the median of the rounds. Ratios say more than seconds: everybody ran on the same machine, a moment
apart.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deployments.cli.demo_clinic import make_clinic
from deployments.serving.environment import home_of
from tests.benchmarks import scratch_folder
from tests.benchmarks.seal import LETTER_BYTES, MEGABYTE, PASSWORDS, letters
from tests.contract import mariadb_ledger
from tests.flows.engines import options_of
from tests.flows.serving import clean_environment, served
from tests.flows.site import Site
from tests.servers.mariadb import mariadb_server
from tests.servers.postgresql import BIN, PostgresqlServer, other_account, postgresql_server, same_files

TINY = 1 << 20
LETTERS_SHARE = LETTER_BYTES * 100_000 / (1 << 30)
"""100,000 letters where the other sets have a gigabyte."""


@dataclass(frozen=True)
class Cost:
    """Seconds, processor seconds, and the most memory that one process of it had, in bytes."""

    seconds: float
    processor: float
    memory: int


@dataclass(frozen=True)
class Peer:
    """Another program's way: a script for bash, which finds its folder in $OUT, empty each time."""

    name: str
    script: str
    needs: tuple[str, ...]
    goal: float | None = None

    def missing(self) -> list[str]:
        """The programs that are not installed."""
        return [program for program in self.needs if shutil.which(program) is None]


@dataclass(frozen=True)
class Case:
    """An office, and what is measured there: one of our commands, and ``peers`` that do as much.

    ``goal`` is in seconds. The scripts find their settings in ``environment``.
    """

    site: Site
    command: tuple[str, ...]
    peers: tuple[Peer, ...] = ()
    goal: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None


Made = Callable[[Path, int], AbstractContextManager[Case]]


def run_command(site: Site, *arguments: str) -> Cost:
    """One of our commands, in a process of its own."""
    words = [sys.executable, "-P", "-m", "deployments", *arguments]
    if arguments != ("--help",):
        words += ["--plan", str(site.plan)]
    return measured(words, clean_environment(home_of(site.plan)), site.root)


def run_peer(case: Case, peer: Peer) -> Cost:
    """Another program's script, in an empty folder."""
    with tempfile.TemporaryDirectory(dir=case.site.root, prefix="peer-") as out:
        Path(out).chmod(0o755)
        environment = {**os.environ, **PASSWORDS, **case.environment, "OUT": out}
        return measured(["bash", "-euo", "pipefail", "-c", peer.script], environment, Path(out))


def measured(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Cost:
    """Run a program; SystemExit with what it printed, where it fails."""
    began = time.monotonic()
    with (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=printed, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode:
        text = (folder / "printed").read_text("utf-8", "replace")
        raise SystemExit(f"{' '.join(command)[:400]} failed with {process.returncode}:\n{text[-4000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


# restic's chain, which is ours: sealed in two places, each read back whole, one restored.
_RESTIC = """
restic -q -r "$OUT/one" init; restic -q -r "$OUT/one" backup "$COPY"
restic -q -r "$OUT/one" check --read-data
restic -q -r "$OUT/one" restore latest --target "$OUT/back"
restic -q -r "$OUT/two" init; restic -q -r "$OUT/two" backup "$COPY"
restic -q -r "$OUT/two" check --read-data
"""
_SQLITE = """
COPY=$OUT/clinic.db; sqlite3 "$LIVE" ".backup '$COPY'"
{restic}
test "$(sqlite3 "$OUT/back$COPY" 'PRAGMA integrity_check')" = ok
sqlite3 "$OUT/back$COPY" 'SELECT count(*) FROM patients, (SELECT count(*) FROM visits)'
"""
_RESTIC_RESTORE = """
restic -q -r "$REPOSITORY" restore latest --target "$OUT/back"
test "$(sqlite3 "$OUT/back$LIVE" 'PRAGMA integrity_check')" = ok
"""
_TWO_PLACES = """
tar -c -C "$OUT" copy | zstd -q -3 -T2 | age -r "$RECIPIENT" | tee "$OUT/one.age" > "$OUT/two.age"
age -d -i "$IDENTITY" "$OUT/two.age" > /dev/null
mkdir "$OUT/back"; age -d -i "$IDENTITY" "$OUT/one.age" | zstd -dc | tar -x -C "$OUT/back"
"""
_START_POSTGRESQL = """
# A socket's path has room for 107 bytes, which a folder of a run may pass.
SOCKETS=$(mktemp -d /tmp/socket-XXXXXX); chmod 777 "$SOCKETS"
OPTIONS="-c listen_addresses= -p 5432 -k $SOCKETS -c archive_mode=off -c max_prepared_transactions=5"
$RUN "$BIN/pg_ctl" -s -w -D "$BACK" -o "$OPTIONS" start
export PGHOST=$SOCKETS PGPORT=5432
"$BIN/psql" -d clinic -Atc 'SELECT count(*) FROM pgbench_accounts'
"$BIN/pg_amcheck" -d clinic
$RUN "$BIN/pg_ctl" -s -w -D "$BACK" -m fast stop
rmdir "$SOCKETS"
"""
_BASEBACKUP = """
"$BIN/pg_basebackup" -D "$OUT/copy" -c fast; "$BIN/pg_verifybackup" -q "$OUT/copy"
{places}
BACK=$OUT/back/copy; RUN=$SAME; "$BIN/pg_verifybackup" -q "$BACK"
{start}
"""
_PGBACKREST = """
BACK=${{CONFIG%/conf}}/back; rm -rf "$BACK"; $OTHER mkdir -m 700 "$BACK"
$OTHER pgbackrest --config="$CONFIG" --stanza=clinic --type=full backup
$OTHER pgbackrest --config="$CONFIG" --stanza=clinic verify
$OTHER pgbackrest --config="$CONFIG" --stanza=clinic --pg1-path="$BACK" --type=immediate \\
    --target-action=promote restore
RUN=$OTHER
{start}
"""
_MARIADB = """
mariadb-backup --backup --target-dir="$OUT/copy" --socket="$SOCKET" --user=root 2> "$OUT/log"
mkdir -p "$OUT/tmp"
mariadb-backup --prepare --target-dir="$OUT/copy" --tmpdir="$OUT/tmp" 2>> "$OUT/log"
{places}
mariadbd --no-defaults --user=root --datadir="$OUT/back/copy" --socket="$OUT/s" --skip-networking \\
    --pid-file="$OUT/pid" --tmpdir="$OUT/tmp" --skip-grant-tables 2>> "$OUT/log" &
until mariadb --no-defaults -S "$OUT/s" -e 'SELECT 1' > /dev/null 2>&1; do sleep 0.1; done
mariadb --no-defaults -S "$OUT/s" -N -e 'SELECT count(*) FROM clinic.visits'
mariadb-check --no-defaults -S "$OUT/s" --databases clinic
kill "$(cat "$OUT/pid")"; wait
"""


def _restic(script: str = "{restic}", goal: float = 1.0) -> Peer:
    return Peer("restic, two places", script.format(restic=_RESTIC), ("restic", "sqlite3"), goal)


def _site(folder: Path, source: dict[str, Any]) -> Site:
    return Site.make(folder, ["nas", "usb"], source=source)


def _clinic(folder: Path, size: int) -> Site:
    make_clinic(folder / "clinic.db", size)
    return _site(folder, {"kind": "sqlite", "path": "clinic.db"})


@contextmanager
def sqlite(folder: Path, size: int) -> Iterator[Case]:
    """A clinic's SQLite file."""
    site = _clinic(folder, size)
    yield Case(site, ("backup",), (_restic(_SQLITE),), environment={"LIVE": str(site.database)})


@contextmanager
def restore(folder: Path, size: int) -> Iterator[Case]:
    """The newest backup, with full proof, into a new folder."""
    site, repository = _clinic(folder, size), folder / "repository"
    with closing(sqlite3.connect(site.database)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    run_command(site, "backup")
    environment = {**os.environ, **PASSWORDS}
    for words in (("init",), ("backup", str(site.database))):
        if not RESTORED.missing():
            subprocess.run(["restic", "-q", "-r", str(repository), *words], env=environment, check=True)
    yield Case(
        site,
        ("restore", "--identity", str(site.keys[0]), "--to", str(folder / "back")),
        (RESTORED,),
        environment={"LIVE": str(site.database), "REPOSITORY": str(repository)},
        before=lambda: shutil.rmtree(folder / "back", ignore_errors=True),
    )


RESTORED = Peer("restic restore + integrity_check", _RESTIC_RESTORE, ("restic", "sqlite3"), 1.0)


@contextmanager
def files(folder: Path, size: int) -> Iterator[Case]:
    """Many small files."""
    root = folder / "letters"
    root.mkdir()
    letters(root, int(size * LETTERS_SHARE))
    site = _site(folder, {"kind": "files", "path": "letters"})
    yield Case(site, ("backup",), (_restic(),), environment={"COPY": str(root)})


@contextmanager
def postgresql(folder: Path, size: int) -> Iterator[Case]:
    """pgbench's accounts, copied physically."""
    config = Path(tempfile.mkdtemp(prefix="pgbackrest-"))
    config.chmod(0o755)
    archive = f"test ! -f {config}/conf || pgbackrest --config={config}/conf --stanza=clinic archive-push %p"
    try:
        with postgresql_server(settings={"archive_mode": "on", "archive_command": archive}) as server:
            server.create("clinic")
            server.program("pgbench", "-i", "-q", "-s", str(max(1, size // (15 << 20))), "clinic")
            server.sql("clinic", "CREATE EXTENSION amcheck")
            if not PGBACKREST.missing():
                _prepare_pgbackrest(server, config)
            site = _site(folder, options_of(server.source("physical", "clinic")))
            environment = _at_postgresql(server, site, config)
            yield Case(site, ("backup",), (PGBACKREST, BASEBACKUP), environment=environment)
    finally:
        shutil.rmtree(config)


PGBACKREST = Peer("pgBackRest", _PGBACKREST.format(start=_START_POSTGRESQL), ("pgbackrest",), 1.5)
BASEBACKUP = Peer(
    "pg_basebackup, tar | zstd | age",
    _BASEBACKUP.format(places=_TWO_PLACES, start=_START_POSTGRESQL),
    ("age", "zstd"),
)


def _prepare_pgbackrest(server: PostgresqlServer, config: Path) -> None:
    settings = {
        "repo1-path": config / "repository",
        "repo1-cipher-type": "aes-256-cbc",
        "repo1-cipher-pass": "benchmark",
        "repo1-retention-full": "1",
        "compress-type": "zst",
        "process-max": "2",
        "start-fast": "y",
        "log-path": config,
        "lock-path": config,
        "spool-path": config,
        "log-level-console": "warn",
    }
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    stanza = f"pg1-path={server.data}\npg1-socket-path={server.sockets}\npg1-port={server.port}\n"
    (config / "conf").write_text(f"[global]\n{lines}\n[clinic]\n{stanza}pg1-user=postgres\n")
    _own(config, server.data)
    command = [*other_account(), "pgbackrest", f"--config={config}/conf", "--stanza=clinic", "stanza-create"]
    subprocess.run(command, env=_login(server, config), check=True)


def _own(folder: Path, like: Path) -> None:
    subprocess.run(["chown", "-R", f"--reference={like}", str(folder)], check=True)


def _login(server: PostgresqlServer, config: Path) -> dict[str, str]:
    """A superuser's variables, with a password file that the server's own account may read."""
    environment = server.environment()
    passwords = config / "pgpass"
    shutil.copyfile(environment["PGPASSFILE"], passwords)
    passwords.chmod(0o600)
    _own(passwords, server.data)
    return {**environment, "PGPASSFILE": str(passwords)}


def _at_postgresql(server: PostgresqlServer, site: Site, config: Path) -> dict[str, str]:
    login = _login(server, config)
    return {
        **{name: login[name] for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSFILE")},
        "BIN": str(BIN),
        "DATA": str(server.data),
        "CONFIG": str(config / "conf"),
        "OTHER": " ".join(other_account()),
        "SAME": " ".join(same_files()),
        **_seal(site),
    }


def _seal(site: Site) -> dict[str, str]:
    return {"RECIPIENT": site.context.plan.holders[0].recipient, "IDENTITY": str(site.keys[0])}


@contextmanager
def mariadb(folder: Path, size: int) -> Iterator[Case]:
    """Visits, copied physically."""
    with mariadb_server() as server:
        rows = size // 200
        server.run("CREATE DATABASE clinic CHARACTER SET utf8mb4")
        server.run(
            "CREATE TABLE visits (id INT PRIMARY KEY, patient INT, at DATETIME, code CHAR(5), note TEXT, "
            "KEY (patient))",
            "INSERT INTO visits SELECT seq, seq * 7919 % 200000, '2026-01-05' + INTERVAL seq MINUTE, "
            f"LEFT(MD5(seq), 5), CONCAT(MD5(seq), ' ', REPEAT(MD5(seq % 977), 3)) FROM seq_1_to_{rows}",
            database="clinic",
        )
        source = mariadb_ledger.backup_account(server, "physical", folder / "mariadb.password")
        site = _site(folder, {**options_of(source), "database": "clinic"})
        peer = Peer(
            "mariadb-backup, tar | zstd | age",
            _MARIADB.format(places=_TWO_PLACES),
            ("mariadb-backup", "mariadb-check", "age", "zstd"),
            1.5,
        )
        yield Case(site, ("backup",), (peer,), environment={"SOCKET": str(server.socket), **_seal(site)})


def _tiny(*command: str, goal: float) -> Made:
    @contextmanager
    def made(folder: Path, _size: int) -> Iterator[Case]:
        site = _clinic(folder, TINY)
        run_command(site, "backup")
        yield Case(site, command, goal=goal)

    return made


@dataclass(frozen=True)
class Row:
    """One line of the table. ``server``: one is running."""

    made: Made
    server: bool = True


ROWS: dict[str, Row] = {
    "sqlite": Row(sqlite),
    "restore": Row(restore),
    "postgresql": Row(postgresql),
    "mariadb": Row(mariadb),
    "files": Row(files),
    "tiny-alone": Row(_tiny("backup", goal=5.0), server=False),
    "tiny": Row(_tiny("backup", goal=2.5)),
    "help": Row(_tiny("--help", goal=0.25), server=False),
    "list": Row(_tiny("list", goal=0.5), server=False),
    "status": Row(_tiny("status", goal=0.5), server=False),
    "doctor": Row(_tiny("doctor", goal=0.6), server=False),
}
MOST_MEMORY = 300 << 20


def measure(row: Row, folder: Path, size: int, rounds: int, *, server: bool) -> dict[str, Any]:
    """One row: everybody in turn, each round begun by the next one; medians, as JSON has them."""
    with ExitStack() as stack:
        case = stack.enter_context(row.made(folder, size))
        stack.enter_context(served(case.site) if server and row.server else nullcontext())
        peers = [peer for peer in case.peers if not peer.missing()]
        runs: dict[str, Callable[[], Cost]] = {"datasave": partial(run_command, case.site, *case.command)}
        runs |= {peer.name: partial(run_peer, case, peer) for peer in peers}
        names = list(runs)
        costs: dict[str, list[Cost]] = {name: [] for name in names}
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                case.before()
                costs[name].append(runs[name]())
    return _figures(case, {name: median(all_) for name, all_ in costs.items()})


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure, of memory the highest."""
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.processor for cost in costs),
        max(cost.memory for cost in costs),
    )


def _figures(case: Case, costs: Mapping[str, Cost]) -> dict[str, Any]:
    ours = costs["datasave"]
    peers = {
        peer.name: {
            **asdict(costs[peer.name]),
            "ratio": ours.seconds / costs[peer.name].seconds,
            "goal": peer.goal,
        }
        for peer in case.peers
        if peer.name in costs
    }
    missing = {peer.name: peer.missing() for peer in case.peers if peer.missing()}
    return {**asdict(ours), "goal seconds": case.goal, "peers": peers, "not installed": missing}


def report(name: str, figures: dict[str, Any]) -> None:
    """Print a row: its ratios with their goals, or its seconds with theirs."""
    goal = figures["goal seconds"]
    wanted = f"goal {goal:.2f} s" if goal else ""
    memory = f"{figures['memory'] / MEGABYTE:.0f} MB (goal {MOST_MEMORY / MEGABYTE:.0f})"
    print(f"{name:34}{figures['seconds']:9.2f} s {figures['processor']:9.2f} CPU s  {memory}  {wanted}")
    for peer, cost in figures["peers"].items():
        goal_text = f"goal {cost['goal']:.2f}" if cost["goal"] else ""
        print(f"    {peer:30}{cost['seconds']:9.2f} s   ours: {cost['ratio']:.2f} of it  {goal_text}")
    for peer, programs in figures["not installed"].items():
        print(f"    {peer:30} not installed: {', '.join(programs)}")


def size_of(text: str) -> int:
    """50M or 1G as bytes, for argparse."""
    match = re.fullmatch(r"([0-9]{1,6})([MG])", text)
    if not match:
        raise argparse.ArgumentTypeError("a size is written 50M or 1G")
    return int(match[1]) << (20 if match[2] == "M" else 30)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the rows asked for, all by default; print them and write them as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--size", type=size_of, default=1 << 30, help="of a set: 50M, 1G")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=scratch_folder, help="scratch; eight times the size is needed")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    parser.add_argument("--no-server", action="store_true", help="every row without a server running")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.rows if name not in ROWS]:
        sys.exit(f"no row {unknown[0]!r}: {', '.join(ROWS)}")
    measured_rows = {}
    for name in options.rows or ROWS:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="whole-") as scratch:
            found = measure(
                ROWS[name], Path(scratch), options.size, options.rounds, server=not options.no_server
            )
        report(name, found)
        measured_rows[name] = found
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        told = {"cores": os.cpu_count(), "bytes": options.size, "rounds": options.rounds}
        told |= {"load": os.getloadavg(), "rows": measured_rows}
        options.json.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
