"""What a plan says about its holders' keys, beside who they are."""

from __future__ import annotations

from pydantic import Field

from tasks.records import Record


class Keys(Record):
    """How the holders' keys are looked after."""

    prove_days: int = Field(
        100,
        ge=1,
        description="After how many days in which a holder's key was not seen to open a backup (by `datasave "
        "keys prove` or a drill) the doctor and the audit say so.",
    )
    contacts: tuple[str, ...] = Field(
        default=(),
        description="Whom to call on the worst day; printed on recovery sheets. Left out: lines to fill in.",
        examples=[["Dana Reyes, manager, +1 555 0100", "Office IT, +1 555 0199"]],
    )
