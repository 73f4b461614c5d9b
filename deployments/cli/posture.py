"""``datasave posture``: which rules of good backup practice the office keeps."""

from __future__ import annotations

from rich.markup import escape

from deployments.cli.options import DEFAULT_PLAN, PlanOption
from deployments.cli.screen import bad, good, out, path_line, say, table
from tasks.context import PlanContext
from tasks.health.drills import gather
from tasks.health.posture import posture_of, write_posture
from tasks.notices.report_text import posture_text
from tasks.reports import Posture

MARKS = {"met": "[green]met[/green]", "not applicable": "[dim]n/a[/dim]"}


def posture(*, plan: PlanOption = DEFAULT_PLAN) -> int:
    """Judge how the office backs up by the rules it was given: what holds, what is open, and why it matters.

    Reads the plan, what this machine remembers of runs, and the drill certificates on all targets that can
    be reached. Exit status 1 where a rule that must hold is open.

    **Examples:**

        datasave posture

        datasave posture --plan clinic.yaml
    """
    context = PlanContext(plan)
    away = gather(context).away
    judged = posture_of(context)
    _table(context.plan.name, judged)
    for name, cause in away.items():
        say(f"{name} was not looked at for certificates of drills: {cause}")
    for number, result in enumerate(judged.open, 1):
        say(f"{number}. {result.demands} {result.reason}")
        say(f"   → {result.how}")
    summary = posture_text(judged).summary
    path_line("Page:", write_posture(context, judged))
    if not judged.good:
        bad(summary)
        return 1
    good(summary)
    return 0


def _table(name: str, judged: Posture) -> None:
    shown = table(f"posture of {name}", ("", "rule", "what was found"), fold=True)
    for result in judged.results:
        opened = "[red]MUST[/red]" if result.must else "[yellow]open[/yellow]"
        shown.add_row(MARKS.get(result.state, opened), escape(result.demands), escape(result.found))
    out.print(shown)
