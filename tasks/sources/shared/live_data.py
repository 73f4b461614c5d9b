"""Where a source's live data lies, so that a restored copy can take its place: the folder or the file itself.

Only a place that can be renamed as a whole will do: a mount point, a symbolic link, or a folder with another
file system inside cannot be put aside in one step, and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import Field

from tasks.errors import SourceError, SourceMissing
from tasks.options import Place
from tasks.platform.mounts import mount_at_or_below
from tasks.records import Record

TO_HINT = "Restore it to another folder with `datasave restore --to FOLDER`, and put it into place by hand."
_MOST = 3


class InPlaceOptions(Record):
    """What a restore in place does to the programs that use the data."""

    stop: tuple[str, ...] = Field(
        (),
        description="the command that stops the program or engine that uses the data and returns, as a list "
        "of its words",
        examples=[["systemctl", "stop", "office"]],
    )
    start: tuple[str, ...] = Field(
        (),
        description="the command that starts it again and returns, as a list of its words",
        examples=[["systemctl", "start", "office"]],
    )
    seconds: float = Field(
        120.0, gt=0, description="how long stopping, and then starting, may each take before it is a failure"
    )


class ServerInPlaceOptions(InPlaceOptions):
    """The same for a database server, whose data folder the plan must name."""

    data: Path = Field(
        description="the folder with the server's data, the one that is put aside as DATASAVE",
        examples=["/var/lib/mysql"],
    )
    owner: str | None = Field(
        None,
        description="the account that the data belongs to. Left out: the owner of what lies there now",
        examples=["mysql"],
    )


def place_of(path: Path | None) -> Place | None:
    """The folder or file of live data, as places are compared; None where nobody says where it lies."""
    return Place("", str(path)) if path else None


@dataclass(frozen=True)
class LiveData:
    """The live data: a folder, or a file with the files that belong to it (``beside``: they may be missing).

    ``deep``: everything in the folder belongs to the engine's account. ``owner`` names that account where
    the plan does. ``bytes`` is about its size, 0 where it is gone.
    """

    path: Path
    folder: bool = True
    beside: tuple[Path, ...] = ()
    deep: bool = False
    owner: str | None = None

    @property
    def there(self) -> list[Path]:
        """What of it exists, the file itself first."""
        return [path for path in (self.path, *self.beside) if os.path.lexists(path)]


def live_folder(path: Path, owner: str | None = None, *, deep: bool) -> LiveData:
    """A folder as a live place. Raises SourceMissing or SourceError where it cannot be renamed."""
    require_renamable(path)
    return LiveData(path, deep=deep, owner=owner)


def server_folder(options: ServerInPlaceOptions | None, links: Callable[[Path], Iterable[Path]]) -> LiveData:
    """The data folder of a database server; none of its ``links`` may be one, and lead out of the folder.

    Raises SourceMissing or SourceError where the plan does not name it, or it cannot be renamed whole.
    """
    if options is None:
        raise SourceError(
            "the plan does not say which folder holds the server's data",
            hint="Set `source.in_place: {data: …, stop: […], start: […]}` in the plan.",
        )
    data = options.data
    for link in links(data):
        if link.is_symlink():
            raise SourceError(
                f"cannot restore in place of {data}: {link.relative_to(data)} leads to {link.readlink()}",
                hint=TO_HINT,
            )
    return live_folder(data, options.owner, deep=True)


def require_renamable(path: Path) -> None:
    """Raise where ``path`` cannot be put aside by one rename; that it is gone is no hindrance."""
    operation = f"cannot restore in place of {path}"
    parent = path.parent
    if not parent.is_dir():
        raise SourceMissing(
            f"{operation}: the folder {parent} is not there",
            hint="Connect its disk, or make the folder, so that the data lies on the right disk.",
        )
    if path.is_symlink():
        raise SourceError(
            f"{operation}: it is a symbolic link to {path.resolve()}",
            hint=f"Name the real place in the plan. {TO_HINT}",
        )
    mounted = mount_at_or_below(path)
    if mounted or os.path.ismount(path):
        raise SourceError(
            f"{operation}: another file system is mounted at {mounted or path}",
            hint=f"A mount point cannot be renamed. {TO_HINT}",
        )
    if path.exists() and path.stat().st_dev != parent.stat().st_dev:
        raise SourceError(f"{operation}: it lies on another file system than {parent}", hint=TO_HINT)


def open_files(paths: Sequence[Path]) -> str:
    """Which programs hold files in ``paths`` open: their names, empty for none. Knows Linux only.

    Elsewhere an open file shows by its rename, which Windows refuses. Links are read, and no file is asked
    for, as psutil's open_files does: one on a network share that is gone would keep us waiting for ever.
    """
    wanted = tuple(os.path.realpath(path) for path in paths)
    holders = [pid for pid in psutil.pids() if pid != os.getpid() and _holds(pid, wanted)]
    more = f" and {len(holders) - _MOST} more" if len(holders) > _MOST else ""
    return ", ".join(f"{_name_of(pid)} (process {pid})" for pid in holders[:_MOST]) + more


def _holds(pid: int, wanted: Sequence[str]) -> bool:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # ended meanwhile, or another account's: then its data is not ours to replace either
    for descriptor in descriptors:
        with suppress(OSError):  # closed meanwhile
            target = os.readlink(descriptor)  # noqa: PTH115 - thousands of them, and "pipe:[1]" is no path
            if any(target == path or target.startswith(f"{path}{os.sep}") for path in wanted):
                return True
    return False


def _name_of(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "a program"
