"""The days of the simulated office: when it is closed, and what goes wrong on which night."""

from __future__ import annotations

from datetime import date, timedelta

DAY = timedelta(days=1)
FIRST = date(2026, 1, 5)
"""A Monday. The year that follows has 53 weeks, and the clocks change twice."""
NIGHTS = [FIRST + DAY * number for number in range(400)]


def stretch(first: date, last: date) -> list[date]:
    return [first + DAY * number for number in range((last - first).days + 1)]


CLOSED = {
    date(2026, 5, 25): "Memorial Day, a Monday",
    date(2026, 7, 3): "Independence Day, kept on Friday",
    **dict.fromkeys(stretch(date(2026, 8, 4), date(2026, 8, 9)), "summer: from Monday to Monday"),
    date(2026, 9, 7): "Labor Day, a Monday",
    date(2026, 11, 26): "Thanksgiving, a Thursday",
    date(2026, 11, 27): "the Friday after it",
    **dict.fromkeys(stretch(date(2026, 12, 24), date(2027, 1, 1)), "from Thursday to Friday of next week"),
}

STAND_INS = {date(2026, 8, 10): "THU"}
"""MON still has the newest backup, from before that week: the drive not needed for longest helps out."""

PLUGGED = {
    date(2026, 2, 10): "WED",
    date(2026, 3, 19): "",
    date(2026, 4, 14): "MON",
    date(2026, 7, 24): "stranger",
    date(2026, 10, 30): "",
    date(2026, 12, 9): "TUE",
}
"""The nights on which another medium than the one due was plugged in; "" stands for none."""

NAS_AWAY = {date(2026, 3, 4), date(2026, 10, 5), date(2026, 10, 6)}
"""The network drive is not mounted: an empty folder is there instead."""

S3_DOWN = {date(2026, 5, 15), date(2026, 9, 25), date(2026, 9, 26), date(2027, 1, 6)}
"""A Friday; the last Friday of a month and the Saturday after it; a Wednesday, when nobody asks for it."""

OFF = {date(2026, 7, 10), date(2026, 11, 7), date(2026, 11, 8)}
"""The office's machine was switched off. The first of these is a Friday."""

AHEAD = timedelta(weeks=52)
CLOCK_AHEAD = date(2026, 6, 17)
"""In this one night the machine's clock is a year ahead: on a Wednesday as well, so that WED is due."""
SET_RIGHT = {"nas": date(2026, 6, 22), "WED": date(2026, 6, 24)}
"""When somebody looked into it and removed the backup that bears the wrong date, before that day's run."""
