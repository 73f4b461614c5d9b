"""How sizes, durations, times, counts and foreign text are put into words, everywhere the same.

Used by the report, the mails and the command line. English, whatever the machine's locale: a report
that is forwarded to the person who can help must read the same on both desks. Sizes are humanize's;
durations and times are put into words here, because humanize writes them out ("1 minute and 12 seconds") and
in the language of the thread.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

import humanize

from tasks.calendars import MONTHS, date_text
from tasks.records import Removed

NAME_LIMIT = 120
MESSAGE_LIMIT = 1000
REMOVED_LISTED = 20

_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))


def step_text(step: str, source_name: str) -> str:
    """A step's name; of one of the plan's further sources it says which: ``live copy, programs``."""
    return f"{step}, {source_name}" if source_name else step


def place_text(target: str, source_name: str) -> str:
    """A target's name; for one of the plan's further sources it says which: ``nas (programs)``."""
    return f"{target} ({source_name})" if source_name else target


def size_text(size: int) -> str:
    """Bytes in decimal units with three significant digits: ``789 kB``, ``45.6 MB``, ``1.23 GB``."""
    return count_text(size, "byte") if size < 1000 else humanize.metric(size, "B", precision=3)


def duration_text(seconds: float) -> str:
    """Seconds in words: ``under 1 s``, ``12 s``, ``1 min 12 s``, ``2 h 5 min``, ``3 d 4 h``.

    A clock that was set back during a run gives a negative duration; it reads ``0 s``.
    """
    if 0 < seconds < 1:
        return "under 1 s"
    whole = max(0, int(seconds + 0.5))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def when_text(moment: datetime, timezone: tzinfo | None = None) -> str:
    """A moment with its zone: ``Mon 23 Nov 2026, 02:00 UTC``.

    With ``timezone`` the local time comes first: ``Sun 22 Nov 2026, 21:00 EST (23 Nov, 02:00 UTC)``.
    A naive ``moment`` is UTC, as in all records.
    """
    utc = _in_utc(moment)
    local, clock = utc.astimezone(timezone or UTC), clock_text(moment, timezone)
    if not local.utcoffset():
        return f"{clock} UTC"
    day = "" if local.date() == utc.date() else f"{utc.day} {MONTHS[utc.month - 1]}, "
    return f"{clock} {_zone(local)} ({day}{utc:%H:%M} UTC)"


def clock_text(moment: datetime, timezone: tzinfo | None = None) -> str:
    """A moment below a heading that names the zone: ``Sun 22 Nov 2026, 21:00``."""
    local = _in_utc(moment).astimezone(timezone or UTC)
    return f"{date_text(local)}, {local:%H:%M}"


def stamp_text(moment: datetime) -> str:
    """A moment to the second, for technical details: ``2026-11-23 02:00:07 UTC``."""
    return f"{_in_utc(moment):%Y-%m-%d %H:%M:%S} UTC"


def count_text(number: int, one: str = "", many: str = "") -> str:
    """A count with thousands separators, and its noun: ``1,204``, ``1 table``, ``3 copies``.

    ``many`` is the plural where it isn't ``one`` + s.
    """
    noun = one if number == 1 else many or (f"{one}s" if one else "")
    return f"{number:,} {noun}".rstrip()


def removed_text(removed: Sequence[Removed]) -> str:
    """What was removed and why: ``#1, #2 (no rule keeps it (last 2)), #7 (…)``; of many the first."""
    numbers: dict[str, list[str]] = {}
    for gone in removed[:REMOVED_LISTED]:
        numbers.setdefault(gone.reason, []).append(f"#{gone.sequence}")
    told = [f"{', '.join(found)} ({reason})" for reason, found in numbers.items()]
    more = len(removed) - REMOVED_LISTED
    return ", ".join([*told, *([f"and {count_text(more)} more"] if more > 0 else [])])


def plain_text(text: str, limit: int = NAME_LIMIT) -> str:
    """Foreign text (names in a database, a server's messages) as one harmless line.

    Control characters could steer a terminal, bidirectional overrides could make a name read
    backwards, a line break could add a line that we never wrote: each is shown by its number or
    becomes a space. Text longer than ``limit`` characters loses its middle.
    """
    if len(text) > limit:
        tail = limit // 4
        text = f"{text[: limit - tail - 1]}…{text[-tail:]}"
    return "".join(_seen(character) for character in " ".join(text.split()))


def visible_text(text: str) -> str:
    """Foreign text for a terminal: what steers one is shown by its number; lines stay lines."""
    if text.isprintable():
        return text
    return "".join(character if character == "\n" else _seen(character) for character in text.expandtabs())


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _zone(local: datetime) -> str:
    # Many zones have no letters of their own; tzname() then gives a bare "+03".
    name = local.tzname() or ""
    return name if name.isalpha() else f"UTC{local:%z}"


def _seen(character: str) -> str:
    return f"[U+{ord(character):04X}]" if unicodedata.category(character) in _UNSEEN else character
