"""``datasave repair``: broken backups put right from copies that are whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from deployments.cli.options import DEFAULT_PLAN, PlanOption, TargetsOption
from deployments.cli.screen import bad, good, out, say, steps, table, warning
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.health.repair import Mend, give_up, look
from tasks.health.repair import repair as repair_one
from tasks.platform.accounts import account_name


def repair(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    target: TargetsOption = None,
    apply: Annotated[bool, Parameter(negative=(), help="Put them right, as the list says.")] = False,
    give_up: Annotated[
        bool,
        Parameter(negative=(), help="With --apply: expect no more what is gone and has no copy anywhere."),
    ] = False,
) -> int:
    """Show which backups are damaged or gone, and where whole copies of them are. Repairs only with --apply.

    A copy is read whole before it is sent, and read back before it counts. Run `datasave audit --read-all`
    before, to have everything looked at. Exit status 1 where something stays broken.

    **Examples:**

        datasave repair

        datasave repair --target nas --apply
    """
    context = PlanContext(plan)
    found = look(context, context.chosen(target))
    for name, cause in found.away.items():
        warning(f"not looked at: {name}: {cause}")
    if not found.mends:
        good("No backup is known to be damaged or gone")
        return 0
    _show(found.mends)
    if not apply:
        say("Nothing was changed. Add --apply to put right what has a whole copy.")
        return 0
    return 0 if all([_done(context, mend, give_up) for mend in found.mends]) else 1


def _show(mends: Sequence[Mend]) -> None:
    shown = table("broken backups", ("target", "number", "what is wrong", "whole copies"), fold=True)
    for mend in mends:
        places = ", ".join(copy.place for copy in mend.copies) or "[red]none[/red]"
        broken = mend.broken
        shown.add_row(escape(broken.target), f"#{broken.sequence}", escape(broken.why), places)
    out.print(shown)


def _done(context: PlanContext, mend: Mend, giving_up: bool) -> bool:
    """Repair one backup, or give it up; whether it is broken no more."""
    title = f"#{mend.broken.sequence} on {mend.broken.target}"
    if giving_up and give_up(context, mend, account_name()):
        say(f"{title} is given up: it is not expected there any more")
        return True
    try:
        with steps() as progress:
            place = repair_one(context, mend, lambda done, total: progress(f"repair {title}", done, total))
    except DatasaveError as error:
        bad(error)
        return False
    good(f"{title} is whole again, from {place}")
    return True
