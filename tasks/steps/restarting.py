"""The engine's daily restart: never beside a backup, and not over before the engine answers again."""

from __future__ import annotations

from tasks.steps.office import Office
from tasks.steps.workspace import exclusively


def restart(office: Office, part: str = "") -> None:
    """Restart a source's engine, and see that it answers.

    Raises BusyError where a backup of the plan is under way, SourceError where the plan does not say how
    to restart, or the engine did not stop or did not come up again.
    """
    with exclusively(office.staging):
        office.source(part).restart()
