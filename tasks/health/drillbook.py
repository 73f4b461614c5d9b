"""What drills proved and what is due, in words, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.context import PlanContext
from tasks.health.drills import kept, proofs_of
from tasks.notices.drills_page import DrillBook, DrillLine, drills_html, outcome_of
from tasks.notices.wording import duration_text, when_text
from tasks.platform.files import kept_in_state, private_folder, write_atomic
from tasks.policy.drill_turns import NEVER, Place, proved
from tasks.policy.due_rules import day_text
from tasks.records import Certificate


def drillbook(context: PlanContext, places: Sequence[Place] = (), now: datetime | None = None) -> DrillBook:
    """The history as kept on this machine; ``places`` say which targets are cold."""
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    certificates = kept(context)
    drill = context.plan.drill
    cold = {place.target for place in places if place.cold}
    days = {e.name: drill.cold_days if e.name in cold else drill.within_days for e in context.plan.targets}
    holders = {holder.name: drill.within_days for holder in context.plan.holders}

    def line(target: str, holder: str, limit: int = 0) -> DrillLine:
        mine = [c for c in certificates if target in ("", c.target) and holder in ("", c.holder)]
        return _line(context, (target, holder), mine, at, limit)

    hours = drill.objective_hours
    return DrillBook(
        office=context.plan.name,
        at=when_text(at, context.timezone),
        objective=duration_text(hours * 3600) if hours else "",
        pairs=tuple(line(target, holder) for target in days for holder in holders),
        covered=(
            *(line(name, "", limit) for name, limit in days.items()),
            *(line("", name, limit) for name, limit in holders.items()),
        ),
        certificates=certificates,
    )


def write_drills(context: PlanContext, places: Sequence[Place] = ()) -> Path:
    """Write the page into the reports folder. Raises StateError."""
    path = private_folder(context.reports) / f"{context.plan.name}-drills.html"
    with kept_in_state(f"write {path}"):
        write_atomic(path, drills_html(drillbook(context, places), context.timezone).encode("utf-8"))
    return path


def _line(
    context: PlanContext, what: tuple[str, str], mine: Sequence[Certificate], at: datetime, limit: int
) -> DrillLine:
    """One line; with a ``limit`` in days it is due by then, without one it is only told."""
    last = mine[-1] if mine else None
    word, tone = outcome_of(last) if last else ("Never", "quiet")
    due = "–"
    if limit:
        good = proved(proofs_of(mine))
        deadline = good + timedelta(days=limit) if good != NEVER else at
        late = deadline <= at
        due = "now" if late else day_text(deadline.astimezone(context.timezone).date())
        if late:
            word, tone = ("Overdue" if last and last.passed else word), "bad"
        elif last and last.passed:
            tone = "good"  # a slow drill is a proof; that it was slow stands in the pair's own line
    return DrillLine(
        target=what[0],
        holder=what[1],
        word=word,
        tone=tone,
        last=when_text(last.drilled, context.timezone) if last else "never",
        took=duration_text(last.seconds) if last else "",
        due=due,
    )
