"""What a plan is made of where libraries meet: adapters' options, retention rules, users' checks."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tasks.records import Record

Json = dict[str, Any]


def problem(cause: str, *, hint: str = "", place: str = "") -> PydanticCustomError:
    """The error a validator raises. ``place`` is below the field the validator stands at."""
    return PydanticCustomError("plan", "{cause}", {"cause": cause, "hint": hint, "place": place})


@dataclass(frozen=True)
class Place:
    """Where something lies, so that it can be told whether it lies in something else.

    ``service`` says in one spelling who keeps it, "" for this machine's own disks. ``path`` is a file or
    folder there, with forward slashes; on this machine a path as the system has them. ``folds``: the case of
    letters is ignored.
    """

    service: str
    path: str
    folds: bool = False


def is_this_machine(host: str) -> bool:
    """Whether a host's name or number never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Options(Record):
    """Base of an adapter's options as they stand in the plan file.

    Each adapter declares its own subclass beside its code, narrowing ``kind`` to its literal; field
    descriptions and examples become the sample plan, the reference and the JSON schema.
    """

    kind: str

    @property
    def at_vendor(self) -> bool:
        """Whether the place is somebody else's by its nature, as storage on the internet is."""
        return False

    @property
    def in_the_clear(self) -> str:
        """The option by which others on the network can read along, or answer in its place; "" for none."""
        return ""

    @property
    def place(self) -> Place | None:
        """Where it lies, as far as the plan says it; None where that depends on what is there."""
        return None


@dataclass(frozen=True)
class OptionModels(Mapping[str, type[Options]]):
    """Options models by kind; an adapter is imported when its model is looked up."""

    kinds: Collection[str]
    load: Callable[[str], type[Options]]

    def __getitem__(self, kind: str) -> type[Options]:
        if kind not in self.kinds:
            raise KeyError(kind)
        return self.load(kind)

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


class Keep(Record):
    """How many backups a target keeps, in each of its slots. A backup stays if any rule keeps it.

    ``last`` counts backups; the others count the newest N days, weeks, months, years that have one,
    and keep the newest of each. A rule of 0 is off.
    """

    last: int = Field(0, ge=0, description="the newest N backups")
    daily: int = Field(0, ge=0, description="the newest of each of N days")
    weekly: int = Field(0, ge=0, description="the newest of each of N weeks (Monday to Sunday)")
    monthly: int = Field(0, ge=0, description="the newest of each of N months")
    yearly: int = Field(0, ge=0, description="the newest of each of N years")
    forever: bool = Field(False, description="never remove anything")

    @model_validator(mode="after")
    def _keeps_something(self) -> Keep:
        if not (self.forever or self.last or self.daily or self.weekly or self.monthly or self.yearly):
            raise ValueError("keeps nothing: give at least one rule above 0, or `keep: forever`")
        return self


class Expectation(Record):
    """A Great Expectations expectation by name, without its column: it is about a single value."""

    type: str = Field(
        description="an expectation about a column's values",
        examples=["expect_column_values_to_be_between"],
    )
    kwargs: Json = Field(
        default_factory=dict, description="its limits", examples=[{"min_value": -1, "max_value": 3}]
    )


class UserCheck(Record):
    """A user's own check: one value, read by SQL from a copy, and what is expected of it.

    The field ``as_`` is written ``as`` in the plan file and in JSON; either name is read.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    title: str = Field(min_length=1, description="the check's name in reports")
    sql: str = Field(
        description="a SELECT that gives exactly one value", examples=["SELECT MAX(at) FROM visits"]
    )
    as_: Literal["number", "age_days", "text"] = Field(
        "number",
        alias="as",
        description="how to take the value: a number, a time's age in days when the copy was taken, a text",
    )
    expect: Expectation


class Alarm(Record):
    """How much a source may change from one backup to the next before somebody must look."""

    rows_lost: int = Field(
        25,
        ge=1,
        le=100,
        description="Percent of its rows that a table may lose within 30 days. Beyond that the run alarms, "
        "the backup is marked and nothing old is removed anywhere until someone says that the change was "
        "meant (`datasave prune --accept-change`).",
    )
    packs_worse: int = Field(
        50,
        ge=1,
        description="Percent by which the archive may grow compared with its contents. Data that was "
        "encrypted by ransomware, or overwritten with noise, doesn't compress.",
    )


class Spool(Record):
    """How many sealed archives of failed runs wait in staging for a retry or a late delivery."""

    runs: int = Field(3, ge=1, description="Of how many runs at the most.")
    days: int = Field(7, ge=1, description="For how many days at the most.")
    gigabytes: float = Field(
        100.0, gt=0, description="How large all together at the most; the newest always waits."
    )
