"""What a plan says about drills."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from tasks.options import problem
from tasks.plan.fields import HolderName
from tasks.platform.secrets import SecretReference
from tasks.records import Record


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
        90, ge=1, description="Each target and each holder's key shall be proved at least every N days."
    )
    cold_days: int = Field(
        365,
        ge=1,
        description="A target in cold storage is drilled by itself every N days at the most: waking an "
        "archive costs money and hours.",
    )
    objective_hours: float | None = Field(
        None,
        gt=0,
        description="Within how many hours the data shall be back on the worst day. Drills measure it. "
        "Left out: no objective.",
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
