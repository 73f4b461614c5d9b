"""A data folder restored to where the server's own was: opened there privately, before the server starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import SourceError, SourceMissing
from tasks.platform.files import private_folder, sync_tree
from tasks.sources.mariadb.connection import Login, connected
from tasks.sources.mariadb.copies import served
from tasks.sources.mariadb.programs import Programs
from tasks.sources.mariadb.record import DATA, CopyRecord
from tasks.sources.shared.live_data import TO_HINT, LiveData, ServerInPlaceOptions, live_folder


def live_data(method: str, options: ServerInPlaceOptions | None) -> LiveData:
    """The server's data folder. Raises SourceError where it cannot be replaced in one step."""
    if method != "physical":
        raise SourceError(
            "a dump of one database cannot take the place of a server's files",
            hint="Restore it with `datasave restore --to FOLDER`, then load dump.sql into a server that has "
            "no database of that name; RECOVER.md has the commands.",
        )
    if options is None:
        raise SourceError(
            "the plan does not say which folder holds the server's data",
            hint="Set `source.in_place: {data: …, stop: […], start: […]}` in the plan.",
        )
    _refuse_spread(options.data)
    return live_folder(options.data, options.owner, deep=True)


def answers(login: Login) -> bool:
    """Whether a server is there; one that refuses the account is."""
    try:
        with connected(login, "ask the server"):
            return True
    except SourceMissing:
        return False
    except SourceError:
        return True


@contextmanager
def opened(programs: Programs, record: CopyRecord, data: Path, scratch: Path) -> Iterator[Any]:
    """A connection to the live data folder under a private server; durable when the block ends."""
    # The private server's data folder lies in scratch; here it is a way to the live one.
    link = private_folder(scratch) / DATA
    link.unlink(missing_ok=True)
    link.symlink_to(data, target_is_directory=True)
    try:
        with served(programs, record, scratch) as connection:
            yield connection
    finally:
        link.unlink(missing_ok=True)
        sync_tree(data)


def _refuse_spread(data: Path) -> None:
    links = [path for path in data.iterdir() if path.is_symlink()] if data.is_dir() else []
    if links:
        raise SourceError(
            f"cannot restore in place of {data}: {links[0].name} leads to {links[0].readlink()}", hint=TO_HINT
        )
