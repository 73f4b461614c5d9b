"""Commands that only look: list."""

from __future__ import annotations

from deployments.options import DEFAULT_PLAN, PlanOption, TargetsOption
from deployments.screen import bad, shelf_table
from tasks.errors import DatasaveError
from tasks.notices.wording import place_text
from tasks.steps.office import Office
from tasks.steps.retaining import shelf_of


def list_backups(*, plan: PlanOption = DEFAULT_PLAN, target: TargetsOption = None) -> int:
    """List the backups on every target, newest first, verified or with what is wrong with them.

    Exit status 1 where a target can't be reached.

    **Examples:**

        datasave list

        datasave list --plan clinic.yaml --target nas
    """
    office = Office(plan)
    names = office.chosen(target)
    failed = False
    for name in names:
        try:
            with office.target(name) as place:
                for part in office.parts:
                    shelf_table(place_text(name, part), shelf_of(office, place, part))
        except DatasaveError as error:
            bad(error)
            failed = True
    return 1 if failed else 0
