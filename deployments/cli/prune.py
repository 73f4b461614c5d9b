"""``datasave prune``: what retention keeps and why; and what suspends it, accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from deployments.cli.options import DEFAULT_PLAN, PlanOption, TargetsOption
from deployments.cli.run import run_flow
from deployments.cli.screen import bad, findings_table, good, out, say, table
from deployments.serving.server import prepare_run
from tasks.backup import retain
from tasks.backup.promises import accept_plan
from tasks.context import PlanContext
from tasks.errors import DatasaveError
from tasks.manifests.shelf import elsewhere_text
from tasks.notices.wording import place_text, size_text
from tasks.records import Verdict


def prune(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    target: TargetsOption = None,
    unfinished: Annotated[
        bool, Parameter(negative=(), help="Only what cut-off deliveries left behind.")
    ] = False,
    apply: Annotated[bool, Parameter(negative=(), help="Remove what the list says would go.")] = False,
    explain: Annotated[
        bool, Parameter(negative=(), help="Show what must hold before anything is removed. Removes nothing.")
    ] = False,
    accept_change: Annotated[
        bool, Parameter(negative=(), help="The change of data or plan that suspended pruning was meant.")
    ] = False,
) -> int:
    """Show what retention keeps and would remove, and why. Deletes only with --apply.

    **Examples:**

        datasave prune

        datasave prune --target nas --apply

        datasave prune --explain

        datasave prune --unfinished --apply

        datasave prune --accept-change
    """
    context = PlanContext(plan)
    names = context.chosen(target)
    if accept_change:
        return _accept(context)
    if unfinished and not explain:
        return _clear(context, names, apply)
    each = [(name, source_name) for name in names for source_name in context.source_names]
    good_so_far = all([_show(context, *one, explain=explain) for one in each])
    if not (apply or explain):
        say("Nothing was deleted. Add --apply to delete what is marked.")
    if explain or not apply:
        return 0 if good_so_far else 1
    prepare_run(context.path)
    import flows.prune

    return run_flow(context, flows.prune.prune, targets=target)


def _accept(context: PlanContext) -> int:
    for name in accept_plan(context):
        good(f"{name}: accepted that the plan keeps what it says now, and no longer what it said before")
    for source_name in context.source_names:
        done = retain.accept_change(context, source_name)
        for defect in done.told:
            good(f"{context.full_name(source_name)}: accepted that {defect}")
        for cause in done.unseen:
            say(f"Not looked at: {cause}")
    say("Pruning goes on with the next run, or with `datasave prune --apply`.")
    return 0


def _show(context: PlanContext, name: str, source_name: str, *, explain: bool) -> bool:
    """Show what retention would do with a source at a target; whether nothing keeps it from that."""
    place = place_text(name, source_name)
    try:
        judged, note = retain.verdicts(context, name, source_name)
    except DatasaveError as error:
        bad(error)
        return False
    if explain:
        findings = retain.evidence(context, name, source_name, [verdict.backup for verdict in judged])
        findings_table(f"{place}: what must hold before anything is removed", findings)
        if not all(finding.passed for finding in findings):
            return False
    here = [verdict for verdict in judged if not verdict.backup.elsewhere]
    if here:
        _table(place, here, note)
    else:
        say(f"{place}: no backups")
    if told := elsewhere_text(verdict.backup for verdict in judged):
        say(f"{place}: {told}")
    return not note


def _table(target: str, verdicts: Sequence[Verdict], note: str) -> None:
    """What retention would do at one target, and why."""
    shown = table(target, ("", "backup", "why"), fold=True)
    for verdict in reversed(verdicts):
        mark = "keep" if verdict.kept else "[yellow]remove[/yellow]"
        slot = f"{verdict.backup.slot}/" if verdict.backup.slot else ""
        shown.add_row(mark, escape(slot + verdict.backup.name), escape("; ".join(verdict.reasons)))
    out.print(shown)
    if note:
        bad(note)


def _clear(context: PlanContext, names: list[str], apply: bool) -> int:
    for name in names:
        left = retain.unfinished(context, name)
        for backup in left:
            say(f"{name}: {backup.full_name}, {size_text(backup.bytes)}, has no manifest")
        if apply:
            good(f"{name}: {len(retain.clear_unfinished(context, name))} removed")
    if not apply:
        say("Nothing was deleted. Add --apply, while no backup is running anywhere, to delete these.")
    return 0
