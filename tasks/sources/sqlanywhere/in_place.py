"""A database restored to where the live one was: opened there privately, before its engine is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.errors import SourceError
from tasks.platform.files import private_folder, sync_tree
from tasks.sources.shared.live_data import InPlaceOptions
from tasks.sources.sqlanywhere.copy import Note
from tasks.sources.sqlanywhere.restart import RestartOptions
from tasks.sources.sqlanywhere.scratch import MESSAGES, Access, readable, scratch_engine


class SqlanywhereInPlaceOptions(InPlaceOptions):
    """How a backup is restored in place of the DATA folder."""

    data: Path | None = Field(
        None,
        description="the folder with the database, its dbspaces and its log. Left out: the running engine is "
        "asked; give it for the day when the engine doesn't run",
        examples=[r"C:\SOS\DATA"],
    )


def folder_of(file: str | None, log: str | None) -> Path:
    """The DATA folder, from what the engine tells.

    Raises SourceError where the log lies elsewhere: then one rename will not do.
    """
    if file is None:
        raise SourceError("the engine does not tell where its database lies", hint="Set `in_place.data`.")
    folder = Path(file).parent
    if log is not None and Path(log).parent != folder:
        raise SourceError(
            f"cannot restore in place of {folder}: the log lies elsewhere, {log}",
            hint="Restore with `datasave restore --to FOLDER`, and put database and log into place by hand.",
        )
    return folder


def commands(own: InPlaceOptions | None, restart: RestartOptions | None) -> InPlaceOptions:
    """How the engine is stopped and started: as for a restore in place, else as for its daily restart."""
    if own is not None and (own.stop or own.start or restart is None):
        return own
    if restart is None:
        return InPlaceOptions()
    return InPlaceOptions(stop=restart.stop, start=restart.start, seconds=restart.seconds)


@contextmanager
def opened(access: Access, note: Note, data: Path, scratch: Path) -> Iterator[Any]:
    """A connection to the live database under a private engine; durable when the block ends."""
    try:
        with ExitStack() as stack:
            log = private_folder(scratch) / "engine-output.txt"
            engine = scratch_engine(access.install, data, note.database, access.login, log)
            address = stack.enter_context(engine)
            yield readable(stack, access, address, f"the restored database in {data}")
    finally:
        (data / MESSAGES).unlink(missing_ok=True)
        sync_tree(data)
