"""The optional groups of a plan: when runs start by themselves, drills, audits, the holders' keys."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from tasks.options import problem
from tasks.plan.cron import Cron, longest_gap
from tasks.plan.fields import HolderName, Timezone
from tasks.platform.secrets import SecretReference
from tasks.records import Record

# For the run itself, and for the hour by which the clocks change.
HOURS_OF_GRACE = 2


class Schedule(Record):
    """When runs start by themselves."""

    backup: Cron | None = Field(
        None,
        description="When to take a backup: minute, hour, day of the month, month, day of the week. "
        '"0 2 * * *" is every night at 2:00. Left out: only when started by hand.',
        examples=["0 2 * * *"],
    )
    drill: Cron | None = Field(
        None,
        description="When to restore a backup from a target and prove that it is good. It needs an identity "
        "under `drill` below. Left out: only when started by hand.",
        examples=["0 6 * * sun"],
    )
    audit: Cron | None = Field(
        None,
        description="When to look at every target: are the backups there, whole and fresh? "
        "Left out: only when started by hand.",
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


class Drill(Record):
    """How drills are done: restoring a backup from a target, with a holder's key."""

    target: str | None = Field(
        None,
        description="The only target to restore from in scheduled drills. Left out: all targets take turns.",
        examples=["nas"],
    )
    identity: SecretReference | None = Field(
        None,
        description="Where the private key of one holder is found: env:NAME for an environment variable, "
        "file:path for a file that nobody else can read, prefect:name for a secret block. Never the key "
        "itself. Only scheduled drills need it; best on another machine than the one that takes backups.",
        examples=["env:DATASAVE_IDENTITY"],
    )
    identities: dict[HolderName, SecretReference] = Field(
        default_factory=dict,
        description="The same for several holders, by their names above: their keys take turns, so that each "
        "is proved. `identity` is not needed then.",
        examples=[{"Owner": "env:OWNER_IDENTITY", "Bank safe": "env:SAFE_IDENTITY"}],
    )
    passphrase: SecretReference | None = Field(
        None,
        description="Where the passphrase of these keys is found, if they have one; not beside the keys.",
        examples=["env:DATASAVE_PASSPHRASE"],
    )
    thaw_hours: float = Field(
        60.0,
        ge=0,
        description="How many hours a scheduled drill waits for an archive out of cold storage (S3's GLACIER "
        "and DEEP_ARCHIVE); the wait counts as recovery time.",
    )
    within_days: int = Field(
        90, ge=1, description="Each target and each holder's key must be proved at least every N days."
    )
    cold_days: int = Field(
        365,
        ge=1,
        description="A target in cold storage is drilled on schedule every N days at the most: thawing an "
        "archive costs money and hours.",
    )
    objective_hours: float | None = Field(
        None,
        gt=0,
        description="The recovery time objective: within how many hours the data must be back. Drills "
        "measure it. Left out: no objective.",
        examples=[8.0],
    )

    def check(self, targets: Sequence[str], holders: Sequence[str], scheduled: bool) -> None:
        """Raise the plan's problem where drills could not be done as these options say."""
        if self.target is not None and self.target not in targets:
            raise problem(
                "is not the name of a target", hint=f"Targets: {', '.join(targets)}.", place="drill.target"
            )
        unknown = [name for name in self.identities if name not in holders]
        if unknown:
            raise problem(
                "is not the name of a holder",
                hint=f"Holders: {', '.join(holders)}.",
                place=f"drill.identities.{unknown[0]}",
            )
        if scheduled and not (self.identity or self.identities):
            raise problem(
                "is missing, and schedule.drill is set",
                hint="Say where a holder's private key is found (env:, file: or prefect:), "
                "or remove schedule.drill and drill by hand.",
                place="drill.identity",
            )


class Audit(Record):
    """What an audit does beside looking."""

    repair: bool = Field(
        False,
        description="Whether an audit puts a good copy in the place of a backup that it finds damaged or "
        "gone, from another target, as `datasave repair --apply` does.",
    )


class Keys(Record):
    """How the holders' keys are looked after."""

    prove_days: int = Field(
        100,
        ge=1,
        description="The doctor and the audit report a holder's key that has opened no backup (by `datasave "
        "keys prove` or in a drill) for this many days.",
    )
    contacts: tuple[str, ...] = Field(
        default=(),
        description="Whom to call when data is lost; printed on recovery sheets. Left out: lines to fill in.",
        examples=[["Dana Reyes, manager, +1 555 0100", "Office IT, +1 555 0199"]],
    )
