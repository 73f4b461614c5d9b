"""Removable media that take turns, known by their labels and never by a path or a letter.

Which of the drives that are plugged in is the medium to use, or why none of them is: each way to be wrong has
words of its own, since it is the staff who must put it right. Another medium, the one of the day before still
there, a stranger's, two alike, none at all: all of them are TargetMissing, and nothing was written anywhere.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, BinaryIO, ClassVar, Literal

from pydantic import AfterValidator, Field

from tasks.calendars import Calendar
from tasks.errors import TargetMissing
from tasks.options import problem
from tasks.records import Progress, Properties, Stat, no_progress
from tasks.targets.base import Target, check_name
from tasks.targets.capabilities import MediumMarker, SupportsMedia, SupportsPrepare, Turn
from tasks.targets.shared.errors import translate
from tasks.targets.shared.marker import Medium
from tasks.targets.shared.media import (
    FOLDER,
    MARKER,
    Drive,
    init_medium,
    plugged_in,
    read_medium,
    usual_places,
)
from tasks.targets.shared.mounted import READERS, MountedFolder, MountedOptions

_WHICH = "`datasave media which` shows whose turn it is."
_LEAVE_IN = "Leave the medium in and mounted until the run has ended, then run it again."


def _absolute(value: str) -> str:
    if not (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        raise problem("must be a whole path, such as /media/* or E:\\")
    return value


class DriveOptions(MountedOptions):
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


class DriveTarget(Target, SupportsPrepare, SupportsMedia):
    """Objects lie in the folder ``datasave`` of the medium whose turn it is; each medium is a shelf of
    its own. Without a turn (listing, restoring, auditing) it is the one that is plugged in.

    Every call looks for the medium anew; a call in progress fails when the medium is changed.
    """

    kind: ClassVar[str] = "drive"

    def __init__(self, name: str, options: DriveOptions, turn: Turn | None = None) -> None:
        super().__init__(name)
        self.properties = Properties(removable=True, readers=READERS)
        self._options = options
        self._places = options.places
        self._turn = turn

    def use(self, turn: Turn | None) -> None:
        """Use the medium of that turn from now on; with None whichever is plugged in."""
        self._turn = turn

    def medium(self, operation: str) -> MediumMarker:
        """The marker of the medium that calls would use now. Raises TargetMissing."""
        return self._chosen(operation)[1]

    def at_hand(self) -> dict[Path, MediumMarker]:
        """The media that are plugged in, by where they are mounted, whosever they are."""
        return {drive.root: drive.marker for drive in plugged_in(self._places) if drive.marker}

    def init_medium(self, root: Path, label: str, plan: str, never: Iterable[Path] = ()) -> MediumMarker:
        """Make a drive a medium of this target, as media.init_medium does. Raises TargetError."""
        return init_medium(root, label, self.name, plan, never)

    def prepare(self) -> str:
        """Nothing: a drive is made a medium of this target one by one, by init_medium."""
        return f"{self.name} needs no preparation; `datasave media init` makes each medium ready"

    def put(self, name: str, reader: BinaryIO, size: int, progress: Progress = no_progress) -> Stat:
        """As a folder does. Raises TargetMissing for each way a medium can be the wrong one."""
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

    def _chosen(self, operation: str) -> tuple[Drive, MediumMarker]:
        return _choose(plugged_in(self._places), self.name, self._turn, operation)

    def _folder(self, operation: str) -> MountedFolder:
        drive, marker = self._chosen(operation)
        return _OnMedium(self.name, drive, marker, self._options)


class _OnMedium(MountedFolder):
    """The folder on a medium that was just found; its marker is the medium's own."""

    def __init__(self, name: str, drive: Drive, marker: MediumMarker, options: DriveOptions) -> None:
        label = f"{name} ({marker.label})"
        super().__init__(label, drive.root / FOLDER, options.bandwidth, options.timeout)
        self._drive = drive
        self._mount = drive.root
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


def _choose(
    seen: Sequence[Drive], target: str, turn: Turn | None, operation: str
) -> tuple[Drive, MediumMarker]:
    """The drive to use and its marker. Without a turn: the one medium of the target that is plugged in.

    Raises TargetMissing, begun with ``operation``.
    """
    marked = [(drive, drive.marker) for drive in seen if drive.marker]
    own = [(drive, marker) for drive, marker in marked if _is_own(marker, target, turn)]
    _refuse_clones(own, operation)
    if turn is None:
        if len(own) == 1:
            return own[0]
        if own:
            labels = " and ".join(sorted(marker.label for _, marker in own))
            raise TargetMissing(
                f"{operation}: several of its media are plugged in, {labels}",
                hint="Leave only the one in that is meant.",
            )
        raise _absent(seen, f"{operation}: none of its media is plugged in", "Plug one of them in.")
    for drive, marker in own:
        if marker.label == turn.label:
            _refuse_impostor(drive, marker, turn, operation)
            return drive, marker
    raise (
        _wrong([marker for _, marker in own], turn, operation)
        if own
        else _absent(
            seen,
            f"{operation}: the medium {turn.label} is not plugged in",
            f"Plug {turn.label} in and run it again.",
        )
    )


def _is_own(marker: MediumMarker, target: str, turn: Turn | None) -> bool:
    plan = turn.plan if turn else ""
    return marker.target == target and plan in ("", marker.plan)


def _refuse_clones(own: Sequence[tuple[Drive, MediumMarker]], operation: str) -> None:
    """Of a medium and its copy nobody can say which one was meant, or which one was taken home."""
    for number, (drive, marker) in enumerate(own):
        for other, twin in own[:number]:
            if marker.id == twin.id or marker.label == twin.label:
                what = "the same id" if marker.id == twin.id else "the same label"
                raise TargetMissing(
                    f"{operation}: two media have {what}, {twin.label} at {other.root} and "
                    f"{marker.label} at {drive.root}",
                    hint="Unplug the one that is a copy. To use it as a medium of its own, empty it and run "
                    "`datasave media init` for it with a label of its own.",
                )


def _refuse_impostor(drive: Drive, marker: MediumMarker, turn: Turn, operation: str) -> None:
    if turn.known.get(turn.label, marker.id) != marker.id:
        raise TargetMissing(
            f"{operation}: the medium at {drive.root} says it is {turn.label}, but is not the one known here",
            hint="Plug the right one in. If that is lost or broken, run `datasave media init` for another.",
        )
    if turn.last == turn.label:
        raise TargetMissing(
            f"{operation}: {turn.label} has the backup of the run day before, "
            "and none is used two days running",
            hint=f"Plug another one in: {_WHICH}",
        )


def _wrong(own: Sequence[MediumMarker], turn: Turn, operation: str) -> TargetMissing:
    labels = " and ".join(sorted(marker.label for marker in own))
    if turn.last and labels == turn.last:
        labels += ", with the newest backup on it, is still plugged in"
    else:
        labels += " are plugged in" if len(own) > 1 else " is plugged in"
    return TargetMissing(
        f"{operation}: {labels}, but it is the turn of {turn.label}",
        hint=f"Plug {turn.label} in instead and run it again. {_WHICH}",
    )


def _absent(seen: Sequence[Drive], message: str, hint: str) -> TargetMissing:
    """What is there instead: it explains most often why the medium is not."""
    for drive in seen:
        if drive.marker:
            theirs = drive.marker
            message += (
                f"; at {drive.root} is the medium {theirs.label} of {theirs.plan}, target {theirs.target}"
            )
            hint = f"That one belongs elsewhere and was not touched. {hint}"
            break
        if drive.defect:
            message += f"; {drive.defect}"
            break
    else:
        if seen:
            message += f"; at {seen[0].root} is a drive without a marker"
            hint += " A new medium is made ready by `datasave media init`."
    return TargetMissing(message, hint=hint)
