"""The engine's daily restart, which SOS recommends: SQL Anywhere cleans up when a database is started."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pydantic import Field

from tasks.errors import DatasaveError, ProgramError, SourceError
from tasks.platform.processes import run
from tasks.records import Record
from tasks.sources.sqlanywhere.check import ask
from tasks.sources.sqlanywhere.connection import Client
from tasks.sources.sqlanywhere.errors import DONE, cause_of

DOWN = (
    "THE PRACTICE'S DATABASE IS DOWN: nobody can work until it runs. Start it by hand NOW, then find out why "
    "the start command failed."
)


NO_ANSWER = 6
"""The code of a communication that broke off."""


class RestartOptions(Record):
    """How the engine is stopped and started."""

    stop: tuple[str, ...] = Field(
        min_length=1,
        description="the command that stops the engine and returns, as a list of its words",
        examples=[["net", "stop", "SQLANYs_sosdata"]],
    )
    start: tuple[str, ...] = Field(
        min_length=1,
        description="the command that starts the engine and returns, as a list of its words",
        examples=[["net", "start", "SQLANYs_sosdata"]],
    )
    seconds: float = Field(
        120.0, gt=0, description="how long stopping, and then starting, may each take before it is a failure"
    )


def restart(client: Client, options: RestartOptions) -> None:
    """Stop the engine, start it, and see that the database answers and can be asked.

    Raises SourceError: where it doesn't stop it still runs; where it doesn't start the hint is an alarm.
    """
    outcome = _command(options.stop, options.seconds)
    # Any code but 0 counts as gone: to start an engine that runs does no harm, to leave it stopped does.
    if not _within(options.seconds, lambda: _asked(client.anonymous) != DONE):
        raise SourceError(
            f"cannot restart the engine ({client.address}): it still runs after the stop command ({outcome})",
            hint="The database was left running. Check `restart.stop` in the plan, and whether the account "
            "that runs Datasave may stop the engine.",
        )
    # A second attempt: files are often held for a moment after a stop.
    defect = _started(client, options) and _started(client, options)
    if defect:
        raise SourceError(
            f"the engine ({client.address}) was stopped and did not come up again: {defect}", hint=DOWN
        )


def _started(client: Client, options: RestartOptions) -> str:
    """Empty if the database is up and can be asked, else why not."""
    if _asked(client) == DONE:
        return ""  # the attempt before was slow, not in vain
    outcome = _command(options.start, options.seconds)
    if not _within(options.seconds, lambda: _asked(client) == DONE):
        last = cause_of("dbping", _asked(client))
        return f"start command: {outcome}; {last}"
    try:
        ask(client)
    except SourceError as error:
        return f"it answers, but {error.message}"
    return ""


def _asked(client: Client) -> int:
    """As ``Client.ping``; a dbping that hangs must not keep the engine from being started again."""
    try:
        return client.ping()
    except ProgramError:
        return NO_ANSWER


def _command(words: Sequence[str], seconds: float) -> str:
    """How a command of the plan ended. Whether the engine is up or gone is seen by asking it."""
    try:
        return f"{words[0]} ended with code {run(list(words), seconds=seconds, leave=True).code}"
    except DatasaveError as error:
        return error.message


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
