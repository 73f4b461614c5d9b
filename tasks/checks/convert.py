"""A value as a driver hands it out, made into what a user's check is about."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal

Value = int | float | str | None
DAY_SECONDS = 86_400


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
