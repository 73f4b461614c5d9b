"""Removable media: making them ready, whose turn it is, and what this machine remembers of them.

What the journal remembers (which media there are, when each was used, what it held then) is a help
for the staff and a guard against strangers, never a source of truth: every medium says itself which one it
is, and a machine that lost its journal learns its media anew as they come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from tasks.calendars import Calendar, date_text
from tasks.context import PlanContext
from tasks.errors import PlanError, TargetError, TargetMissing
from tasks.journal.kinds import Kind
from tasks.plan.model import TargetEntry
from tasks.policy.rotation import Advice, medium_for, next_run_day, previous_run_day, repeated, tonight, where
from tasks.records import Record
from tasks.targets.base import Target
from tasks.targets.capabilities import MediaOptions, MediumMarker, SupportsMedia, Turn

# A calendar has at most some dozens of media: within this many run days each has its turn.
_LOOK_AHEAD = 400
# Two years of nights: enough for the turn of any number of Fridays.
USES_KEPT = 800


class KnownMedium(Record):
    """A medium by its marker's id. ``held`` counts the verified backups that it held when last used."""

    target: str
    label: str
    id: str
    made: datetime
    held: int = 0


class Use(Record):
    """A medium that a proven backup went to. ``day`` is the run's date in the plan's zone."""

    target: str
    day: date
    label: str


class Media(Record):
    """All that is remembered, of all drive targets of a plan. ``uses`` is in the order of the runs."""

    media: tuple[KnownMedium, ...] = ()
    uses: tuple[Use, ...] = ()

    def of(self, target: str) -> dict[str, KnownMedium]:
        """The media of a target by label."""
        return {medium.label: medium for medium in self.media if medium.target == target}

    def log(self, target: str) -> list[tuple[date, str]]:
        """The uses of a target's media, as tasks/policy/rotation.py takes them."""
        return [(use.day, use.label) for use in self.uses if use.target == target]


def remembered(context: PlanContext) -> Media:
    """What the journal tells of the media."""
    known: dict[tuple[str, str], KnownMedium] = {}
    uses: dict[tuple[str, str, str], Use] = {}
    for entry in context.journal.entries(Kind.MEDIUM):
        facts = dict(entry.facts)
        day = facts.pop("day")
        known[facts["target"], facts["label"]] = KnownMedium.model_validate(facts)
        if day:
            key = facts["target"], day, facts["label"]
            uses.pop(key, None)
            uses[key] = Use(target=facts["target"], day=date.fromisoformat(day), label=facts["label"])
    media = sorted(known.values(), key=lambda one: (one.target, one.label))
    return Media(media=tuple(media), uses=tuple(uses.values())[-USES_KEPT:])


class MediumLine(Record):
    """One medium of the calendar, for a list.

    ``known`` tells whether it was made ready or used here, ``at`` where it is plugged in ("": it isn't),
    ``used`` when a backup last went to it, ``held`` how many good ones it had then, ``away`` whether it
    should be out of the house this evening, ``due`` when it has its next turn.
    """

    target: str
    label: str
    known: bool
    at: str
    used: date | None
    held: int
    away: bool
    due: date | None


def init(context: PlanContext, target: str, path: Path, label: str, *, replace: bool = False) -> str:
    """Make the drive mounted at ``path`` the medium ``label`` of a drive target; says what was done.

    With ``replace`` the user states that the old medium of that label is lost or broken. Raises PlanError
    for a target that is no drive or a label that is not in its calendar, TargetError where that drive
    must not become a medium, or one of that label is known already.
    """
    labels = _media_options(context, target).calendar.labels
    if label not in labels:
        raise PlanError(
            f"{label!r} is not in the calendar of the target {target}",
            hint=f"Its media are: {', '.join(labels)}.",
        )

    with context.journal.locked():
        if label in remembered(context).of(target) and not replace:
            raise TargetError(
                f"cannot make {path} the medium {label} of {target}: there is one of that label already",
                hint="Say that it is to be replaced if it is lost or broken; it will not be used any more.",
                permanent=True,
            )
        never = (context.state, context.path)
        with _rotating(context, target) as rotating:
            _note(context, rotating.init_medium(path, label, context.plan.name, never))
    return f"{path} is now the medium {label} of {target}: write {label} on it"


def listing(context: PlanContext, day: date | None = None) -> tuple[MediumLine, ...]:
    """Every medium of every drive target, in the order of the calendar. ``day`` is today if not given."""
    today = day or _today(context)
    media = remembered(context)
    return tuple(
        line for name, drive in drives_of(context) for line in _lines(context, name, drive, media, today)
    )


def which(context: PlanContext, day: date | None = None) -> tuple[tuple[str, Advice], ...]:
    """For each drive target: what to plug in on ``day`` (today), what to take home, what to bring back."""
    today = day or _today(context)
    media = remembered(context)
    return tuple(
        (name, tonight(drive.calendar, today, media.log(name))) for name, drive in drives_of(context)
    )


def label_due(entry: TargetEntry, day: date) -> str | None:
    """The medium that a run of ``day`` needs at a drive target: None on days without one.

    "" for targets of other kinds, which need none. The day alone decides, so that a run that is
    repeated later still asks for the medium it was meant for.
    """
    return medium_for(entry.calendar, day) if isinstance(entry, MediaOptions) else ""


def is_removable(entry: TargetEntry) -> bool:
    """Whether a target's media are away most of the time, as they should be."""
    return isinstance(entry, MediaOptions)


def take_turn(context: PlanContext, target: Target, day: date) -> None:
    """Make a drive target use the medium whose turn it is on ``day``; other targets are left as they are.

    Raises TargetMissing on a day without a medium.
    """
    if not isinstance(target, SupportsMedia):
        return
    calendar = _media_options(context, target.name).calendar
    label = medium_for(calendar, day)
    if label is None:
        coming = date_text(next_run_day(calendar, day))
        raise TargetMissing(
            f"{target.name} has no medium for {date_text(day)}",
            hint=f"By its calendar the next one is due on {coming}.",
        )
    media = remembered(context)
    known = {name: medium.id for name, medium in media.of(target.name).items()}
    last = repeated(calendar, day, media.log(target.name)) or ""
    target.use(Turn(label=label, plan=context.plan.name, known=known, last=last))


def note_use(context: PlanContext, target: Target, day: date, held: int) -> None:
    """Remember that the run of ``day`` put a proven backup on the medium that ``target`` uses now.

    ``held`` is how many good backups of the main source are on it. A medium not seen before, after the
    loss of the state folder, becomes known here. Does nothing for targets of other kinds.
    """
    if isinstance(target, SupportsMedia):
        marker = target.medium(f"cannot note the use of {target.name}")
        _note(context, marker, held, day)


def note_held(context: PlanContext, target: Target, change: int) -> None:
    """Remember that the medium in use holds so many good backups more (or less) than was known."""
    if isinstance(target, SupportsMedia):
        marker = target.medium(f"cannot note what {target.name} holds")
        known = remembered(context).of(marker.target).get(marker.label)
        if known:
            _note(context, marker, max(0, known.held + change))


class HeldElsewhere(NamedTuple):
    """How many good backups lie on the media that are not in use, and how that is known, in words."""

    total: int
    words: str


def held_elsewhere(
    context: PlanContext,
    target: Target,
    day: date,
    count: Callable[[Target], int],
    sound: Callable[[str, int], int],
) -> HeldElsewhere:
    """What the other media of a target hold on ``day``, whose medium is in use.

    Those that are plugged in are looked at with ``count``. Of one that is away it is known what it held when
    it was last used; that is believed only if it was used on its last turn: one that was not there when it
    was wanted may be lost. ``sound`` says, by its label and that number, how many of these are to be counted.
    """
    options = _media_options(context, target.name)
    label = medium_for(options.calendar, day)
    media = remembered(context)
    log, known = media.log(target.name), media.of(target.name)
    here = _count_at_hand(context, target.name, known, label, count)
    found: dict[str, str] = {}
    total = 0
    for other in options.calendar.labels:
        if other == label:
            continue
        if other in here:
            total += here[other]
            found[other] = f"{other}: {here[other]}"
        elif other not in known:
            found[other] = f"{other}: never used"
        elif (turn := _last_turn(options.calendar, other, day)) and (turn, other) not in log:
            found[other] = f"{other}: not there on its last turn, {date_text(turn)}"
        else:
            held = sound(other, known[other].held)
            total += held
            found[other] = f"{other}: {held} when last used"
    return HeldElsewhere(total, ", ".join(found.values()))


def _count_at_hand(
    context: PlanContext,
    name: str,
    known: Mapping[str, KnownMedium],
    label: str | None,
    count: Callable[[Target], int],
) -> dict[str, int]:
    ids = {own: medium.id for own, medium in known.items()}
    found: dict[str, int] = {}
    with context.target(name) as other:
        assert isinstance(other, SupportsMedia)  # noqa: S101 - its options have a calendar
        for marker in other.at_hand().values():
            if (marker.target, marker.plan) == (name, context.plan.name) and marker.label != label:
                other.use(Turn(label=marker.label, plan=context.plan.name, known=ids))
                with suppress(TargetError):  # one of two alike, or one that fails: it counts for nothing
                    found[marker.label] = count(other)
    return found


def _last_turn(calendar: Calendar, label: str, day: date) -> date | None:
    """The newest day before ``day`` on which a medium had its turn, None where that was never."""
    for _ in range(_LOOK_AHEAD):
        day = previous_run_day(calendar, day)
        if medium_for(calendar, day) == label:
            return day
    return None


def _note(context: PlanContext, marker: MediumMarker, held: int = 0, day: date | None = None) -> None:
    """Enter a medium, and its use where there is a ``day``, unless just that is known already."""
    known = KnownMedium(target=marker.target, label=marker.label, id=marker.id, made=marker.made, held=held)
    before = remembered(context)
    used = day is None or (day, marker.label) in before.log(marker.target)
    if not used or before.of(marker.target).get(marker.label) != known:
        facts = known.model_dump(mode="json")
        context.journal.append(Kind.MEDIUM, **facts, day=day.isoformat() if day else None)


def drives_of(context: PlanContext) -> Iterator[tuple[str, MediaOptions]]:
    """The plan's targets whose media take turns, by name."""
    for entry in context.plan.targets:
        if isinstance(entry, MediaOptions):
            yield entry.name, entry


@contextmanager
def _rotating(context: PlanContext, name: str) -> Iterator[SupportsMedia]:
    """A target whose media take turns, by its entry."""
    with context.target(name) as target:
        assert isinstance(target, SupportsMedia)  # noqa: S101 - its options have a calendar
        yield target


def _media_options(context: PlanContext, name: str) -> MediaOptions:
    entry = context.entry(name)
    if isinstance(entry, MediaOptions):
        return entry
    drives = ", ".join(name for name, _ in drives_of(context)) or "none"
    raise PlanError(f"the target {name} has no media", hint=f"Targets of kind `drive` in the plan: {drives}.")


def _lines(
    context: PlanContext, target: str, options: MediaOptions, media: Media, day: date
) -> Iterator[MediumLine]:
    known, log = media.of(target), media.log(target)
    away = where(log, options.calendar, day)
    turns = _next_turns(options.calendar, day)
    with _rotating(context, target) as rotating:
        seen = {
            marker.label: str(root)
            for root, marker in rotating.at_hand().items()
            if (marker.target, marker.plan) == (target, context.plan.name)
        }
    for label in options.calendar.labels:
        yield MediumLine(
            target=target,
            label=label,
            known=label in known,
            at=seen.get(label, ""),
            used=max((used for used, name in log if name == label), default=None),
            held=known[label].held if label in known else 0,
            away=label in away,
            due=turns.get(label),
        )


def _next_turns(calendar: Calendar, day: date) -> dict[str, date]:
    """The first day from ``day`` on which each medium has its turn."""
    found: dict[str, date] = {}
    for _ in range(_LOOK_AHEAD):
        label = medium_for(calendar, day)
        if label is not None:
            found.setdefault(label, day)
        if len(found) == len(calendar.labels):
            break
        day = next_run_day(calendar, day)
    return found


def _today(context: PlanContext) -> date:
    return datetime.now(context.timezone).date()
