"""What goes wrong between the nights: by people, programs, drives, clocks, memory and other machines."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tasks.backup import holds, memory
from tasks.backup.promises import accept_plan
from tasks.errors import PlanError
from tests.retention.model import Copy, Place
from tests.retention.world import ARCHIVE, DAY, LABELS, MAIN, MANIFEST, OTHER, World, rules_of

ODD_FOLDERS = ("old", "@eaDir", "#recycle", "MON copy")


def damage(world: World) -> None:
    """A few bytes of an archive change where it lies; its size stays."""
    if chosen := world.some_copy():
        name, _, copy = chosen
        path = world.path(name, copy, ARCHIVE)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
        copy.rotten = True
        world.tell(f"{name}: damage in #{copy.number}")


def cut(world: World) -> None:
    """An archive loses its end: the listing alone shows it."""
    if chosen := world.some_copy():
        name, _, copy = chosen
        path = world.path(name, copy, ARCHIVE)
        path.write_bytes(path.read_bytes()[:-9])
        _spoiled(world, name, copy, f"#{copy.number} cut short")


def lose(world: World) -> None:
    """Someone deletes a backup by hand."""
    if chosen := world.some_copy():
        name, place, copy = chosen
        for end in (MANIFEST, ARCHIVE):
            world.path(name, copy, end).unlink()
        place.copies.remove(copy)
        if _known_by_main(place, copy):
            world.expected.append((name, f"#{copy.number}"))
        world.tell(f"{name}: #{copy.number} deleted by hand")


def _known_by_main(place: Place, copy: Copy) -> bool:
    """Whether the main machine knows that it must be there: it put it there, and began no removal of it."""
    return copy.machine == MAIN and not copy.forgotten and copy.key + ARCHIVE not in place.begun


def lose_half(world: World) -> None:
    """Someone deletes the manifest, or the archive."""
    if chosen := world.some_copy():
        name, _, copy = chosen
        end = world.random.choice((MANIFEST, ARCHIVE))
        world.path(name, copy, end).unlink()
        _spoiled(world, name, copy, f"{end} of #{copy.number} deleted by hand")


def rename(world: World) -> None:
    """A program that keeps folders in step gives a file another name."""
    if chosen := world.some_copy():
        name, _, copy = chosen
        old, new = world.random.choice(((MANIFEST, ".manifest (1).json"), (ARCHIVE, " (1).tar.zst.age")))
        world.path(name, copy, old).rename(world.path(name, copy, new))
        _spoiled(world, name, copy, f"{old} of #{copy.number} is now {new}")


def _spoiled(world: World, name: str, copy: Copy, story: str) -> None:
    copy.whole = False
    world.expected.append((name, copy.stem))
    world.tell(f"{name}: {story}")


def copy_aside(world: World) -> None:
    """Somebody, or the network storage, puts copies into a folder of its own."""
    if chosen := world.some_copy():
        name, _, copy = chosen
        folder = world.random.choice(ODD_FOLDERS)
        aside = world.folder(name) / folder
        aside.mkdir(exist_ok=True)
        for end in (ARCHIVE, MANIFEST):
            path = world.path(name, copy, end)
            shutil.copy(path, aside / path.name)
        world.expected.append((name, folder))
        world.story.append(f"{name}: #{copy.number} copied to {folder}")


def move_aside(world: World) -> None:
    """The same, moved."""
    if chosen := world.some_copy():
        name, place, copy = chosen
        aside = world.folder(name) / world.random.choice(ODD_FOLDERS)
        aside.mkdir(exist_ok=True)
        for end in (ARCHIVE, MANIFEST):
            path = world.path(name, copy, end)
            path.rename(aside / path.name)
        place.copies.remove(copy)
        world.expected.append((name, f"#{copy.number}" if _known_by_main(place, copy) else aside.name))
        world.tell(f"{name}: #{copy.number} moved to {aside.name}")


def clock(world: World) -> None:
    """The machine's clock is wrong tonight."""
    days = world.random.choice((-30, -9, -2, 2, 20, 90, 500))
    world.shift = days * DAY
    world.tell(f"the clock is {days} days off")


def pause(world: World) -> None:
    """The office is closed for long."""
    world.moment += 90 * DAY
    world.tell("closed for 90 days")


def away(world: World) -> None:
    """A target is not mounted tonight."""
    name = world.random.choice([name for name in world.places if name not in LABELS])
    if name not in world.hidden:
        (world.root / name).rename(world.root / f"{name}.away")
        world.hidden.add(name)
        world.story.append(f"{name} is away")


def change(world: World) -> None:
    """Somebody changes what the plan keeps."""
    entry = world.random.choice(world.plan["targets"])
    for key in ("keep", "floor"):
        entry.pop(key, None)
    entry.update(world.drawn_rules())
    slots = entry.pop("slots", None)
    if entry["kind"] == "folder" and (slots is None) is (world.random.random() < 0.3):
        entry["slots"] = "weekday"
    world.tell(f"{entry['name']}: the plan is now {entry}")


def accept(world: World) -> None:
    """A person says that the change was meant."""
    if accept_plan(world.office.context()):
        for place in world.places.values():
            place.promised[MAIN] = [rules_of(world.entry(place.target))]
        world.tell("the change of the plan is accepted")


def nest(world: World) -> None:
    """Somebody gives a target a place inside another's."""
    inner = {"name": "inner", "kind": "folder", "path": "nas/inner", "keep": "forever"}
    world.plan["targets"].append(inner)
    with pytest.raises(PlanError):
        world.office.context()
    world.plan["targets"].remove(inner)


def hold(world: World) -> None:
    """A person keeps a backup."""
    if chosen := world.some_copy():
        copy = chosen[2]
        holds.hold(world.office.context(), "", copy.number, "for the court", None)
        world.held.add(copy.number)
        world.tell(f"#{copy.number} is held")


def release(world: World) -> None:
    """And lets it go again."""
    if world.held:
        number = world.random.choice(sorted(world.held))
        holds.release(world.office.context(), "", number, world.moment.date())
        world.held.discard(number)
        world.tell(f"#{number} is released")


def grow(world: World) -> None:
    """The database is larger now, by a little or beyond what any medium holds."""
    world.size = int(world.size * world.random.choice((1.3, 1.7, 3)))
    world.story.append(f"the database has {world.size} bytes")
    if world.entry_of_drives:
        world.calm = False


def wrong_media(world: World) -> None:
    """No medium, another one, or several are plugged in tonight."""
    if world.entry_of_drives:
        world.labels = world.random.choice(((), ("A",), ("B",), ("C",), LABELS))
        world.tell(f"plugged in: {world.labels}")


def memory_back(world: World) -> None:
    """The machine's disk is put back to an earlier night."""
    if len(world.snapshots) > 1:
        snapshot = world.random.choice(world.snapshots[:-1])
        shutil.rmtree(world.office.state)
        shutil.copytree(snapshot["at"], world.office.state)
        world.held = set(snapshot["held"])
        world.expected = [one for one in world.expected if not one[1].startswith("#")]
        for name, place in world.places.items():
            place.promised[MAIN] = list(snapshot["promised"][name])
            for copy in place.copies:
                copy.forgotten |= (name, copy.key) not in snapshot["known"]
                if (name, copy.key) not in snapshot["seen"]:
                    copy.seen_by.discard(MAIN)
        world.forget(snapshot["night"])
        world.tell(f"the memory is that of {snapshot['at'].name}")


def power(world: World) -> None:
    """The power goes while old backups are removed."""
    world.cut_after = world.random.choice((0, 1, 2))
    world.tell(f"the power goes after {world.cut_after} deletions")


def settle(world: World) -> None:
    """A person looked at what is doubted of the memory, and goes on."""
    if world.doubted and not world.hidden:
        while memory.accept(world.office.context()):
            pass
        world.believe()
        world.tell("the old memory is accepted")


def another_machine(world: World) -> None:
    """A second machine with the plan takes a backup to the same places."""
    if not world.hidden and not world.shift and world.cut_after is None:
        world.moment += DAY
        world.tell(f"another machine, {'' if world.trusted else 'not '}trusted")
        world.night(OTHER)
        if not world.trusted:
            world.expected.append(("", "another machine"))


EVENTS: dict[Callable[[World], None], float] = {
    damage: 0.06,
    cut: 0.03,
    lose: 0.03,
    lose_half: 0.03,
    rename: 0.03,
    copy_aside: 0.03,
    move_aside: 0.03,
    clock: 0.04,
    pause: 0.015,
    away: 0.03,
    change: 0.06,
    accept: 0.03,
    nest: 0.01,
    hold: 0.03,
    release: 0.03,
    grow: 0.08,
    wrong_media: 0.06,
    settle: 0.1,
    memory_back: 0.15,
    power: 0.05,
    another_machine: 0.03,
}


def live(world: World, nights: int) -> None:
    """All nights of a story."""
    for number in range(nights):
        if number:
            world.moment += world.random.choice((1, 1, 1, 1, 2, 3, 9)) * DAY
        if number > 1:
            for event, chance in EVENTS.items():
                if world.random.random() < chance:
                    event(world)
        world.night()
        world.remember()
