"""What a run needs of Prefect: its name, its log, secrets, how another run ended."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from typing import cast
from uuid import UUID

from httpx import HTTPError
from prefect import runtime
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client

from tasks.context import PlanContext
from tasks.errors import DatasaveError, SecretError


class _WithoutTraceback(logging.Filter):
    """Says a foreseeable failure in one line: a traceback tells a practice manager nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        raised = record.exc_info[1] if record.exc_info else None
        if isinstance(raised, DatasaveError):
            record.msg, record.args = f"Failed: {raised}", None
            record.exc_info = record.exc_text = None
        return True


# Every process that runs a flow imports this module (flows/__init__.py), after Prefect set its logging up.
for _name in ("prefect.task_runs", "prefect.flow_runs"):
    logging.getLogger(_name).addFilter(_WithoutTraceback())


# How the state of a run begins that the server itself gave up (deployments/serving/automations.py).
NO_SIGN = "No sign of life"


def prefect_secret(name: str) -> str:
    """The value of a Prefect secret block. Raises SecretError where there is none of that name."""
    try:
        block = cast("Secret[str]", Secret.load(name))
        return str(block.get())
    except ValueError as error:
        raise SecretError(
            f"the Prefect server has no secret block {name}",
            hint="Make it in the Prefect UI under Blocks (type Secret), or use env: or file: instead.",
        ) from error


def ended_by_itself(run_id: str) -> bool:
    """Whether the server knows how a run ended: the sign of it may have been lost in a restart.

    ``run_id`` may have a word before it: an automation renders an id alone as JSON, which fails.
    """
    if not run_id:
        return False
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(run_id.rsplit(maxsplit=1)[-1])).state
    silent = state is not None and state.is_crashed() and (state.message or "").startswith(NO_SIGN)
    return state is not None and state.is_final() and not silent


def name_run(flow: str, context: PlanContext, about: str = "") -> None:
    """Name the current flow run after what it does and when, in the office's time."""
    now = datetime.now(context.timezone)
    rename_run(f"{flow} {context.plan.name}{about} {now:%Y-%m-%d %H:%M}")


def rename_run(name: str) -> None:
    """Give the current flow run the name people will look for."""
    flow_run_id = runtime.flow_run.id
    if not flow_run_id:
        return
    # A name is for people to look at: a server that hiccups now must not cost the office its backup.
    with suppress(HTTPError), get_client(sync_client=True) as client:
        client.update_flow_run(flow_run_id, name=name)
