"""What goes wrong between the nights, and how a night's outcome is held to the model.

Everything is drawn from one seed. A failure says the seed and the whole story.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from tests.retention.model import LONG_PAUSE, Copy, Place, Rules
from tests.retention.office import (
    NAME,
    OWNER,
    Office,
    Outcome,
    emptied,
    files_below,
    opened,
    sealed_bytes,
)

ZONE = ZoneInfo("America/New_York")
FIRST = datetime(2026, 3, 2, 7, tzinfo=UTC)
DAY = timedelta(days=1)
ARCHIVE, MANIFEST = ".tar.zst.age", ".manifest.json"
LABELS = ("A", "B", "C")
MEDIUM = "96k"
ODD_FOLDERS = ("old", "@eaDir", "#recycle", "MON copy")


def rules_of(entry: dict[str, Any]) -> Rules:
    """What an entry of the plan promises; the defaults are those of the README's plan."""
    keep = entry.get("keep", {"last": 1} if entry.get("slots") else {"last": 7, "weekly": 4, "monthly": 12})
    counts = {"forever": True} if keep == "forever" else dict(keep)
    return Rules(**counts, floor=entry.get("floor", 3), first=entry.get("replace") == "first")


class World:
    """One office's nights by one seed."""

    def __init__(self, seed: int, root: Path, stack: ExitStack) -> None:
        emptied(root)
        self.random = Random(seed)
        self.root, self.stack = root, stack
        self.story: list[str] = [f"seed {seed}"]
        self.plan = self._drawn_plan()
        self.office = Office(root, self.plan)
        self.office.prepare()
        self.moment = FIRST
        self.size = 600
        self.places: dict[str, Place] = {}
        self.held: set[int] = set()
        self.expected: list[tuple[str, ...]] = []
        self.hidden: set[str] = set()
        self.calm = True
        self.shift = timedelta(0)
        self.last_run = FIRST
        for entry in self.plan["targets"]:
            if entry["kind"] == "folder":
                self.places[entry["name"]] = Place(entry["name"])

    # The plan

    def _drawn_plan(self) -> dict[str, Any]:
        targets = [self._drawn_folder(name) for name in ("nas", "far")[: self.random.choice((1, 1, 2))]]
        return {
            "name": NAME,
            "source": {"kind": "sqlite", "path": "clinic.db"},
            "holders": [{"name": "Owner", "recipient": str(OWNER.recipient())}],
            "targets": targets,
            "schedule": {"timezone": str(ZONE)},
        }

    def _drawn_folder(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": name, "kind": "folder", "path": name}
        if self.random.random() < 0.3:
            entry["slots"] = "weekday"
        return entry | self._drawn_rules()

    def _drawn_rules(self) -> dict[str, Any]:
        pick = self.random
        keep: Any = pick.choice(
            [
                {"last": pick.randint(1, 3)},
                {"last": pick.randint(1, 3)},
                {"daily": pick.randint(1, 4)},
                {"last": 1, "weekly": pick.randint(1, 2)},
                {"monthly": 1},
                "forever",
                None,
            ]
        )
        rules = {} if keep is None else {"keep": keep}
        return rules | {"floor": pick.randint(1, 3)}

    # One night

    def live(self, nights: int) -> None:
        """All nights of the story."""
        for number in range(nights):
            if number:
                self.moment += self.random.choice((1, 1, 1, 1, 2, 3, 9)) * DAY
            if number > 1:
                for event, chance in EVENTS.items():
                    if self.random.random() < chance:
                        event(self)
            self.night()

    def night(self) -> None:
        """A run and its audit, held to the model."""
        moment = self.moment + self.shift
        before = {name: files_below(self.root / name) for name in self.places}
        self.long_pause = moment - self.last_run > LONG_PAUSE
        self.last_run = moment
        outcome = self.office.night(moment, self.size)
        self.story.append(
            f"night of {moment:%Y-%m-%d}: #{outcome.number}, {'; '.join(filter(None, outcome.told))}"
        )
        self._check_number(outcome, before)
        for name, place in self.places.items():
            self._check_place(place, before[name], outcome, moment)
        for words in self.expected:
            self.demand(outcome.says(*words), f"the night says nothing of {words}")
        self.expected = []
        self.shift = timedelta(0)
        for name in self.hidden:
            (self.root / f"{name}.away").rename(self.root / name)
        self.hidden = set()

    def demand(self, holds: bool, what: str) -> None:
        """Fail with the whole story unless it holds."""
        assert holds, "\n".join([what, *self.story])

    def _check_number(self, outcome: Outcome, before: dict[str, dict[str, bytes]]) -> None:
        shown = [int(name.split("Z-")[1][:6]) for files in before.values() for name in files if "Z-" in name]
        self.demand(outcome.number > max(shown, default=0), "a number was given twice")

    def _check_place(
        self, place: Place, before: dict[str, bytes], outcome: Outcome, moment: datetime
    ) -> None:
        after = files_below(self.root / place.name)
        if place.name in self.hidden:
            self.demand(place.name in outcome.failed, "a target that was away was not told")
            return
        if place.name not in outcome.pruned:
            self.demand(place.name in outcome.failed, "neither delivered nor told")
            self.demand(before.items() <= after.items(), "a failed delivery removed something")
            return
        entry = next(entry for entry in self.plan["targets"] if entry["name"] == place.name)
        slot = f"{moment.astimezone(ZONE):%a}".upper() if entry.get("slots") else ""
        new = Copy(outcome.stem, slot, outcome.number, moment, f"state {outcome.number} {moment:%Y-%m-%d}")
        place.copies.append(new)
        if rules_of(entry) not in place.promised[-1:]:
            place.promised.append(rules_of(entry))
        self._check_kept(place, {**before, **self._files_of(new)}, after, outcome, moment)
        self._learn(place, after, outcome)

    def _files_of(self, copy: Copy) -> dict[str, bytes]:
        return {copy.key + ARCHIVE: sealed_bytes(copy.content, self.size), copy.key + MANIFEST: b""}

    def _check_kept(
        self,
        place: Place,
        before: dict[str, bytes],
        after: dict[str, bytes],
        outcome: Outcome,
        moment: datetime,
    ) -> None:
        suspended = place.contradiction(moment) or self.long_pause
        note = outcome.pruned[place.name].note
        needed = place.copies if suspended else place.needed(ZONE, self.held)
        may_go = {c.key + end for c in place.copies if c not in needed for end in (ARCHIVE, MANIFEST)}
        gone = {name for name in before if name not in after}
        self.demand(gone <= may_go, f"{place.name}: removed {sorted(gone - may_go)} though it was needed")
        for name in before.keys() & after.keys():
            self.demand(not before[name] or before[name] == after[name], f"{place.name}: {name} was changed")
        for copy in place.counted():
            if copy in needed and copy.key + ARCHIVE in before and copy.bytes == 0:
                found = opened(after[copy.key + ARCHIVE])
                self.demand(found == copy.content, f"{place.name}: {copy.key} does not open: {found!r}")
        told = {removed.name for removed in outcome.pruned[place.name].removed}
        self.demand(told == {name for name in gone if name.endswith(ARCHIVE)}, f"removed {gone}, told {told}")
        told_so = bool(note) or outcome.says(place.name, "dated in the future")
        nothing_goes = place.promised[-1].forever and not self.long_pause and not place.ahead(moment)
        self.demand(
            not suspended or told_so or nothing_goes, f"{place.name}: dates contradict numbers, not told"
        )
        if self.calm:
            self.demand(gone == may_go, f"{place.name}: {sorted(may_go - gone)} was not needed and stayed")
            self.demand(not note, f"{place.name}: told without cause: {note}")
        place.copies = [c for c in place.copies if c.key + ARCHIVE not in gone]

    def _learn(self, place: Place, after: dict[str, bytes], outcome: Outcome) -> None:
        """What the audit of the night must have found, and what counts no longer from then on."""
        for copy in place.copies:
            if copy.mine and not copy.bad and copy.bytes and copy.key + ARCHIVE in after:
                self.demand(outcome.says(copy.stem), f"{place.name}: the audit says nothing of {copy.key}")
                copy.bad = True

    # What events choose from

    def some_copy(self, *, whole: bool = True) -> tuple[Place, Copy] | None:
        """A backup that counts, as it was put there, somewhere."""
        found = [(p, c) for p in self.places.values() for c in p.counted() if not c.bytes]
        found = [(p, c) for p, c in found if p.name not in self.hidden]
        return self.random.choice(found) if found else None

    def path(self, place: Place, copy: Copy, end: str) -> Path:
        """A file of a backup."""
        return self.root / place.name / f"{copy.key}{end}"


def damage(world: World) -> None:
    """A few bytes of an archive change where it lies; its size stays."""
    if chosen := world.some_copy():
        place, copy = chosen
        path = world.path(place, copy, ARCHIVE)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
        copy.bytes = len(data)
        world.calm = False
        world.story.append(f"{place.name}: damage in #{copy.number}")


def cut(world: World) -> None:
    """An archive loses its end: the listing alone shows it."""
    if chosen := world.some_copy():
        place, copy = chosen
        path = world.path(place, copy, ARCHIVE)
        path.write_bytes(path.read_bytes()[:-9])
        copy.bytes, copy.bad = path.stat().st_size, True
        world.expected.append((copy.stem,))
        world.calm = False
        world.story.append(f"{place.name}: #{copy.number} cut short")


def lose(world: World) -> None:
    """Someone deletes a backup by hand."""
    if chosen := world.some_copy():
        place, copy = chosen
        for end in (MANIFEST, ARCHIVE):
            world.path(place, copy, end).unlink()
        place.copies.remove(copy)
        world.expected.append((copy.stem,))
        world.calm = False
        world.story.append(f"{place.name}: #{copy.number} deleted by hand")


def lose_half(world: World) -> None:
    """Someone deletes the manifest, or the archive."""
    if chosen := world.some_copy():
        place, copy = chosen
        end = world.random.choice((MANIFEST, ARCHIVE))
        world.path(place, copy, end).unlink()
        copy.mine = False
        world.expected.append((copy.stem,))
        world.calm = False
        world.story.append(f"{place.name}: {end} of #{copy.number} deleted by hand")


def rename(world: World) -> None:
    """A program that keeps folders in step gives a file another name."""
    if chosen := world.some_copy():
        place, copy = chosen
        old, new = world.random.choice(((MANIFEST, ".manifest (1).json"), (ARCHIVE, " (1).tar.zst.age")))
        world.path(place, copy, old).rename(world.path(place, copy, new))
        copy.mine = False
        world.expected.append((copy.stem,))
        world.calm = False
        world.story.append(f"{place.name}: {old} of #{copy.number} is now {new}")


def copy_aside(world: World) -> None:
    """Somebody, or the network storage, puts copies into a folder of its own."""
    if chosen := world.some_copy():
        place, copy = chosen
        folder = world.random.choice(ODD_FOLDERS)
        aside = world.root / place.name / folder
        aside.mkdir(exist_ok=True)
        for end in (ARCHIVE, MANIFEST):
            path = world.path(place, copy, end)
            shutil.copy(path, aside / path.name)
        world.expected.append((folder,))
        world.story.append(f"{place.name}: #{copy.number} copied to {folder}")


def move_aside(world: World) -> None:
    """The same, moved."""
    if chosen := world.some_copy():
        place, copy = chosen
        folder = world.random.choice(ODD_FOLDERS)
        aside = world.root / place.name / folder
        aside.mkdir(exist_ok=True)
        for end in (ARCHIVE, MANIFEST):
            path = world.path(place, copy, end)
            path.rename(aside / path.name)
        place.copies.remove(copy)
        world.expected += [(copy.stem,)]
        world.calm = False
        world.story.append(f"{place.name}: #{copy.number} moved to {folder}")


def clock(world: World) -> None:
    """The machine's clock is wrong tonight."""
    days = world.random.choice((-30, -9, -2, 2, 20, 90, 500))
    world.shift = days * DAY
    world.calm = False
    world.story.append(f"the clock is {days} days off")


def pause(world: World) -> None:
    """The office is closed for long."""
    world.moment += 90 * DAY
    world.calm = False
    world.story.append("closed for 90 days")


def away(world: World) -> None:
    """A target is not mounted tonight."""
    name = world.random.choice(list(world.places))
    if name not in world.hidden:
        (world.root / name).rename(world.root / f"{name}.away")
        world.hidden.add(name)
        world.story.append(f"{name} is away")


def change(world: World) -> None:
    """Somebody changes what the plan keeps."""
    entry = world.random.choice(world.plan["targets"])
    drawn = world._drawn_rules()
    for key in ("keep", "floor"):
        entry.pop(key, None)
    entry.update(drawn)
    if world.random.random() < 0.3:
        entry["slots"] = None if entry.get("slots") else "weekday"
        if entry["slots"] is None:
            del entry["slots"]
    world.calm = False
    world.story.append(f"{entry['name']}: the plan is now {entry}")


EVENTS: dict[Callable[[World], None], float] = {
    damage: 0.06,
    cut: 0.04,
    lose: 0.04,
    lose_half: 0.04,
    rename: 0.04,
    copy_aside: 0.04,
    move_aside: 0.03,
    clock: 0.05,
    pause: 0.02,
    away: 0.04,
    change: 0.06,
}
