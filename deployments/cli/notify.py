"""``datasave notify``: who is told how runs go, and a test of all the channels."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import bad, findings_table, good, say
from deployments.serving.server import prepare_run, reach_server
from tasks.context import PlanContext
from tasks.health.notify import Notifier, notifier_of, tell_plainly
from tasks.records import Finding
from tasks.reports import Notified


def notify(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    test: Annotated[
        bool, Parameter(negative=(), help="Tell everyone, marked as a test, and show how it went.")
    ] = False,
) -> int:
    """Show who is told how runs go; with --test tell all of them, and show who could be told.

    A heartbeat is told that a run failed, since a test must never pass for a good backup: its service
    alarms, which is the test, and is quiet again after the next good run.

    **Examples:**

        datasave notify

        datasave notify --test
    """
    context = PlanContext(plan)
    if "prefect:" in context.plan.notices.model_dump_json():
        prepare_run(context.path)
        reach_server()
        import flows  # noqa: F401 - finds the secrets that only the Prefect server knows
    with notifier_of(context.path) as notifier:
        channels = [*notifier.people, *notifier.heartbeats]
        if not channels:
            bad("nobody is told how runs go: the plan has no `notices`")
            return 1
        if not test:
            return _listed(notifier)
        told = tell_plainly(channels, notifier.test_notice(datetime.now(UTC).replace(microsecond=0)))
    return _shown(context, told)


def _listed(notifier: Notifier) -> int:
    for channel in notifier.people:
        say(f"{channel.name}: {'after every run' if channel.when == 'always' else 'when a run failed'}")
    for channel in notifier.heartbeats:
        say(f"{channel.name}: after every run")
    say("Nobody was told anything. Add --test to tell them all.")
    return 0


def _shown(context: PlanContext, told: list[Notified]) -> int:
    findings = [Finding(check=one.channel, passed=one.told, detail=one.detail) for one in told]
    findings_table(f"{context.plan.name}: a test of all notices", findings)
    unreachable = [one for one in told if not one.told]
    if unreachable:
        bad(f"{len(unreachable)} of {len(told)} could not be told")
        return 1
    good(f"all {len(told)} were told; ask them whether it arrived")
    return 0
