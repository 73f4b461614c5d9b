"""The engine's own checks of a copy, as findings. Details name tables and objects, never rows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import SourceError, ValidationError
from tasks.platform.processes import run
from tasks.records import Finding
from tasks.sources.postgresql.catalog import count_rows, object_names, rows_of, table_query
from tasks.sources.postgresql.connection import PostgresqlLogin
from tasks.sources.postgresql.copy import STAND_INS
from tasks.sources.postgresql.record import CopyRecord, read_record
from tasks.sources.postgresql.scratch import ScratchCluster, reported_as_damage, table_of_contents
from tasks.sources.shared.folders import folder_bytes

MOST_NAMED = 20
"""Tables, objects or files that are named before the rest is only counted."""

HEAP_ALL_INDEXED_BYTES = 8 << 30
"""Up to this size every row is looked up in every index as well."""


_SEGMENT = re.compile(r"[0-9A-F]{24}")


def check_copy(copy: Path, scratch: Path, programs: Path | None) -> list[Finding]:
    """Check the copy in ``copy`` without altering it; what was made of it in ``scratch`` stays there.

    The first check that does not pass ends it where the next ones would only fail for the same reason.
    """
    try:
        record = read_record(copy)
        cluster = ScratchCluster(copy, record, scratch, programs)
    except (ValidationError, SourceError) as error:
        return [Finding(check="opens", passed=False, detail=_with_hint(error))]
    before = _files(copy, cluster) if record.method == "physical" else _contents(copy, cluster)
    if not all(finding.passed for finding in before):
        return before
    try:
        cluster.prepare()
        with cluster.serving(read_only=False) as login:
            with cluster.connected(login) as connection:
                found = [*_opens(connection, record, cluster), *_against_record(connection, record)]
            found += _pages(login, cluster, copy) if record.method == "physical" else []
    except ValidationError as error:
        found = [Finding(check="opens", passed=False, detail=error.message)]
    return [*before, *found]


def _with_hint(error: SourceError | ValidationError) -> str:
    return str(error) if isinstance(error, SourceError) else error.message


def _files(copy: Path, cluster: ScratchCluster) -> list[Finding]:
    """pg_verifybackup: every file is there, is as it was written, and the log reaches to the end."""
    written = (copy / "data" / "PG_VERSION").read_text("ascii", "replace").strip() if _is_data(copy) else ""
    if written != str(cluster.programs.major):
        detail = f"the data folder is of PostgreSQL {written or '?'}, expected was {cluster.programs.major}"
        return [Finding(check="files", passed=False, detail=detail)]
    # Ours, and therefore not in the manifest.
    ignored = [word for name in cluster.record.added if name in STAND_INS for word in ("-i", name)]
    ended = run([cluster.programs.path("pg_verifybackup"), "-q", *ignored, copy / "data"])
    if ended.code != 0:
        faults = _verify_faults(ended.err) or [f"pg_verifybackup ended with status {ended.code}"]
        return _listed("files", faults)
    # It reads of the log only what a start would.
    cut = [path.name for path in _segments(copy) if path.stat().st_size != cluster.record.wal_segment_bytes]
    if cut:
        return _listed("files", [f"pg_wal/{name} is of another size" for name in cut])
    return [Finding(check="files", passed=True, detail="pg_verifybackup: as the manifest says")]


def _segments(copy: Path) -> list[Path]:
    """The files of the copy's write-ahead log."""
    return sorted(path for path in (copy / "data" / "pg_wal").iterdir() if _SEGMENT.fullmatch(path.name))


def _is_data(copy: Path) -> bool:
    return (copy / "data" / "PG_VERSION").is_file()


def _verify_faults(text: str) -> list[str]:
    """What pg_verifybackup found, in our words; it quotes names of files only."""
    known = (
        (r'"([^"]+)" is present in the manifest but not on disk', "{} is missing"),
        (r'"([^"]+)" is present on disk but not in the manifest', "{} does not belong there"),
        (r'"([^"]+)" has size (?:\d+) on disk but size \d+ in the manifest', "{} is of another size"),
        (r'checksum mismatch for file "([^"]+)"', "{} was altered"),
        (r'could not (?:open|read|stat) file "([^"]+)"', "{} cannot be read"),
        (r"(manifest) checksum mismatch|could not parse backup (manifest)", "the {} is damaged"),
        (r"(WAL) parsing failed", "the log ({}) is damaged or cut short"),
    )
    found = []
    for line in text.splitlines():
        for pattern, words in known:
            match = re.search(pattern, line)
            if match:
                found.append(words.format(next(part for part in match.groups() if part)))
    return found


def _contents(copy: Path, cluster: ScratchCluster) -> list[Finding]:
    try:
        lines = table_of_contents(copy, cluster.programs)
    except ValidationError as error:
        return [Finding(check="files", passed=False, detail=error.message)]
    return [Finding(check="files", passed=True, detail=f"pg_restore lists {len(lines):,} entries")]


def _opens(connection: Any, record: CopyRecord, cluster: ScratchCluster) -> list[Finding]:
    kinds = "r" if record.method == "logical" else "r,m"
    with reported_as_damage("cannot list the tables of the copy"):
        tables = rows_of(connection, table_query(kinds))
        version = rows_of(connection, "SHOW server_version")[0][0].split()[0]
    how = "started over a clone" if record.method == "physical" else "restored into a scratch database"
    notes = "".join(f"; {note}" for note in cluster.notes)
    findings = [Finding(check="opens", passed=True, detail=f"PostgreSQL {version}, {how}{notes}")]
    detail = f"{len(tables):,} tables" if tables else "there is not one table in the copy"
    findings.append(Finding(check="tables", passed=bool(tables), detail=detail))
    if record.unlogged:
        detail = (
            f"{_named(record.unlogged)}: restored empty, as after a crash; their rows are in no physical copy"
        )
        findings.append(Finding(check="unlogged tables", passed=True, detail=detail))
    return findings


def _against_record(connection: Any, record: CopyRecord) -> list[Finding]:
    """What the restored dump holds against what was counted in the snapshot that was dumped."""
    if record.method == "physical":
        return []
    with reported_as_damage("cannot count what the copy holds"):
        names = [str(row[0]) for row in rows_of(connection, table_query("r"))]
        rows = {name: count_rows(connection, name) for name in names}
        objects = object_names(connection)
    by_class = [
        finding for kind, expected in record.objects.items() for finding in _class(kind, expected, objects)
    ]
    return [*_rows(record.rows, rows), *by_class, *_derived(record)]


def _rows(expected: Mapping[str, int], found: Mapping[str, int]) -> list[Finding]:
    wrong = {
        name: f"expected {_rows_text(expected.get(name))}, found {_rows_text(found.get(name))}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    }
    if not wrong:
        detail = f"{sum(found.values()):,} rows in {len(found):,} tables, as counted in the dumped snapshot"
        return [Finding(check="rows", passed=True, detail=detail)]
    named = [
        Finding(check="rows", passed=False, detail=detail, table=name)
        for name, detail in list(wrong.items())[:MOST_NAMED]
    ]
    rest = len(wrong) - len(named)
    more = [Finding(check="rows", passed=False, detail=f"{rest:,} more tables differ")] if rest else []
    return [*named, *more]


def _rows_text(rows: int | None) -> str:
    return "no such table" if rows is None else f"{rows:,} rows"


def _class(kind: str, expected: Sequence[str], objects: Mapping[str, Sequence[str]]) -> list[Finding]:
    missing = sorted(set(expected) - set(objects.get(kind, ())))
    if missing:
        detail = f"{len(missing):,} of {len(expected):,} are missing: {_named(missing)}"
        return [Finding(check=kind, passed=False, detail=detail)]
    return [Finding(check=kind, passed=True, detail=f"{len(expected):,}, none missing")] if expected else []


def _derived(record: CopyRecord) -> list[Finding]:
    views = record.objects.get("materialized views", ())
    if not views:
        return []
    detail = f"{_named(views)}: computed anew by a restore, not part of a dump"
    return [Finding(check="contents of materialized views", passed=True, detail=detail)]


def _pages(login: PostgresqlLogin, cluster: ScratchCluster, copy: Path) -> list[Finding]:
    """pg_amcheck over all databases; where that is not to be had, pg_dump reads every row of them."""
    amcheck = cluster.programs.path("pg_amcheck")
    if amcheck.is_file():
        small = folder_bytes(copy) <= HEAP_ALL_INDEXED_BYTES
        options = ["--all", "--install-missing", "-j", "2", "-w", *(["--heapallindexed"] if small else [])]
        ended = run([amcheck, *options], environment=login.environment)
        if ended.code == 0:
            how = "every row is in every index" if small else "heaps and indexes"
            return [Finding(check="pages", passed=True, detail=f"pg_amcheck: {how}, in all databases")]
        damaged = dict.fromkeys(re.findall(r'(?:heap table|btree index) "([^"]+)"', ended.out))
        if damaged or ended.code == 2:
            return _listed("pages", [f"{name} is damaged" for name in damaged] or ["damage was found"])
        if "is not available" not in ended.err:
            return [Finding(check="pages", passed=False, detail=f"pg_amcheck ended with status {ended.code}")]
    return [_every_row_read(login, cluster)]


def _every_row_read(login: PostgresqlLogin, cluster: ScratchCluster) -> Finding:
    with login.connected() as connection:
        sql = "SELECT datname::text FROM pg_database WHERE datallowconn AND datname <> 'template1'"
        names = [str(row[0]) for row in rows_of(connection, sql)]
    for name in names:
        reading: list[str | Path] = [cluster.programs.path("pg_dump"), "-F", "p", "-f", os.devnull, "-w"]
        ended = run([*reading, "-d", name], environment=login.environment)
        if ended.code != 0:
            detail = f"the database {name} cannot be read to its end"
            return Finding(check="pages", passed=False, detail=detail)
    detail = "every row of every database was read; indexes were not checked (that needs pg_amcheck)"
    return Finding(check="pages", passed=True, detail=detail)


def _listed(check: str, faults: Iterable[str]) -> list[Finding]:
    return [Finding(check=check, passed=False, detail=_named(list(faults)))]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
