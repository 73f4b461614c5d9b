"""Which of the drives that are plugged in is the medium to use, or why none of them is.

Each way to be wrong has words of its own, since it is the staff who must put it right: another medium,
the one of the day before still there, a stranger's, two alike, none at all. All of them are
TargetMissing, and nothing was written anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.errors import TargetMissing
from tasks.targets.drive.marker import MediumMarker
from tasks.targets.drive.places import Seen

WHICH = "`datasave media which` shows whose turn it is."


@dataclass(frozen=True)
class Turn:
    """What one run asks of a drive target.

    ``label`` is the medium whose turn it is. ``plan`` is the plan's name, "" where that is not known;
    ``known`` the id of each medium, by label, that this machine has seen before: one it has not seen is
    taken at its word. ``last`` is the label that the run day before used, "" if none.
    """

    label: str
    plan: str = ""
    known: Mapping[str, str] = field(default_factory=dict)
    last: str = ""


def choose(seen: Sequence[Seen], target: str, turn: Turn | None, operation: str) -> tuple[Seen, MediumMarker]:
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


def _refuse_clones(own: Sequence[tuple[Seen, MediumMarker]], operation: str) -> None:
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


def _refuse_impostor(drive: Seen, marker: MediumMarker, turn: Turn, operation: str) -> None:
    if turn.known.get(turn.label, marker.id) != marker.id:
        raise TargetMissing(
            f"{operation}: the medium at {drive.root} says it is {turn.label}, but is not the one known here",
            hint="Plug the right one in. If that is lost or broken, run `datasave media init` for another.",
        )
    if turn.last == turn.label:
        raise TargetMissing(
            f"{operation}: {turn.label} has the backup of the run day before, "
            "and none is used two days running",
            hint=f"Plug another one in: {WHICH}",
        )


def _wrong(own: Sequence[MediumMarker], turn: Turn, operation: str) -> TargetMissing:
    labels = " and ".join(sorted(marker.label for marker in own))
    if turn.last and labels == turn.last:
        labels += ", with the newest backup on it, is still plugged in"
    else:
        labels += " are plugged in" if len(own) > 1 else " is plugged in"
    return TargetMissing(
        f"{operation}: {labels}, but it is the turn of {turn.label}",
        hint=f"Plug {turn.label} in instead and run it again. {WHICH}",
    )


def _absent(seen: Sequence[Seen], message: str, hint: str) -> TargetMissing:
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
