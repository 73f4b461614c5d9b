"""When runs start by themselves, and how long a silence is an alarm."""

from __future__ import annotations

from pydantic import Field

from tasks.plan.cron import Cron, longest_gap
from tasks.plan.fields import Timezone
from tasks.records import Record

# For the run itself, and for the hour by which the clocks change.
HOURS_OF_GRACE = 2


class Schedule(Record):
    """When runs start by themselves."""

    backup: Cron | None = Field(
        None,
        description="When to take a backup: minute, hour, day of the month, month, day of the week. "
        '"0 2 * * *" is every night at 2:00. Left out: only when asked to.',
        examples=["0 2 * * *"],
    )
    drill: Cron | None = Field(
        None,
        description="When to restore a backup from a target and prove that it is good. It needs an identity "
        "under `drill` below. Left out: only when asked to.",
        examples=["0 6 * * sun"],
    )
    audit: Cron | None = Field(
        None,
        description="When to look at every target: are the backups there, whole and fresh? "
        "Left out: only when asked to.",
        examples=["0 8 * * *"],
    )
    restart: Cron | None = Field(
        None,
        description="When to restart the database engine, for engines whose makers advise it (SQL Anywhere: "
        "once a day, at a time when nobody works). `source.restart` says how. Left out: never.",
        examples=["30 1 * * *"],
    )
    log: Cron | None = Field(
        None,
        description="When to back up the log between full backups, for engines that keep one (SQL Anywhere, "
        "PostgreSQL: `source.log_folder` says where to). Left out: never.",
        examples=["0 8-18 * * mon-fri"],
    )
    prune: Cron | None = Field(
        None,
        description="When to remove what `keep` no longer keeps, beside what each backup clears out where it "
        "was delivered. Left out: only with backups.",
        examples=["0 4 1 * *"],
    )
    alarm_hours: float | None = Field(
        None,
        ge=0.005,
        description="Alarm when no backup was fully successful for this many hours, though nothing may have "
        "failed: a computer that is off takes none. Left out: the longest time between two backups by "
        "`backup` above, and 2 hours more.",
        examples=[26],
    )
    timezone: Timezone = Field(
        "UTC",
        description="The time zone of the office: these times are meant in it, and it decides which weekday "
        "a backup belongs to. Left out: UTC, where 2:00 may be your evening.",
        examples=["America/New_York"],
    )

    @property
    def silent_hours(self) -> float | None:
        """After how many hours without a successful backup to alarm; None where none is expected."""
        if self.alarm_hours is not None or self.backup is None:
            return self.alarm_hours
        return longest_gap(self.backup).total_seconds() / 3600 + HOURS_OF_GRACE
