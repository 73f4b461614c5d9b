"""``datasave list``: the backups on every target."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from deployments.cli.options import DEFAULT_PLAN, PlanOption, TargetsOption
from deployments.cli.screen import bad, say, shelf_table
from tasks.backup.absent import UNKNOWN, absent_from, absent_text
from tasks.backup.holds import holds
from tasks.backup.retain import shelf_of
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.manifests.newer import other_sources
from tasks.manifests.shelf import ON_A_NEW_MACHINE
from tasks.manifests.signing import ANOTHER_MACHINE
from tasks.notices.wording import place_text
from tasks.records import BackupEntry
from tasks.targets.base import Target


def list_backups(*, plan: PlanOption = DEFAULT_PLAN, target: TargetsOption = None) -> int:
    """List the backups on every target, newest first, verified or with what is wrong with them.

    Exit status 1 where a target can't be reached.

    **Examples:**

        datasave list

        datasave list --plan clinic.yaml --target nas
    """
    context = PlanContext(plan)
    failed = False
    today = datetime.now(context.timezone).date()
    held = {name: holds(context, name, today) for name in context.source_names}
    for name in context.chosen(target):
        try:
            with context.target(name) as place:
                for source_name in context.source_names:
                    shelf = shelf_of(context, place, source_name, merely_looked_at=True)
                    words = {number: hold.words for number, hold in held[source_name].items()}
                    shelf_table(place_text(name, source_name), shelf, words)
                    for line in _strangers(context, place, shelf):
                        say(f"{place_text(name, source_name)}: {line}")
                    gone = absent_from(context, place, source_name, shelf)
                    for some, why in ((gone.lost, ""), (gone.unknown, UNKNOWN)):
                        if some:
                            say(f"{place_text(name, source_name)}: {absent_text(some, shelf, why)}")
        except DatasaveError as error:
            bad(error)
            failed = True
    return 1 if failed else 0


def _strangers(context: PlanContext, target: Target, shelf: Sequence[BackupEntry]) -> tuple[str, ...]:
    """What lies there under another name or another machine's signature where no backup counts."""
    if any(backup.verified for backup in shelf):
        return ()
    if any(backup.defect.startswith(ANOTHER_MACHINE) for backup in shelf):
        return (ON_A_NEW_MACHINE,)
    return other_sources((stat.name for stat in target.list()), context.full_names, None)
