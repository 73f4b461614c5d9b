"""Removable media that take turns, known by their labels and never by a path or a letter."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, BinaryIO, ClassVar, Literal

from pydantic import AfterValidator, Field

from tasks.calendars import Calendar
from tasks.errors import TargetMissing
from tasks.options import problem
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target, check_name
from tasks.targets.drive.choice import Turn, choose
from tasks.targets.drive.marker import FOLDER, MARKER, MediumMarker, read_medium
from tasks.targets.drive.places import Seen, plugged_in, usual_places
from tasks.targets.folder.target import FolderOptions, FolderTarget
from tasks.targets.shared.errors import is_permanent, translate
from tasks.targets.shared.marker import Medium
from tasks.targets.shared.throttle import TargetOptions

_LEAVE_IN = "Leave the medium in and mounted until the run has ended, then run it again."


def _absolute(value: str) -> str:
    if not (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        raise problem("must be a whole path, such as /media/* or E:\\")
    return value


class DriveOptions(TargetOptions):
    """How a drive target stands in the plan."""

    kind: Literal["drive"] = Field("drive", description="removable media that take turns, a label each")
    calendar: Calendar = Field(
        description="Which medium is used on which day of the week; several on one day take turns. "
        "Or `sets`: at least three that simply follow one another.",
        examples=[{"mon": "MON", "tue": "TUE", "wed": "WED", "thu": "THU", "fri": ["F1", "F2"]}],
    )
    mounts: tuple[Annotated[str, AfterValidator(_absolute)], ...] = Field(
        (),
        description="Where drives turn up on this computer, * standing for any name. Left out: where this "
        "system puts them by itself (/media and /mnt, all drive letters, /Volumes).",
        examples=[["/media/*", "/run/media/*/*"]],
    )
    replace: Literal["keep", "first"] = Field(
        "keep",
        description="When a medium has no room for another backup: `keep` its old ones, and the run fails. "
        "Or `first` remove the oldest, before the new one is on it; only if the other media hold as many "
        "good backups as `floor` says.",
    )

    @property
    def places(self) -> tuple[str, ...]:
        """Where to look for media: the plan's patterns, or this system's own."""
        return self.mounts or usual_places()


class DriveTarget(Target):
    """Objects lie in the folder ``datasave`` of the medium whose turn it is; each medium is a shelf of
    its own. Without a turn (listing, restoring, auditing) it is the one that is plugged in.

    Every call looks for the medium anew, and a call under way does not survive its being changed.
    """

    kind: ClassVar[str] = "drive"

    def __init__(self, name: str, options: DriveOptions, turn: Turn | None = None) -> None:
        super().__init__(name)
        self.properties = Properties(removable=True)
        self._options = options
        self._places = options.places
        self._turn = turn

    def use(self, turn: Turn | None) -> None:
        """Use the medium of that turn from now on; with None whichever is plugged in."""
        self._turn = turn

    def medium(self, operation: str) -> MediumMarker:
        """The marker of the medium that calls would use now. Raises TargetMissing."""
        return self._choose(operation)[1]

    def prepare(self) -> str:
        """Nothing: a drive is made a medium of this target one by one, by init_medium."""
        return f"{self.name} needs no preparation; `datasave media init` makes each medium ready"

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """As the folder target does. Raises TargetMissing for each way a medium can be the wrong one."""
        return self._folder(f"cannot store {check_name(name)} on {self.name}").put(
            name, reader, size, progress
        )

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Read an object from the medium itself. Raises ObjectMissing."""
        with self._folder(f"cannot read {check_name(name)} on {self.name}").open(name) as stream:
            yield stream

    def stat(self, name: str) -> Stat:
        """Size of an object. Raises ObjectMissing."""
        return self._folder(f"cannot find {check_name(name)} on {self.name}").stat(name)

    def list(self, prefix: str = "") -> list[Stat]:
        """All objects on this one medium."""
        return self._folder(f"cannot list {self.name}").list(prefix)

    def delete(self, name: str) -> None:
        """Remove an object, durably. Raises ObjectMissing."""
        self._folder(f"cannot delete {check_name(name)} on {self.name}").delete(name)

    def free_space(self) -> int | None:
        """Bytes free on the medium."""
        return self._folder(f"cannot ask {self.name} for its free space").free_space()

    def close(self) -> None:
        """Nothing stays open between calls."""

    def is_permanent(self, error: BaseException) -> bool:
        """By the error's class, or by its errno (faults.py)."""
        return is_permanent(error)

    def _choose(self, operation: str) -> tuple[Seen, MediumMarker]:
        return choose(plugged_in(self._places), self.name, self._turn, operation)

    def _folder(self, operation: str) -> FolderTarget:
        drive, marker = self._choose(operation)
        return _OnMedium(self.name, drive, marker, self._options.bandwidth)


class _OnMedium(FolderTarget):
    """A folder target on a medium that was just found; its marker is the medium's own."""

    def __init__(self, name: str, drive: Seen, marker: MediumMarker, bandwidth: str | None) -> None:
        options = FolderOptions(path=drive.root / FOLDER, bandwidth=bandwidth)
        super().__init__(f"{name} ({marker.label})", options)
        self._drive = drive
        self._marker = marker

    def find(self, operation: str) -> Medium:
        """Raises TargetMissing unless the same medium is still mounted there, whole."""
        root, label = self._drive.root, self._marker.label
        marker = read_medium(root, operation)
        if marker is None:
            raise TargetMissing(
                f"{operation}: {label} is no longer at {root}, or lost its {MARKER}", hint=_LEAVE_IN
            )
        if marker != self._marker:
            raise TargetMissing(f"{operation}: another medium than {label} is now at {root}", hint=_LEAVE_IN)
        try:
            found = (root / FOLDER).lstat()
        except FileNotFoundError as error:
            raise TargetMissing(
                f"{operation}: {label} at {root} has no folder {FOLDER}",
                hint="Somebody removed it, and the backups with it. Make it again to go on using the medium.",
            ) from error
        except OSError as error:
            raise translate(error, operation, writing=True) from error
        # A link, or a folder that something is mounted on, would lead off the medium.
        if not stat.S_ISDIR(found.st_mode) or found.st_dev != self._drive.device:
            raise TargetMissing(f"{operation}: {root / FOLDER} is not a folder on {label}", hint=_LEAVE_IN)
        return Medium(id=marker.id, device=found.st_dev)
