"""Who keeps a target, where it isn't the office itself, and what they signed.

Under HIPAA whoever keeps patients' data for an office is its business associate and must have signed an
agreement (BAA); that the data is encrypted doesn't change that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pydantic import Field

from tasks.calendars import Day
from tasks.options import Options, problem
from tasks.records import Record

OWN = "own"


class Baa(Record):
    """The business associate agreement with the vendor that keeps a target."""

    vendor: str = Field(min_length=1, max_length=80, description="Who signed it.", examples=["AWS"])
    signed: Day = Field(description="When it was signed.", examples=["2026-01-10"])
    expires: Day | None = Field(
        None, description="The last day on which it holds. Left out: until ended.", examples=["2027-01-09"]
    )

    def holds_on(self, day: date) -> bool:
        """Whether it is signed and in date."""
        return self.signed <= day and (self.expires is None or day <= self.expires)


class Custody(Options):
    """What every target can say of who keeps it, and where."""

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

    @property
    def with_vendor(self) -> bool:
        """Whether somebody else's company receives the data."""
        if self.vendor == OWN:
            return False
        return self.vendor is not None or self.baa is not None or self.at_vendor


def refuse_without_agreement(targets: Sequence[Custody]) -> None:
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
