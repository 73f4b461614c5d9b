"""Makes ``office.tar.xz`` and ``expected.json``: an office as an earlier version left it on its disks.

Each later version must still read, restore, retry and undo what lies in it; ``tests/golden/test_earlier.py``
holds it to that. The sample is made once, and never again by the version under test: what that one writes it
can surely read. Made by the interpreter of the version that is to be kept, as root (it mounts file systems in
memory for the media), with PostgreSQL and MariaDB installed; it takes some eight minutes::

    PYTHONPATH=CHECKOUT CHECKOUT/.venv/bin/python -P tests/golden/earlier/make.py "VERSION (COMMIT)"

This one was made by 0.1.0 (commit c47564b) with Prefect 3.8.8, SQLite 3.40, PostgreSQL 15 and MariaDB 10.11.
Paths in plans, results and Prefect's database are absolute: it is good at /tmp/datasave-earlier only. Every
name, row and key in it is made up; the keys open nothing else.

The clocks of the programs (not the dates of files) went through four nights of November 2026 in New York:

- Mon 23  backup 1, also to medium MON. Then a holder is replaced, and backup 1 on the target ``forever`` is
          sealed anew for the present ones (``….r1.tar.zst.age``). The owner's key is put under a passphrase,
          split into shares, printed on a sheet.
- Tue 24  backup 2, medium TUE: half of a table is gone, so the run is Failed by ALARM, the backup marked.
          It is accepted. Two drills, with a holder's key each: certificates on targets, in the state folder.
- Wed 25  backup 3, medium WED; it pushes backup 1 off the target ``disk``. An update of the office's program
          fails; backup 3 is restored in place, the old data lies in data/DATASAVE with its write-ahead log.
          Proof of a key, audit, posture, the drills' page, runbook.
- Thu 26  backup 4; no medium by the calendar; it pushes backup 2 off ``disk``. The marker of ``nas`` is away
          (marker-of-nas.json), so the run is Failed there and its sealed archives wait in staging. Status.

What it holds:

- plan ``clinic.yaml``, SQLite and a folder, two holders, with many of a plan's options; those that count days
  or hours are so large that the sample doesn't age
- its backups, an archive of each source: 3 on ``nas`` in weekdays' folders, 2 on ``disk``, 4 on ``forever``,
  one on each of the three media of ``drives``, whose contents are in shelf/
- plans ``billing.yaml`` (PostgreSQL, ``pg_dump``; a post-quantum key) and ``stock.yaml`` (MariaDB, dump), a
  backup each on a target of its own
- the state folders: 9 reports of runs, the pages of drills, status and disaster plan, the certificates of 2
  drills, the journal of the restore in place, the archives of 2 failed runs in staging
- the Prefect home: 9 flow runs with the results of their steps. The events were removed from its database,
  which they filled; nothing needs them, and Prefect itself removes them after a week
- 5 keys, one of them also under a passphrase and in 3 shares, of which 2 are needed
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

ROOT = Path("/tmp/datasave-earlier")
HERE = Path(__file__).parent
OFFICE, EXPECTED = HERE / "office.tar.xz", HERE / "expected.json"
ZONE = ZoneInfo("America/New_York")
MOUNT = ROOT / "media" / "usb"
CLINIC = ROOT / "clinic.yaml"
MARKER = ".datasave-target.json"
PASSPHRASE = "a made-up clinic"
KEYS = {
    "Owner": "keys/owner.key.txt",
    "Bank safe": "keys/safe.key.txt",
    "Former manager": "keys/former.key.txt",
}
DATABASE = ROOT / ".datasave" / "prefect" / "prefect.db"
PLACES = ("nas", "disk", "forever", "shelf/MON", "shelf/TUE", "shelf/WED", "billing-disk", "stock-disk")

PLAN = """\
# The plan of a made-up clinic, with as many options as fit together.
name: clinic
source: {{kind: sqlite, path: data/clinic.db, foreign_keys: report}}
also:
  - name: programs
    kind: files
    path: programs
    exclude: ["*.tmp", "cache/**"]
    live_databases: exclude
    changing: report
holders:
  - {{name: Owner, recipient: {owner}}}
  - {{name: {second_name}, recipient: {second}}}
targets:
  - {{name: nas, kind: folder, path: nas, slots: weekday, fresh_hours: 1000000}}
  - {{name: disk, kind: folder, path: disk, keep: {{last: 2}}, floor: 1, fresh_hours: 1000000,
     bandwidth: 20 MB/s}}
  - {{name: forever, kind: folder, path: forever, keep: forever, off_premises: true, fresh_hours: 1000000,
     vendor: Example Vault, baa: {{vendor: Example Vault, signed: 2026-01-10, expires: 2027-01-09}}}}
  - name: drives
    kind: drive
    calendar: {{mon: MON, tue: TUE, wed: WED, since: 2026-11-23,
      holidays: [2026-11-30, 2026-12-24 to 2027-01-01]}}
    mounts: [{root}/media/*]
    replace: first
    fresh_hours: 1000000
    keep: {{last: 7, weekly: 4, monthly: 12, yearly: 1}}
schedule: {{backup: "0 2 * * mon-thu", drill: "0 6 * * sun", audit: "0 8 * * *", prune: "0 4 1 * *",
  alarm_hours: 100, timezone: America/New_York}}
drill:
  identities: {{Owner: "file:{root}/{owner_file}", {second_name}: "file:{root}/{second_file}"}}
  within_days: 100000
  objective_hours: 8
keys: {{prove_days: 100000, contacts: ["Dana Example, manager, +1 555 0100"]}}
checks:
  - title: newest visit at most 3 days old
    sql: SELECT MAX(at) FROM visits
    as: age_days
    expect: {{type: expect_column_values_to_be_between, kwargs: {{min_value: -1, max_value: 3}}}}
alarm: {{rows_lost: 30, packs_worse: 60}}
spool: {{runs: 3, days: 100000, gigabytes: 1}}
archive: {{level: 6, threads: 1}}
hipaa: true
"""

SERVER_PLAN = """\
name: {name}
source: {source}
holders: [{{name: Owner, recipient: {recipient}}}]
targets: [{{name: {name}-disk, kind: folder, path: {name}-disk}}]
schedule: {{timezone: America/New_York}}
"""

SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE patients (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born TEXT, phone TEXT, weight REAL);
CREATE TABLE visits (
    id INTEGER PRIMARY KEY, patient INTEGER NOT NULL REFERENCES patients(id), at TEXT, note TEXT
);
CREATE TABLE pictures (id INTEGER PRIMARY KEY, visit INTEGER REFERENCES visits(id), image BLOB);
CREATE TABLE recalls (id INTEGER PRIMARY KEY, patient INTEGER, due TEXT);
CREATE TABLE settings (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE INDEX visits_by_patient ON visits(patient);
CREATE VIEW last_visits AS SELECT patient, max(at) AS at FROM visits GROUP BY patient;
CREATE TRIGGER no_empty_name BEFORE INSERT ON patients WHEN new.name = ''
    BEGIN SELECT raise(ABORT, 'a name'); END;
"""
NAMES = ["Ana Förster", "Bo Núñez", "Chloë O'Neill", "Дана Иванова", "Eli Ng", "陳美玲", "Gül Şahin"]


def contents(database: Path) -> dict[str, list[Any]]:
    """Of each table of an SQLite database: how many rows, and a digest of all that is in them."""
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        tables = opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in sorted(tables):
            rows = opened.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall()
            found[table] = [len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()]
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its digest; links with where they lead to, folders with a slash."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[f"{name}/"] = ""
        else:
            found[name] = digest(path)
    return found


def clock(local: str, folder: str) -> dict[str, str]:
    """Environment of Python programs whose clock shows that by the office's time. Dates of files don't."""
    Path(folder, "sitecustomize.py").write_text(
        "import os, time, time_machine\n"
        "time_machine.travel(time.time() + float(os.environ['OFFICE_AHEAD'])).start()\n"
    )
    ahead = datetime.fromisoformat(local).replace(tzinfo=ZONE).timestamp() - time.time()
    path = os.pathsep.join([folder, os.environ["PYTHONPATH"]])
    return {"OFFICE_AHEAD": str(ahead), "PYTHONPATH": path}


def datasave(at: str, *arguments: str | Path, status: int = 0, plan: Path = CLINIC, new: str = "") -> str:
    """A command as a user types it in the office's folder, at that time by its clock; what it printed."""
    command = [sys.executable, "-P", "-m", "deployments", *map(str, arguments)]
    own = {"DATASAVE_PLAN": str(plan), "COLUMNS": "110", "NEW": new}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **own, **clock(at, folder)}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )
    words = " ".join(map(str, arguments))
    print(f"{at} datasave {words}: {done.returncode}, {time.monotonic() - began:.0f} s", flush=True)
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@contextmanager
def medium(label: str) -> Iterator[None]:
    """A medium plugged in: a file system of its own, with what is on the shelf under its label."""
    shelf = ROOT / "shelf" / label
    MOUNT.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0755", "tmpfs", MOUNT], check=True)
    try:
        if shelf.exists():
            shutil.copytree(shelf, MOUNT, dirs_exist_ok=True, symlinks=True)
        yield
        shutil.rmtree(shelf, ignore_errors=True)
        shutil.copytree(MOUNT, shelf, symlinks=True)
    finally:
        subprocess.run(["umount", MOUNT], check=True)


def key(holder: str, file: str, *more: str) -> str:
    """A new key of a holder; its recipient."""
    path = ROOT / file
    datasave("2026-11-22 16:00", "keys", "new", "--holder", holder, "--out", path, *more)
    mark = "# public key: "
    lines = path.read_text("utf-8").splitlines()
    return next(line.removeprefix(mark) for line in lines if line.startswith(mark))


def make_database() -> None:
    """A clinic's database with what is easily lost: NULLs, blobs, big numbers, other scripts."""
    chance = Random(1126)
    with closing(sqlite3.connect(ROOT / "data" / "clinic.db", isolation_level=None)) as database:
        database.executescript(SCHEMA)
        database.execute("BEGIN")
        for number in range(40):
            phone = None if number % 3 == 0 else f"+1 555 01{number:02}"
            weight = None if number % 5 == 0 else round(chance.uniform(3, 110), 2)
            row = (f"{NAMES[number % len(NAMES)]} {number}", f"19{number + 40}-01-31", phone, weight)
            database.execute("INSERT INTO patients (name, born, phone, weight) VALUES (?, ?, ?, ?)", row)
            database.execute("INSERT INTO recalls (patient, due) VALUES (?, '2027-01-15')", (number + 1,))
        for number, image in enumerate([None, b"", b"\0" * 9, *(chance.randbytes(200) for _ in range(5))]):
            at = ("2026-11-22T09:00:00", number % 40 + 1)
            database.execute("INSERT INTO visits (at, patient, note) VALUES (?, ?, 'first\nline')", at)
            database.execute("INSERT INTO pictures (visit, image) VALUES (?, ?)", (number + 1, image))
        # One of the old faults that `foreign_keys: report` is for.
        database.execute("INSERT INTO visits (at, patient, note) VALUES (NULL, 4711, NULL)")
        values = {"integer": 1, "big": 2**62, "real": 0.1, "text": "€ 🦷", "blob": b"\xff\x00", "none": None}
        database.executemany("INSERT INTO settings VALUES (?, ?)", values.items())
        database.execute("COMMIT")


def work(day: str, *statements: str) -> dict[str, list[Any]]:
    """A day in the office; what the database holds in its evening."""
    with closing(sqlite3.connect(ROOT / "data" / "clinic.db", isolation_level=None)) as database:
        for number in range(3):
            row = (f"{day}T1{number}:30:00", number + 1, f"came on {day}" if number else None)
            database.execute("INSERT INTO visits (at, patient, note) VALUES (?, ?, ?)", row)
        for statement in statements:
            database.execute(statement)
    return contents(ROOT / "data" / "clinic.db")


def make_programs() -> dict[str, str]:
    """A folder of odd files; what a restore must bring back of it."""
    folder = ROOT / "programs"
    (folder / "Forms" / "empty").mkdir(parents=True)
    (folder / "cache").mkdir()
    (folder / "Forms" / "letter.txt").write_text("Dear patient,\r\n", "utf-8", newline="")
    (folder / "Forms" / "Überweisung für Frau Ø.txt").write_text("made up\n", "utf-8")
    (folder / "nothing.dat").touch()
    (folder / "logo.bin").write_bytes(Random(7).randbytes(700))
    (folder / "start.sh").write_text("#!/bin/sh\nexit 0\n", "utf-8")
    (folder / "start.sh").chmod(0o755)
    (folder / "newest-letter").symlink_to("Forms/letter.txt")
    (folder / "work.tmp").write_text("left out", "utf-8")
    (folder / "cache" / "left-out").touch()
    return {name: data for name, data in tree(folder).items() if not name.startswith(("work.tmp", "cache/"))}


def fail_an_update() -> dict[str, list[Any]]:
    """Leave the database as a killed program does: what it committed last stands in the write-ahead log."""
    data, copies = ROOT / "data", ROOT / "copies"
    copies.mkdir()
    with closing(sqlite3.connect(data / "clinic.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE half_an_update (step TEXT)")
        database.execute("INSERT INTO half_an_update VALUES ('1 of 2')")
        for path in data.glob("clinic.db*"):
            shutil.copy(path, copies)
    for path in copies.iterdir():
        shutil.copy(path, data)
    assert sorted(path.name for path in data.iterdir()) == ["clinic.db", "clinic.db-shm", "clinic.db-wal"]
    with closing(sqlite3.connect(copies / "clinic.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found = contents(copies / "clinic.db")
    shutil.rmtree(copies)
    return found


def nights(owner: str, safe: str, former: str) -> dict[str, Any]:
    """All that is said above of the clinic; what the test will compare."""
    keys = ROOT / "keys"
    named = {"owner": owner, "owner_file": KEYS["Owner"], "root": ROOT}
    past, present = (
        {"second_name": name, "second": recipient, "second_file": KEYS[name]}
        for name, recipient in (("Former manager", former), ("Bank safe", safe))
    )
    owners, safes = ROOT / KEYS["Owner"], ROOT / KEYS["Bank safe"]
    tables: dict[int, dict[str, list[Any]]] = {}

    tables[1] = work("2026-11-22")
    CLINIC.write_text(PLAN.format(**named, **past), "utf-8")
    for target in ("nas", "disk", "forever"):
        (ROOT / target).mkdir()
        datasave("2026-11-22 17:00", "adopt", target)
    for label in ("MON", "TUE", "WED"):
        with medium(label):
            datasave("2026-11-22 17:10", "media", "init", MOUNT, "--label", label)
    with medium("MON"):
        datasave("2026-11-23 02:00", "backup")
    CLINIC.write_text(PLAN.format(**named, **present), "utf-8")
    datasave("2026-11-23 10:00", "keys", "rewrap", "--identity", owners, "--target", "forever", "--apply")
    datasave("2026-11-23 10:10", "keys", "sheet", "--identity", owners, "--out", keys / "sheet.html")
    datasave("2026-11-23 10:20", "keys", "split", "--identity", owners, "--out", keys / "shares")
    shutil.copy(owners, keys / "owner.protected.txt")
    protected = ("--identity", keys / "owner.protected.txt", "--new-passphrase-from", "env:NEW")
    datasave("2026-11-23 10:30", "keys", "protect", *protected, new=PASSPHRASE)

    tables[2] = work("2026-11-23", "DELETE FROM recalls WHERE id % 2 = 0")
    with medium("TUE"):
        said = datasave("2026-11-24 02:00", "backup", status=1)
        assert "ALARM" in said, said
    datasave("2026-11-24 09:00", "prune", "--accept-change")
    datasave("2026-11-24 09:10", "drill", "--target", "nas", "--identity", owners)
    datasave("2026-11-24 09:20", "drill")

    tables[3] = work("2026-11-24", "UPDATE settings SET value = 'changed' WHERE key = 'text'")
    with medium("WED"):
        datasave("2026-11-25 02:00", "backup")
    before = fail_an_update()
    datasave("2026-11-25 11:00", "restore", "--in-place", "--yes", "--identity", owners)
    assert contents(ROOT / "data" / "clinic.db") == tables[3]
    datasave("2026-11-25 12:00", "keys", "prove", "--identity", safes, status=1)
    datasave("2026-11-25 12:10", "audit")
    datasave("2026-11-25 12:20", "posture", status=1)
    datasave("2026-11-25 12:30", "drills", status=1)
    datasave("2026-11-25 12:40", "runbook")

    tables[4] = work("2026-11-25")
    (ROOT / "nas" / MARKER).rename(ROOT / "marker-of-nas.json")
    datasave("2026-11-26 02:00", "backup", status=1)
    datasave("2026-11-26 09:00", "status", status=1)
    return {"tables": tables, "before_the_restore": before}


def servers() -> None:
    """A backup of a PostgreSQL and of a MariaDB, with the ledger of the earlier version's own tests."""
    ledgers, servers = "tests.contract", "tests.servers"
    options_of = import_module("tests.flows.engines").options_of
    with import_module(f"{servers}.postgresql").postgresql_server() as postgresql:
        import_module(f"{ledgers}.postgresql_ledger").create_ledger(postgresql, "billing", 20)
        source = options_of(postgresql.source("logical", "billing"))
        back_up_server("billing", source, "--post-quantum")
    mariadb_ledger = import_module(f"{ledgers}.mariadb_ledger")
    with (
        import_module(f"{servers}.mariadb").mariadb_server("--debug-no-sync") as mariadb,
        tempfile.TemporaryDirectory() as folder,
    ):
        mariadb_ledger.create_ledger(mariadb, 20, 100)
        account = mariadb_ledger.backup_account(mariadb, "dump", Path(folder) / "password")
        back_up_server("stock", options_of(account))


def back_up_server(name: str, source: dict[str, Any], *key_options: str) -> None:
    """A plan for that source with a key and a target of its own, and one backup."""
    plan = ROOT / f"{name}.yaml"
    recipient = key("Owner", f"keys/{name}.key.txt", *key_options)
    plan.write_text(SERVER_PLAN.format(name=name, source=json.dumps(source), recipient=recipient), "utf-8")
    (ROOT / f"{name}-disk").mkdir()
    datasave("2026-11-25 20:00", "adopt", f"{name}-disk", plan=plan)
    datasave("2026-11-25 20:10", "backup", plan=plan)


def shelves() -> dict[str, Any]:
    """What lies where: of each place and each source the archive of each number, with its digest."""
    found: dict[str, Any] = {}
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.manifest.json")):
            manifest = json.loads(path.read_text("utf-8"))
            [archive] = path.parent.glob(path.name.replace(".manifest.json", "*.age"))
            name = archive.relative_to(ROOT / place).as_posix()
            backups = found.setdefault(place, {}).setdefault(manifest["source"], {})
            backups[str(manifest["sequence"])] = [name, digest(archive)]
    return found


def failed_run() -> dict[str, Any]:
    """The newest run of the clinic's backup: its record, and what waits in staging for its retry."""
    with closing(sqlite3.connect(DATABASE)) as database:
        asked = "SELECT id, name, state_type FROM flow_run WHERE name LIKE 'backup clinic %'"
        run, name, state = database.execute(f"{asked} ORDER BY start_time DESC").fetchone()
    assert state == "FAILED", (name, state)
    sealed = {}
    for folder in (ROOT / ".datasave" / "clinic" / "staging").glob(f"{run}*/sealed"):
        [archive] = folder.glob("*.age")
        spooled = json.loads((folder / "spool.json").read_bytes())
        sealed[spooled["run"]["source"]] = [archive.name, digest(archive)]
    return {"run": run, "name": name, "number": 4, "target": "nas", "slot": "THU", "sealed": sealed}


def slim(database: Path) -> None:
    """Take out what Prefect itself would remove in time and nothing needs, and the room that it took."""
    with closing(sqlite3.connect(database, isolation_level=None)) as opened:
        for statement in ("DELETE FROM events", "DELETE FROM event_resources", "VACUUM"):
            opened.execute(statement)
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def pack() -> None:
    """Write the sample, without the names of accounts."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with (
        lzma.open(OFFICE, "wb", preset=9 | lzma.PRESET_EXTREME) as stream,
        tarfile.open(fileobj=stream, mode="w") as tar,
    ):
        for path in sorted(ROOT.iterdir()):
            tar.add(path, path.name, filter=anonymous)


def main(version: str) -> None:
    if ROOT.exists():
        sys.exit(f"{ROOT} is there already: remove it first")
    os.umask(0o077)
    for folder in ("data", "keys", "programs", "media/usb", "shelf"):
        (ROOT / folder).mkdir(parents=True)
    make_database()
    programs = make_programs()
    recipients = [key(holder, path) for holder, path in KEYS.items()]
    facts = nights(*recipients)
    servers()
    slim(DATABASE)
    facts |= {"programs": programs, "places": shelves(), "failed": failed_run()}
    known = {"made_by": version, "root": str(ROOT), "keys": KEYS, "passphrase": PASSPHRASE}
    EXPECTED.write_text(json.dumps({**known, **facts}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    pack()
    print(f"{OFFICE}: {OFFICE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
