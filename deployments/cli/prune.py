"""``datasave prune``: what retention keeps and why; and what suspends it, accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption, TargetsOption
from deployments.cli.run import run_flow
from deployments.cli.screen import bad, findings_table, good, say, verdict_table
from deployments.serving.reaching import prepare_run
from tasks.backup.retain import accept_change, clear_unfinished, evidence, verdicts
from tasks.backup.retain import unfinished as unfinished_on
from tasks.context import PlanContext
from tasks.errors import DatasaveError
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
        bool, Parameter(negative=(), help="Show what each removal would rest on. Removes nothing.")
    ] = False,
    accept_change: Annotated[
        bool, Parameter(negative=(), help="The change that suspended pruning was meant: trust it.")
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
    if explain:
        return (
            0
            if all(
                [
                    _explain(context, name, source_name)
                    for name in names
                    for source_name in context.source_names
                ]
            )
            else 1
        )
    if unfinished:
        return _clear(context, names, apply)
    good_so_far = all(
        [_show_verdicts(context, name, source_name) for name in names for source_name in context.source_names]
    )
    if not apply:
        say("Nothing was deleted. Add --apply to delete what is marked.")
        return 0 if good_so_far else 1
    prepare_run(context.path)
    from flows.prune import prune as flow

    return run_flow(context, flow, plan=context.path, targets=target)


def _accept(context: PlanContext) -> int:
    for source_name in context.source_names:
        done = accept_change(context, source_name)
        for defect in done.told:
            good(f"{context.full_name(source_name)}: accepted that {defect}")
        for cause in done.unseen:
            say(f"Not looked at: {cause}")
    say("Pruning goes on with the next run, or with `datasave prune --apply`.")
    return 0


def _explain(context: PlanContext, name: str, source_name: str) -> bool:
    try:
        judged, note = verdicts(context, name, source_name)
    except DatasaveError as error:
        bad(error)
        return False
    findings = evidence(context, name, source_name, [verdict.backup for verdict in judged])
    findings_table(f"{place_text(name, source_name)}: what removal rests on", findings)
    if not all(finding.passed for finding in findings):
        return False
    return _show(place_text(name, source_name), judged, note)


def _show_verdicts(context: PlanContext, name: str, source_name: str) -> bool:
    try:
        judged, note = verdicts(context, name, source_name)
    except DatasaveError as error:
        bad(error)
        return False
    return _show(place_text(name, source_name), judged, note)


def _show(shown: str, judged: Sequence[Verdict], note: str) -> bool:
    if judged:
        verdict_table(shown, judged, note)
    else:
        say(f"{shown}: no backups")
    return not note


def _clear(context: PlanContext, names: list[str], apply: bool) -> int:
    for name in names:
        left = unfinished_on(context, name)
        for backup in left:
            say(f"{name}: {backup.name}, {size_text(backup.bytes)}, has no manifest")
        if apply:
            good(f"{name}: {len(clear_unfinished(context, name))} removed")
    if not apply:
        say("Nothing was deleted. Add --apply, while no backup is running anywhere, to delete these.")
    return 0
