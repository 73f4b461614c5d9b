"""What is done after a run that was ended from outside: nothing readable stays in staging."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from tasks.backup.workspace import sweep
from tasks.context import PlanContext
from tasks.errors import DatasaveError


def clear_staging(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """Remove the plaintext of a cancelled or crashed run; its process may have been killed in the middle.

    A run whose process still lives holds its lock and clears up by itself. The names of the parameters are
    those by which Prefect calls a hook.
    """
    with suppress(DatasaveError):  # the run's own outcome is what must be told; the next run sweeps again
        context = PlanContext(Path(flow_run.parameters["plan"]))
        sweep(context.staging, context.plan.spool)
