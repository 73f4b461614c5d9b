"""The engine's own checks of a copy, as findings. Details name tables and objects, never rows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import SourceError, ValidationError
from tasks.platform.processes import Ended, run
from tasks.records import Finding, TableProfile
from tasks.sources.postgresql.catalog import (
    as_at_source,
    count_rows,
    object_names,
    sequence_values,
    table_query,
    user_tables,
)
from tasks.sources.postgresql.connection import PostgresqlLogin
from tasks.sources.postgresql.copy import STAND_INS
from tasks.sources.postgresql.definitions import OPTIONS, differing, entry_hashes
from tasks.sources.postgresql.dump import reported_as_damage, table_of_contents
from tasks.sources.postgresql.errors import code_fault, reason_in
from tasks.sources.postgresql.record import CopyRecord, read_record
from tasks.sources.postgresql.scratch import ScratchCluster
from tasks.sources.shared.folders import folder_bytes
from tasks.sources.shared.odbc import contents, fetch

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
                found = _opens(connection, record, cluster)
                found += _against_record(connection, record, cluster, copy, scratch)
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
        tables = fetch(connection, table_query(kinds))
        version = fetch(connection, "SHOW server_version")[0][0].split()[0]
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


def _against_record(
    connection: Any, record: CopyRecord, cluster: ScratchCluster, copy: Path, scratch: Path
) -> list[Finding]:
    """What the restored dump holds against what was read in the snapshot that was dumped."""
    if record.method == "physical":
        return []
    unmade = cluster.unmade
    with reported_as_damage("cannot read what the copy holds"):
        # First: measuring sets how names are written, as it did at the source.
        found = _measured(connection, record)
        objects, sequences = object_names(connection), sequence_values(connection)
    by_class = [
        finding
        for kind, expected in record.objects.items()
        for finding in _class(kind, expected, objects, unmade)
    ]
    return [
        *found,
        *by_class,
        *_sequences(record.sequences, sequences),
        *_definitions(record, cluster, copy, scratch),
        *unmade,
        *_derived(record, unmade),
        *_left_out(record),
    ]


def _measured(connection: Any, record: CopyRecord) -> list[Finding]:
    """Rows by their fingerprints; of a copy that was made before there were any, their number."""
    if record.profile is None:
        names = [str(row[0]) for row in fetch(connection, table_query("r"))]
        return _rows(record.rows, {name: count_rows(connection, name) for name in names})
    expected = {table.name: table for table in record.profile.tables}
    held = contents(connection, as_at_source(user_tables(connection)))
    found = {table.name: table for table in held.tables}
    rows = _rows(_row_counts(expected), _row_counts(found))
    wrong = [
        name
        for name in sorted(expected.keys() & found.keys())
        if expected[name].rows == found[name].rows and expected[name].fingerprint != found[name].fingerprint
    ]
    return [*rows, *(_altered(name) for name in wrong[:MOST_NAMED])]


def _row_counts(tables: Mapping[str, TableProfile]) -> dict[str, int]:
    return {name: table.rows for name, table in tables.items()}


def _altered(name: str) -> Finding:
    if name.startswith("("):
        detail = f"the {name.strip('()')} are not as they were in the dumped snapshot"
    else:
        detail = (
            "all rows came back, but not as they were: the dump was altered, or a restore computes a column "
            "otherwise than the server did (a function behind it depends on settings such as TimeZone). "
            "`method: physical` copies rows as they are"
        )
    return Finding(check="rows", passed=False, detail=detail, table=name)


def _sequences(expected: Mapping[str, tuple[str, str]], found: Mapping[str, str]) -> list[Finding]:
    """Sequences heed no snapshot: a value that was in use meanwhile may be any from before to after."""
    wrong = [name for name, span in expected.items() if not within(found.get(name, ""), span)]
    if wrong:
        detail = f"not as in the dumped snapshot: {_named(wrong)}"
        return [Finding(check="values of sequences", passed=False, detail=detail)]
    detail = f"{len(expected):,}, as in the dumped snapshot or past that"
    return [Finding(check="values of sequences", passed=True, detail=detail)] if expected else []


def within(value: str, span: tuple[str, str]) -> bool:
    """Whether a sequence's restored value is one that it had, from before the dump until after."""
    before, after = span
    if before == after or value in span:
        return value in span
    if not value or not after:
        return False
    low, high = sorted(int(end.split()[0]) for end in span)
    return low <= int(value.split(maxsplit=1)[0]) <= high


def _definitions(record: CopyRecord, cluster: ScratchCluster, copy: Path, scratch: Path) -> list[Finding]:
    """Each definition in the dump, as pg_restore writes it out, against pg_dump's text at the source."""
    if not record.definitions:
        return []
    programs = cluster.programs
    if programs.major != record.dumped_by:
        detail = (
            f"pg_dump {record.dumped_by} wrote them, which pg_restore {programs.major} words otherwise. "
            f"Install PostgreSQL {record.dumped_by} here to have them compared"
        )
        return [Finding(check="definitions", passed=False, unchecked=True, detail=detail)]
    script = scratch / "definitions.sql"
    ended = run([programs.path("pg_restore"), *OPTIONS, "-f", script, copy / "dump"])
    wrong = differing(record.definitions, entry_hashes(script)) if ended.code == 0 else ["the dump"]
    if wrong:
        return [Finding(check="definitions", passed=False, detail=f"not as at the source: {_named(wrong)}")]
    detail = f"{len(record.definitions):,} entries, as pg_dump wrote them at the source"
    return [Finding(check="definitions", passed=True, detail=detail)]


def _left_out(record: CopyRecord) -> list[Finding]:
    """What a person must see to before a restore, and after."""
    told = (
        ("tablespaces", record.tablespaces, "must be there before a restore"),
        ("left out", record.left_out, "not in the dump, to be set by hand after a restore"),
    )
    return [
        Finding(check=check, passed=True, detail=f"{_named(names)}: {words}")
        for check, names, words in told
        if names
    ]


def _rows(expected: Mapping[str, int], found: Mapping[str, int]) -> list[Finding]:
    wrong = {
        name: f"expected {_rows_text(expected.get(name))}, found {_rows_text(found.get(name))}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    }
    if not wrong:
        counts = [rows for name, rows in found.items() if not name.startswith("(")]
        detail = f"{sum(counts):,} rows in {len(counts):,} tables, as in the dumped snapshot"
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


def _class(
    kind: str, expected: Sequence[str], objects: Mapping[str, Sequence[str]], unmade: Sequence[Finding]
) -> list[Finding]:
    told = {finding.table for finding in unmade if finding.check == kind}
    missing = sorted(set(expected) - set(objects.get(kind, ())) - told)
    if missing:
        detail = f"{len(missing):,} of {len(expected):,} are missing: {_named(missing)}"
        return [Finding(check=kind, passed=False, detail=detail)]
    return [Finding(check=kind, passed=True, detail=f"{len(expected):,}, none missing")] if expected else []


def _derived(record: CopyRecord, unmade: Sequence[Finding]) -> list[Finding]:
    views, check = record.objects.get("materialized views", ()), "contents of materialized views"
    if not views or any(finding.check == check for finding in unmade):
        return []
    detail = f"{_named(views)}: computed anew by the restore, not part of a dump"
    return [Finding(check=check, passed=True, detail=detail)]


def _pages(login: PostgresqlLogin, cluster: ScratchCluster, copy: Path) -> list[Finding]:
    """pg_amcheck over all databases; where that is not to be had, pg_dump reads every row of them.

    An index whose own functions fail is looked at without them: its pages, not whether it has every row.
    """
    if not cluster.programs.has("pg_amcheck"):
        return [_every_row_read(login, cluster)]
    small = folder_bytes(copy) <= HEAP_ALL_INDEXED_BYTES
    ended, failing = _amcheck(login, cluster, every_row=small), dict[str, str]()
    if small and ended.code != 0:
        failing = {name: why for name, text in _amcheck_faults(ended.out) if (why := code_fault(text))}
        ended = _amcheck(login, cluster, every_row=False) if failing else ended
    found = [_not_looked_up(name, why) for name, why in failing.items()]
    damaged = dict.fromkeys(name for name, _ in _amcheck_faults(ended.out))
    if ended.code == 0:
        how = "every row is in every index" if small and not failing else "heaps and indexes"
        return [Finding(check="pages", passed=True, detail=f"pg_amcheck: {how}, in all databases"), *found]
    if damaged or ended.code == 2:
        return _listed("pages", [f"{name} is damaged" for name in damaged] or ["damage was found"])
    found.append(_every_row_read(login, cluster))
    if "is not available" not in ended.err:
        why = reason_in(ended.err) or f"pg_amcheck ended with status {ended.code}"
        found.append(Finding(check="indexes", passed=False, unchecked=True, detail=why))
    return found


def _amcheck(login: PostgresqlLogin, cluster: ScratchCluster, *, every_row: bool) -> Ended:
    options = ["--all", "--install-missing", "-j", "2", "-w", *(["--heapallindexed"] if every_row else [])]
    return run([cluster.programs.path("pg_amcheck"), *options], environment=login.environment)


def _amcheck_faults(text: str) -> list[tuple[str, str]]:
    """The objects that pg_amcheck names, ``clinic.public.visits``, and what it says of each."""
    return re.findall(r'^(?:heap table|btree index) "([^"]+)".*\n((?: {4}.*\n?)*)', text, re.MULTILINE)


def _not_looked_up(name: str, why: str) -> Finding:
    detail = (
        f"the index {name} was not checked for every row, because a function it uses failed: {why}. "
        "Name schemas in that function, or give it a path: ALTER FUNCTION … SET search_path = …"
    )
    return Finding(check="indexes", passed=False, unchecked=True, detail=detail, table=name)


def _every_row_read(login: PostgresqlLogin, cluster: ScratchCluster) -> Finding:
    with login.connected() as connection:
        sql = "SELECT datname::text FROM pg_database WHERE datallowconn AND datname <> 'template1'"
        names = [str(row[0]) for row in fetch(connection, sql)]
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
