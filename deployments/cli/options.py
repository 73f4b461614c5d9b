"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

PLAN_VARIABLE = "DATASAVE_PLAN"
PlanOption = Annotated[
    Path,
    Parameter(name=["--plan", "-p"], env_var=PLAN_VARIABLE, help="The plan file."),
]
TargetsOption = Annotated[
    list[str] | None,
    Parameter(name=["--target", "-t"], negative=(), help="Only this target; may be given several times."),
]
SkipOption = Annotated[
    list[str] | None,
    Parameter(name="--skip", negative=(), help="Leave this target out; may be given several times."),
]
BackupOption = Annotated[
    str,
    Parameter(
        name=["--backup", "-b"],
        help="Which backup: latest, a number (417), a date (2026-11-23), or a name from `datasave list`.",
    ),
]
DEFAULT_PLAN = Path("datasave.yaml")
SourceOption = Annotated[str | None, Parameter(help="Which of the plan's sources; without it, the main one.")]
MaybePlanOption = Annotated[
    Path | None,
    Parameter(
        name=["--plan", "-p"],
        env_var=PLAN_VARIABLE,
        help="The plan file; without it datasave.yaml, if it is there.",
    ),
]
IdentityOption = Annotated[Path, Parameter(name=["--identity", "-i"], help="A holder's identity file.")]
PassphraseOption = Annotated[
    str | None,
    Parameter(
        help="Where the passphrase of a protected identity file is found, env:NAME or file:PATH. Without it "
        "DATASAVE_PASSPHRASE is used if it is set, else the passphrase is asked for."
    ),
]
POOL = "datasave"
PoolOption = Annotated[str, Parameter(help="The work pool, of type process.")]
QueueOption = Annotated[
    str | None, Parameter(help="The queue in it: one for each site. Without it, the plan's name.")
]
WaitOption = Annotated[
    float,
    Parameter(help="How many hours to wait for an archive out of cold storage; without it, come back later."),
]
AcceptDamageOption = Annotated[
    bool, Parameter(negative=(), help="Keep the restored data although checks failed; exit status 1.")
]

UntilOption = Annotated[
    str | None,
    Parameter(help="With --logs: nothing after this moment, such as '2026-11-23 14:30' in the plan's zone."),
]
OnlyOption = Annotated[
    str | None,
    Parameter(
        help="Just this: of a folder a file or a pattern (Forms/letter.docx, *.docx); of a database a table, "
        "written as CSV."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class InPlace:
    """The options of a restore in place; its fields are options of ``restore``."""

    in_place: Annotated[
        bool,
        Parameter(negative=(), help="Rename the live data, DATA, to DATASAVE; the backup takes its place."),
    ] = False
    dry_run: Annotated[bool, Parameter(negative=(), help="With --in-place: show the steps, do nothing.")] = (
        False
    )
    yes: Annotated[
        bool, Parameter(negative=(), help="Don't ask: for scripts, and where there is no terminal.")
    ] = False
    discard_old: Annotated[
        bool, Parameter(negative=(), help="Remove DATASAVE, the old data: with --in-place, or alone later.")
    ] = False
    resume: Annotated[bool, Parameter(negative=(), help="Finish a restore in place that was cut off.")] = (
        False
    )
    undo: Annotated[
        bool,
        Parameter(
            negative=(), help="Put the old data back, after an interruption or after a finished restore."
        ),
    ] = False

    @property
    def asked(self) -> bool:
        """Whether this is what the command is about."""
        return self.in_place or self.resume or self.undo or self.discard_old


NOT_IN_PLACE = InPlace()
