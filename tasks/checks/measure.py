"""What a copy holds: rows and a fingerprint for every table, and the values users' checks ask for.

Works on any DB-API connection. Messages never repeat a driver's own: those quote rows.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from threading import Event, Timer
from typing import Any, Literal

from tasks.errors import ValidationError
from tasks.options import UserCheck
from tasks.records import Profile, Progress, Table, TableProfile, no_progress

Value = int | float | str | None
DAY_SECONDS = 86_400
REPORT_ROWS = 10_000
SQL_SECONDS = 300.0
"""How long one user's check may take."""

_QUOTED_OR_COMMENT = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)


@dataclass(frozen=True)
class Measured:
    """The value a check asked for, or in ``problem`` why there is none. Not a record: never stored."""

    value: Value = field(default=None, repr=False)
    problem: str = ""


def profile(connection: Any, tables: Sequence[Table], progress: Progress = no_progress) -> Profile:
    """Read every column of every row once; count and fingerprint each table.

    To be compared with an earlier profile, ``tables`` must be listed for that one (``tables_for``).
    Progress counts rows, total unknown. Raises ValidationError, naming the table, where one can't be read.
    """
    found, before = [], 0
    for table in tables:
        measured = (
            _digested(connection, table) if table.digest else _read(connection, table, before, progress)
        )
        found.append(measured)
        before += measured.rows
        if table.digest:
            progress(before, 0)
    progress(before, before)
    return Profile(tables=tuple(sorted(found, key=lambda table: table.name)))


def counts(connection: Any, tables: Sequence[Table]) -> Profile:
    """The rows of each table, without fingerprints: for a copy whose bytes are known to be the measured ones.

    Raises ValidationError, naming the table, where one can't be read.
    """
    found = []
    for table in sorted(tables, key=lambda table: table.name):
        ((rows,),) = _rows(connection, table, table.counting)
        found.append(
            TableProfile(name=table.name, rows=int(rows), fingerprint="", columns=table.column_names)
        )
    return Profile(tables=tuple(found))


def measure_checks(connection: Any, checks: Sequence[UserCheck], taken: datetime) -> tuple[Measured, ...]:
    """The value of each check, in order; ``taken`` is the copy's time (UTC), which ages are counted to.

    A check whose SQL fails or whose value doesn't fit gives a problem, so that the others are still judged.
    """
    return tuple(_measure_check(connection, check, taken) for check in checks)


def scalar(connection: Any, sql: str, seconds: float = SQL_SECONDS) -> Any:
    """The one value that ``sql`` gives, read within ``seconds``.

    Raises ValidationError where it isn't a single SELECT, fails, takes too long, or gives anything but
    one row of one column.
    """
    problem = statement_problem(sql)
    if problem:
        raise ValidationError(f"cannot run a check's SQL: {problem}")
    rows = _limited(connection, sql, seconds)
    if len(rows) != 1:
        raise ValidationError(f"a check's SQL gave {'no row' if not rows else 'more than one row'}, not one")
    if len(rows[0]) != 1:
        raise ValidationError(f"a check's SQL gave {len(rows[0])} columns, not one")
    return rows[0][0]


def statement_problem(sql: str) -> str:
    """Why ``sql`` may not be run as a check; empty if it may.

    The connection is read-only as well; this keeps a slip in the plan from ever getting that far.
    """
    bare = _QUOTED_OR_COMMENT.sub(" ", sql).strip().removesuffix(";").strip()
    if ";" in bare:
        return "it is more than one statement"
    if not re.match(r"(select|with)\b", bare, re.IGNORECASE):
        return "it does not begin with SELECT or WITH"
    return ""


def _digested(connection: Any, table: Table) -> TableProfile:
    """Row count and fingerprint as the server computes them."""
    ((rows, digest),) = _rows(connection, table, table.query)
    return TableProfile.digested(table, int(rows), digest)


def _read(connection: Any, table: Table, before: int, progress: Progress) -> TableProfile:
    """The fingerprint is the sum of the squared CRC-32 of each row's repr, independent of order.

    A change within 32 bits of one row is certain to show. Squares, because CRC-32 is linear: with plain
    sums, one in ten thousand swaps of values between two rows of equal length would cancel out.
    """
    rows = total = 0
    reading = f"SELECT {', '.join(table.columns)} FROM {table.reference}"  # noqa: S608 - quoted names
    for row in _rows(connection, table, reading):
        crc = zlib.crc32(repr(tuple(row)).encode("utf-8", "surrogatepass"))
        total += crc * crc
        rows += 1
        if rows % REPORT_ROWS == 0:
            progress(before + rows, 0)
    text = f"{rows}:{total:x}"
    return TableProfile(name=table.name, rows=rows, fingerprint=text, columns=table.column_names)


def _rows(connection: Any, table: Table, sql: str) -> Iterator[Sequence[Any]]:
    """Row after row, never many at once: a single one may hold a scanned document of megabytes."""
    try:
        cursor = connection.cursor()
        try:
            cursor.execute(sql)
            yield from cursor
        finally:
            cursor.close()
    except Exception as error:  # noqa: BLE001 - each driver has its own errors, and damage raises odd ones
        # `from None`: a driver's text may quote the row it stumbled over.
        raise ValidationError(
            f"cannot read table {table.name} of the copy: {_name_of(error)}",
            hint="The copy is damaged there: take another, or go back to an older backup.",
        ) from None


def _limited(connection: Any, sql: str, seconds: float) -> Sequence[Sequence[Any]]:
    """At most two rows, so that a second one shows; stopped from outside when the time is over."""
    late = Event()
    try:
        cursor = connection.cursor()
        with _stopping(connection, cursor, seconds, late):
            cursor.execute(sql)
            rows: Sequence[Sequence[Any]] = cursor.fetchmany(2)
        cursor.close()
    except Exception as error:  # noqa: BLE001 - as above
        cause = f"it took longer than {seconds:g} s" if late.is_set() else _name_of(error)
        raise ValidationError(
            f"a check's SQL failed: {cause}", hint="Try it in a database tool, on a copy."
        ) from None
    return rows


@contextmanager
def _stopping(connection: Any, cursor: Any, seconds: float, late: Event) -> Iterator[None]:
    """Stop the statement of the block after ``seconds``, and set ``late``."""
    # sqlite3 stops a connection, pyodbc a cursor. The drivers' own timeouts do not work everywhere.
    stop = getattr(cursor, "cancel", None) or connection.interrupt

    def expire() -> None:
        late.set()
        stop()

    timer = Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # Waited for, so that it never stops whatever this connection does next.
        timer.join()


def _measure_check(connection: Any, check: UserCheck, taken: datetime) -> Measured:
    try:
        return Measured(value=convert(scalar(connection, check.sql), check.as_, taken))
    except ValidationError as error:
        return Measured(problem=error.message)
    except ValueError as error:
        return Measured(problem=f"the value cannot be used: {error}")


def _name_of(error: Exception) -> str:
    """SQLite's name of an error, ODBC's five-letter SQLSTATE, or the exception's class."""
    name = getattr(error, "sqlite_errorname", "")
    if not name and error.args and re.fullmatch(r"[0-9A-Z]{5}", str(error.args[0])):
        name = f"SQLSTATE {error.args[0]}"
    return name or type(error).__name__


def convert(value: Any, as_: Literal["number", "age_days", "text"], taken: datetime) -> Value:
    """``value`` as a number, as a text, or as its age in days at ``taken`` (UTC).

    NULL stays None. Ages are of dates, times, ISO 8601 texts and seconds since 1970; a time without a
    zone is taken for UTC, a date for its midnight. Never today's age: an old backup would fail every
    drill. Raises ValueError, whose text does not repeat the value.
    """
    if value is None:
        return None
    if isinstance(value, bytes | bytearray):
        value = _decoded(bytes(value))
    if as_ == "text":
        return str(value)
    if as_ == "number":
        return _number(value)
    return (taken - _moment(value)).total_seconds() / DAY_SECONDS


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float | Decimal):
        raise ValueError("it is not a number: use CAST in its SQL")  # noqa: TRY004 - about a value
    if not math.isfinite(value):
        raise ValueError("it is not a finite number")
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def _moment(value: Any) -> datetime:
    try:
        if isinstance(value, int | float | Decimal):
            return datetime.fromtimestamp(float(value), UTC)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
    except (ValueError, OverflowError, OSError):
        raise ValueError("it is neither an ISO 8601 date nor seconds since 1970") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError("it is neither a date nor a time")  # noqa: TRY004 - as above
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value
