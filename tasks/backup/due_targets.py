"""Which targets a run delivers to: those that are due by their rhythm, with the medium whose turn it is.

What each target got last is remembered in the state folder, so that nobody has to be reached for the answer.
If that memory is lost, a target is due once too often, never too seldom.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from tasks.backup.media import label_due
from tasks.context import PlanContext
from tasks.errors import StateError
from tasks.platform.files import private_folder, write_atomic
from tasks.policy.due_rules import day_text, due
from tasks.records import Run

Deliveries = dict[str, dict[str, date]]
"""Target → source → the day on which its newest backup there was taken."""

_DELIVERIES: TypeAdapter[Deliveries] = TypeAdapter(Deliveries)


def day_of(context: PlanContext, moment: datetime) -> date:
    """The day in the plan's zone that a run belongs to."""
    return moment.astimezone(context.timezone).date()


def not_due(context: PlanContext, source_name: str, day: date) -> dict[str, str]:
    """The targets that a run of ``day`` leaves out, each with the reason."""
    last = _read(_path(context))
    source = context.full_name(source_name)
    reasons: dict[str, str] = {}
    for entry in context.plan.targets:
        word = due(entry.when, day, last.get(entry.name, {}).get(source))
        if not word.due:
            reasons[entry.name] = word.reason.removeprefix("not due: ")
        elif label_due(entry, day) is None:
            reasons[entry.name] = f"its calendar has no medium for {day_text(day)}"
    return reasons


def note_delivery(context: PlanContext, run: Run, target: str) -> None:
    """Remember that a proven backup of this run lies on the target."""
    # The backup is there, and on a full disk it must not be called failed for want of this note.
    with suppress(OSError):
        path = _path(context)
        with FileLock(f"{path}.lock", mode=0o600):
            last = _read(path)
            last.setdefault(target, {})[run.source] = day_of(context, run.started)
            write_atomic(path, _DELIVERIES.dump_json(last))


def _path(context: PlanContext) -> Path:
    return private_folder(context.state) / "delivered.json"


def _read(path: Path) -> Deliveries:
    try:
        return _DELIVERIES.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise StateError(
            f"the record of deliveries {path} is damaged",
            hint="Delete it: each target is then due in the next run.",
        ) from error
