"""Options that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

PLAN_VARIABLE = "DATASAVE_PLAN"
PlanOption = Annotated[
    Path,
    Parameter(
        name=["--plan", "-p"],
        env_var=PLAN_VARIABLE,
        help="The plan file; without it datasave.yaml, or the only plan of this folder.",
    ),
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
# What every plan says on lines of their own, and hardly another YAML file: its name and where copies go.
_PLAN_KEYS = (re.compile(rb"^name:", re.MULTILINE), re.compile(rb"^targets:", re.MULTILINE))
_LONGEST_PLAN = 1 << 20


@contextmanager
def lone_plan() -> Iterator[None]:
    """For the block, let commands without ``--plan`` use the only plan of this folder, whatever its name is.

    A datasave.yaml comes first, and what the environment names before all. Where several lie here the user
    has to say which.
    """
    named = PLAN_VARIABLE in os.environ or DEFAULT_PLAN.exists()
    plans = [] if named else [path for path in _yaml_here() if _is_plan(path)]
    if len(plans) != 1:
        yield
        return
    os.environ[PLAN_VARIABLE] = str(plans[0])
    try:
        yield
    finally:
        del os.environ[PLAN_VARIABLE]


def _yaml_here() -> list[Path]:
    return sorted(path for path in Path().glob("*") if path.suffix in (".yaml", ".yml") and path.is_file())


def _is_plan(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            text = stream.read(_LONGEST_PLAN)
    except OSError:
        return False
    return all(key.search(text) for key in _PLAN_KEYS)


SourceOption = Annotated[str | None, Parameter(help="Which of the plan's sources; without it, the main one.")]
MaybePlanOption = Annotated[
    Path | None,
    Parameter(
        name=["--plan", "-p"],
        env_var=PLAN_VARIABLE,
        help="The plan file; without it datasave.yaml, or the only plan of this folder, if there is one.",
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
CsvSafeOption = Annotated[
    bool,
    Parameter(
        negative=(),
        help="With --only and a table that a spreadsheet shall open: what would be a formula there gets an "
        "apostrophe before it. The file is then not the data to the letter.",
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
