"""``datasave doctor``: is everything there that a backup needs, and how to mend what is not."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import bad, findings_table, good, say, verbatim
from tasks.context import PlanContext
from tasks.health.doctor import checkup, tried_out
from tasks.sources.capabilities import grants_of
from tasks.targets.capabilities import policies as policies_of


def doctor(
    *,
    plan: PlanOption = DEFAULT_PLAN,
    grants: Annotated[
        bool, Parameter(negative=(), help="Only print what makes an account with just the rights needed.")
    ] = False,
    policies: Annotated[
        bool, Parameter(negative=(), help="Only print the least rights for the keys of each target.")
    ] = False,
    conformance: Annotated[
        bool, Parameter(negative=(), help="Try on the real engine each behaviour that is relied on.")
    ] = False,
    source: Annotated[
        str | None, Parameter(help="Which of the plan's sources to try; without it, the main one.")
    ] = None,
) -> int:
    """Check the plan, the source, keys, staging and every target; say how to mend what is wrong.

    Exit status 0 if a backup would find everything it needs.

    **Examples:**

        datasave doctor

        datasave doctor --plan clinic.yaml

        datasave doctor --grants

        datasave doctor --policies

        datasave doctor --conformance
    """
    context = PlanContext(plan)
    if policies:
        return _policies(context)
    if grants:
        sources = map(context.source, context.source_names)
        verbatim("\n".join(map(grants_of, sources)).removesuffix("\n"))
        return 0
    if conformance:
        source_name = context.source_name(source)
        findings = tried_out(context, source_name)
        findings_table(f"{context.source(source_name).kind}: what the real engine does", findings)
    else:
        findings = checkup(context)
        findings_table(f"{context.plan.name} ({context.path})", findings)
    failed = [finding for finding in findings if finding.failed]
    if failed:
        bad(f"{len(failed)} of {len(findings)} need attention")
        return 1
    done = f"all {len(findings)} hold" if conformance else "ready: a backup would find everything it needs"
    good(done)
    return 0


def _policies(context: PlanContext) -> int:
    found = False
    for entry in context.plan.targets:
        with context.target(entry.name) as target:
            for role, text in policies_of(target).items():
                found = True
                say(f"{entry.name}, policy of the {role}:")
                verbatim(text)
    if not found:
        say("No target of this plan is a service with policies.")
    return 0
