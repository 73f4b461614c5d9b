"""Four hundred nights of a practice: a medium for each of Monday to Thursday, two Fridays in turn.

The first Friday of November 2026 is F1's. The year has a week 53, both Fridays of the turn of the year
are holidays, and a week of holidays in July leaves only Mondays on both sides.
"""

from __future__ import annotations

from datetime import date, timedelta

from tasks.calendars import Calendar, date_text
from tasks.policy.rotation import tonight, where
from tests.golden.goldens import same_as_golden

FIRST = date(2026, 11, 2)
OFFICE = Calendar.model_validate(
    {
        "mon": "MON",
        "tue": "TUE",
        "wed": "WED",
        "thu": "THU",
        "fri": ["F1", "F2"],
        "holidays": ["2026-11-26", "2026-12-25", "2027-01-01", "2027-07-06 to 2027-07-11", "2027-09-06"],
        "since": FIRST,
    }
)


def test_four_hundred_nights() -> None:
    uses: list[tuple[date, str]] = []
    lines = []
    for number in range(400):
        day = FIRST + timedelta(days=number)
        advice = tonight(OFFICE, day, uses)
        away = " ".join(where(uses, OFFICE, day)) or "nothing"
        lines.append(f"{date_text(day)}  {advice.text}  [at home: {away}]\n")
        if advice.plug_in:
            uses.append((day, advice.plug_in))
    same_as_golden("rotation/four-hundred-nights.txt", "".join(lines).encode())
