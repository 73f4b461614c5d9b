"""The options of a plan. Their descriptions and examples become the sample plan, the reference and the
JSON schema: they are written for the person who keeps a practice's computers running.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tasks.calendars import FEWEST_MEDIA, Day, HasCalendar, When, WhenRule
from tasks.options import Alarm, Keep, Options, Spool, UserCheck, problem
from tasks.plan.fields import HolderName, PlanName, Recipient, Signer, TargetName
from tasks.plan.groups import Audit, Drill, Keys, Schedule
from tasks.plan.notice_options import Notices
from tasks.records import Holder, Record

# One backup in each weekday's slot; elsewhere a week of nights, a month of weeks, a year of months.
KEEP_IN_SLOTS = Keep(last=1)
KEEP_IN_ONE_PLACE = Keep(last=7, weekly=4, monthly=12)

HYBRID = "age1pq1"
# What `vendor` says of a service on the internet that is the office's own machine.
OWN = "own"
EXAMPLE_RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
EXAMPLE_CHECK = {
    "title": "newest visit at most 3 days old",
    "sql": "SELECT MAX(at) FROM visits",
    "as": "age_days",
    "expect": {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"min_value": -1, "max_value": 3},
    },
}


def _forever(value: object) -> object:
    if value == "forever":
        return {"forever": True}
    if not isinstance(value, dict | Keep):
        raise problem("must be `forever` or rules such as {last: 7, weekly: 4}")
    return value


KeepRules = Annotated[Keep, BeforeValidator(_forever, json_schema_input_type=Keep | Literal["forever"])]


def _group(value: object) -> object:
    """A heading with every line under it switched off is a group left at its defaults."""
    return {} if value is None else value


NoticesGroup = Annotated[Notices, BeforeValidator(_group, json_schema_input_type=Notices | None)]


def _default_keep(options: dict[str, Any]) -> Keep:
    return KEEP_IN_SLOTS if options["slots"] else KEEP_IN_ONE_PLACE


def _default_state(options: dict[str, Any]) -> Path:
    # No plan's name has a dot: nothing that we name can be what somebody calls a plan.
    return Path(".datasave") / "plans.d" / str(options["name"])


def _refuse_same_names(names: Iterable[str]) -> None:
    """Names that differ in case only count as one: on Windows, and when spoken, `NAS` and `nas` are."""
    seen: set[str] = set()
    for position, name in enumerate(names):
        if name.casefold() in seen:
            raise problem("has the same name as one before it", place=f"[{position}].name")
        seen.add(name.casefold())


class HolderEntry(Holder):
    """Someone who can open the backups."""

    name: HolderName = Field(description="Who holds the private key: a person or a safe.", examples=["Owner"])
    recipient: Recipient = Field(
        description="The public half of the holder's key. It only locks, so it may be seen by anyone.",
        examples=[EXAMPLE_RECIPIENT],
    )


class Baa(Record):
    """The business associate agreement with the vendor that keeps a target."""

    # Under HIPAA whoever keeps patients' data for an office is its business associate and must have signed
    # one; that the data is encrypted doesn't change that.
    vendor: str = Field(min_length=1, max_length=80, description="Who signed it.", examples=["AWS"])
    signed: Day = Field(description="When it was signed.", examples=["2026-01-10"])
    expires: Day | None = Field(
        None, description="The last day on which it holds. Left out: until ended.", examples=["2027-01-09"]
    )

    def holds_on(self, day: date) -> bool:
        """Whether it is signed and in date."""
        return self.signed <= day and (self.expires is None or day <= self.expires)


class SourceEntry(Options):
    """What every further source has, whatever its kind; the adapter's own options stand beside these."""

    name: PlanName = Field(
        description="What this part is called in reports and commands; its backups are named after the "
        "plan and it, as in front-office.programs.",
        examples=["programs"],
    )
    checks: tuple[UserCheck, ...] = Field(
        default=(), description="Your own questions to every restored copy of this part, as under `checks`."
    )


class TargetEntry(Options):
    """What every target has, whatever its kind; the adapter's own options stand beside these."""

    vendor: str | None = Field(
        None,
        min_length=1,
        description="The company that keeps this place, where it isn't yours. S3 beyond the office's own "
        "network is a vendor's without saying; `own` says that it is your own machine all the same.",
        examples=["Backblaze"],
    )
    baa: Baa | None = Field(
        None,
        description="The business associate agreement with that company (HIPAA): {vendor, signed, expires}.",
        examples=[{"vendor": "AWS", "signed": "2026-01-10"}],
    )
    off_premises: bool | None = Field(
        None,
        description="Whether a fire in the office would spare this place. Left out: yes for a vendor's and "
        "for three drives or more that are taken home in turn, no for all others.",
        examples=[True],
    )
    name: TargetName = Field(
        description="What this place is called in reports and commands.", examples=["nas", "office-drive"]
    )
    when: WhenRule = Field(
        default_factory=When,
        description="When this target is due: `every run`, `daily`, {weekly: fri}, {monthly: last fri} or "
        "{monthly: 15}. One that was missed is due again in the next run. Left out: every run.",
        examples=[{"weekly": "fri"}],
    )
    slots: Literal["weekday"] | None = Field(
        None,
        description="With `weekday` each day of the week has a folder of its own (MON to SUN), and one bad "
        "night cannot spoil another day's backup. Left out: all backups lie side by side.",
        examples=["weekday"],
    )
    keep: KeepRules = Field(
        default_factory=_default_keep,
        description="Which backups stay when new ones arrive, in each slot: the newest N (last) and the "
        "newest of each of N days, weeks, months or years (daily, weekly, monthly, yearly). A backup stays "
        "if any of these keeps it. Or `forever`. Left out: with slots, the newest in each; without, last 7, "
        "weekly 4, monthly 12.",
        examples=[{"last": 7, "weekly": 4, "monthly": 12}],
    )
    floor: int = Field(
        3, ge=1, description="However old they are, this many good backups are never removed from here."
    )
    fresh_hours: int | None = Field(
        None,
        ge=1,
        description="Audit and status alarm when the newest good backup here is older than this. "
        "Left out: when it is not the one that should be here by `schedule.backup`, `when` and the calendar.",
        examples=[26],
    )

    @property
    def with_vendor(self) -> bool:
        """Whether somebody else's company receives the data."""
        if self.vendor == OWN:
            return False
        return self.vendor is not None or self.baa is not None or self.at_vendor

    @property
    def media(self) -> int:
        """How many media it has: the drives that take turns, else the one place."""
        return len(self.calendar.labels) if isinstance(self, HasCalendar) else 1

    @property
    def is_off_premises(self) -> bool:
        """As the plan says; else a vendor's, or drives enough that one is always out of the house."""
        if self.off_premises is not None:
            return self.off_premises
        return self.with_vendor or self.media >= FEWEST_MEDIA


def _refuse_without_agreement(targets: Sequence[TargetEntry]) -> None:
    """Raise the plan's problem for the first vendor without an agreement.

    One that ran out is not refused: a date that passes must not cost an office tonight's backup. The doctor
    and the posture say so instead, until it is renewed.
    """
    for number, target in enumerate(targets):
        if target.with_vendor and target.baa is None:
            raise problem(
                "is missing: this target is a vendor's, and the plan says hipaa: true",
                hint="Sign a business associate agreement with them and note it as baa: {vendor: NAME, "
                "signed: 2026-01-10}, take the target out, or say vendor: own if the machine is yours.",
                place=f"targets[{number}].baa",
            )


def _refuse_clear_text(plan: Plan) -> None:
    """Raise the plan's problem for the first line on which others could read along."""
    told = [(f"targets[{number}]", entry.in_the_clear) for number, entry in enumerate(plan.targets)]
    told += [(f"also[{number}]", entry.in_the_clear) for number, entry in enumerate(plan.also)]
    told += [("source", plan.source.in_the_clear)]
    told += [("notices.heartbeat", plan.notices.heartbeat.in_the_clear)] if plan.notices.heartbeat else []
    for place, option in told:
        if option:
            raise problem(
                "would let others on the network read along, and the plan says hipaa: true",
                hint="Use an encrypted connection (https, TLS); for a server that has none, a tunnel to it.",
                place=f"{place}.{option}",
            )


class Archive(Record):
    """How the copy is packed."""

    level: int = Field(
        3, ge=1, le=19, description="How hard to compress: 1 is fastest, 19 gives the smallest archive."
    )
    threads: int = Field(
        0, ge=0, le=256, description="Processor cores to compress with; 0 stands for all of them."
    )


class Plan(Record):
    """What to back up, where to, under whose keys, when."""

    name: PlanName = Field(
        description="A short name of what is backed up; every backup's file name begins with it.",
        examples=["front-office"],
    )
    source: Options = Field(description="What to back up.")
    also: tuple[SourceEntry, ...] = Field(
        default=(),
        description="What else to back up in the same run, such as the folder of the program that uses the "
        "database. Each becomes an archive of its own; one that fails doesn't keep the others from theirs.",
        examples=[[{"name": "programs", "kind": "files", "path": "/srv/office/programs"}]],
    )
    holders: tuple[HolderEntry, ...] = Field(
        min_length=1,
        description="Who can open the backups. Each of them can alone, so name two at least, and keep one "
        "private key outside the office. Without any of these keys the backups are lost.",
    )
    targets: tuple[TargetEntry, ...] = Field(
        min_length=1,
        description="Where backups go. Each one is sent on its own: one that fails never stops the others.",
    )
    schedule: Annotated[Schedule, BeforeValidator(_group, json_schema_input_type=Schedule | None)] = Field(
        default=Schedule(), description="When runs start by themselves."
    )
    drill: Annotated[Drill, BeforeValidator(_group, json_schema_input_type=Drill | None)] = Field(
        default=Drill(), description="Drills: restoring a backup to see that it can be done."
    )
    audit: Annotated[Audit, BeforeValidator(_group, json_schema_input_type=Audit | None)] = Field(
        default=Audit(), description="Audits: looking at what lies on the targets."
    )
    keys: Annotated[Keys, BeforeValidator(_group, json_schema_input_type=Keys | None)] = Field(
        default=Keys(), description="How the holders' keys are looked after."
    )
    notices: NoticesGroup = Field(
        default=Notices(), description="Who is told how runs went, and what watches that they happen."
    )
    checks: tuple[UserCheck, ...] = Field(
        default=(),
        description="Your own questions to every restored copy, beside the checks that are always made. "
        "Each is one SQL query that gives one value (a number, or a date whose age in days counts) and what "
        "Great Expectations shall expect of it. The backup fails if the answer is not as expected.",
        examples=[[EXAMPLE_CHECK]],
    )
    alarm: Annotated[Alarm, BeforeValidator(_group, json_schema_input_type=Alarm | None)] = Field(
        default=Alarm(), description="When a backup looks too different from the last one to be trusted."
    )
    spool: Annotated[Spool, BeforeValidator(_group, json_schema_input_type=Spool | None)] = Field(
        default=Spool(), description="What waits in staging, encrypted, when a run could not reach a target."
    )
    archive: Annotated[Archive, BeforeValidator(_group, json_schema_input_type=Archive | None)] = Field(
        default=Archive(), description="How the copy is packed."
    )
    state: Path = Field(
        default_factory=_default_state,
        description="The folder for this machine's signing key, its reports and the work in progress, which "
        "needs room for some three copies of the source. Left out: .datasave/plans.d/ and the plan's name, "
        "beside this file.",
        examples=["/var/lib/datasave/front-office"],
    )
    strict: bool = Field(
        False,
        description="With true, a backup fails where one of its checks could not be made, say because a "
        "collation of the program is not known here. Left out: the backup is made, and the report names "
        "what could not be checked and what to do about it.",
    )
    sandbox: Literal["available", "required"] = Field(
        "available",
        description="Whether PostgreSQL's and MariaDB's programs open copies in a sandbox: what a copied "
        "database makes them run reaches nothing else. With `required`, nothing is backed up or drilled on a "
        "machine that has none. Left out: it is used where there is one; `datasave doctor` tells.",
    )
    hipaa: bool = Field(
        False,
        description="With true, a target that is a vendor's is refused unless it names the business "
        "associate agreement that they signed, and so is a connection that is not encrypted.",
    )
    signers: tuple[Signer, ...] = Field(
        default=(),
        description="Public keys of other machines whose backups are trusted too; needed where a plan is "
        "used on another machine than the one that takes the backups. Each manifest shows its "
        "machine's. Of a key that is no longer in use, `{key: ed25519:…, until: 419}` says the last backup.",
        examples=[["ed25519:FdoTNFp9Lb13NNfZYTeM0ZL7GqooYGw05auIvIbY6pg="]],
    )

    @field_validator("holders")
    @classmethod
    def _holders_go_together(cls, holders: tuple[HolderEntry, ...]) -> tuple[HolderEntry, ...]:
        _refuse_same_names(holder.name for holder in holders)
        if len({holder.recipient for holder in holders}) < len(holders):
            raise problem("two holders have the same recipient")
        if len({holder.recipient.startswith(HYBRID) for holder in holders}) > 1:
            raise problem(
                "classic (age1…) and post-quantum (age1pq1…) recipients cannot be mixed",
                hint="A file is only as safe as its weakest lock: give all holders keys of one sort.",
            )
        return holders

    @field_validator("also")
    @classmethod
    def _sources_go_together(cls, also: tuple[SourceEntry, ...]) -> tuple[SourceEntry, ...]:
        _refuse_same_names(entry.name for entry in also)
        return also

    @field_validator("targets")
    @classmethod
    def _targets_go_together(cls, targets: tuple[TargetEntry, ...]) -> tuple[TargetEntry, ...]:
        _refuse_same_names(target.name for target in targets)
        return targets

    @model_validator(mode="after")
    def _vendors_have_signed(self) -> Plan:
        if self.hipaa:
            _refuse_without_agreement(self.targets)
            _refuse_clear_text(self)
        return self

    @model_validator(mode="after")
    def _drill_can_be_done(self) -> Plan:
        self.drill.check(
            [target.name for target in self.targets],
            [holder.name for holder in self.holders],
            scheduled=self.schedule.drill is not None,
        )
        return self
