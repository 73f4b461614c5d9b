"""An office's nights by one seed, each night's outcome held to the model.

A failure says the seed and the whole story.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from tasks.backup import media
from tasks.policy.rotation import medium_for
from tests.retention.model import Copy, Place, Rules, Viewer
from tests.retention.office import (
    NAME,
    OWNER,
    Office,
    Outcome,
    PowerCut,
    emptied,
    files_below,
    memory_at,
    opened,
    power_cut,
    sealed_bytes,
    shown_at,
)

ZONE = ZoneInfo("America/New_York")
FIRST = datetime(2026, 3, 2, 7, tzinfo=UTC)
DAY = timedelta(days=1)
LONG_PAUSE = timedelta(days=60)
ARCHIVE, MANIFEST, SIGNATURE = ".tar.zst.age", ".manifest.json", ".manifest.json.sig"
FILES = (ARCHIVE, MANIFEST, SIGNATURE)
LABELS = ("A", "B", "C")
MEDIUM = "128k"
MAIN, OTHER = "main", "other"


def rules_of(entry: dict[str, Any]) -> Rules:
    """What an entry of the plan promises; the defaults are those that the plan's comments state."""
    keep = entry.get("keep", {"last": 1} if entry.get("slots") else {"last": 7, "weekly": 4, "monthly": 12})
    counts = {"forever": True} if keep == "forever" else dict(keep)
    return Rules(**counts, floor=entry.get("floor", 3), first=entry.get("replace") == "first")


class World:
    """One office: its plan, its places as the model knows them, and what tonight is made to be."""

    def __init__(self, seed: int, root: Path, stack: ExitStack) -> None:
        emptied(root)
        self.random, self.root, self.stack = Random(seed), root, stack
        self.story: list[str] = [f"seed {seed}"]
        self.plan = self._drawn_plan()
        self.forgets = self.random.random() < 0.25
        self.trusted = self.random.random() < 0.5
        self.office, self.other = Office(root, self.plan), Office(root, self.plan, machine=OTHER)
        self.moment = self.last_run = FIRST
        self.size = self.random.choice((600, 600, 5_000, 20_000))
        self.places: dict[str, Place] = {}
        self.held: set[int] = set()
        self.calm = True
        self.nights = 0
        self.arrivals: dict[str, int] = {}
        self.unknown: set[str] = set()
        self.doubted = False
        self.snapshots: list[dict[str, Any]] = []
        self.expected: list[tuple[str, str]] = []
        self._reset_tonight()
        self._set_up()

    def _reset_tonight(self) -> None:
        self.hidden: set[str] = set()
        self.shift = timedelta(0)
        self.labels: tuple[str, ...] | None = None
        self.cut_after: int | None = None

    def viewer(self, machine: str) -> Viewer:
        """A machine as the model sees it."""
        both = frozenset({MAIN, OTHER})
        if machine == OTHER:
            return Viewer(OTHER, both)
        return Viewer(MAIN, both if self.trusted else frozenset({MAIN}), self.held)

    # The plan and its places

    def _drawn_plan(self) -> dict[str, Any]:
        targets = [self._drawn_folder(name) for name in ("nas", "far")[: self.random.choice((1, 1, 2))]]
        if self.random.random() < 0.25:
            targets.append(self._drawn_drive())
        return {
            "name": NAME,
            "source": {"kind": "sqlite", "path": "source/clinic.db"},
            "holders": [{"name": "Owner", "recipient": str(OWNER.recipient())}],
            "targets": targets,
            "schedule": {"timezone": str(ZONE)},
        }

    def _drawn_folder(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": name, "kind": "folder", "path": name}
        if self.random.random() < 0.3:
            entry["slots"] = "weekday"
        return entry | self.drawn_rules()

    def _drawn_drive(self) -> dict[str, Any]:
        return {
            "name": "drives",
            "kind": "drive",
            "calendar": {"sets": list(LABELS)},
            "mounts": [f"{self.root}/media/*"],
            "replace": self.random.choice(("first", "first", "keep")),
            **self.drawn_rules(),
        }

    def drawn_rules(self) -> dict[str, Any]:
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

    def entry(self, target: str) -> dict[str, Any]:
        entry: dict[str, Any] = next(one for one in self.plan["targets"] if one["name"] == target)
        return entry

    def _set_up(self) -> None:
        self.office.prepare()
        if self.trusted:
            self.office.signers = [self.other.key]
        self.other.signers = [self.office.key]
        for entry in self.plan["targets"]:
            if entry["kind"] == "folder":
                self.places[entry["name"]] = Place(entry["name"])
            else:
                self._make_media()

    def _make_media(self) -> None:
        (self.root / "media").mkdir()
        for label in LABELS:
            store = self.stack.enter_context(memory_at(self.root / "store" / label, MEDIUM))
            with shown_at(store, self.root / "media" / label):
                media.init(self.office.context(), "drives", self.root / "media" / label, label)
            self.places[label] = Place("drives")

    def folder(self, name: str) -> Path:
        """Where the files of a place lie."""
        return self.root / "store" / name / "datasave" if name in LABELS else self.root / name

    # One night

    def night(self, machine: str = MAIN) -> None:
        """A run and its audit, held to the model."""
        office = self.office if machine == MAIN else self.other
        moment = self.moment + self.shift + (timedelta(hours=-3) if machine == OTHER else timedelta(0))
        self._doubt(machine)
        before = {name: files_below(self.folder(name)) for name in self.places}
        due = medium_for(office.context().entry("drives").calendar, moment.astimezone(ZONE).date()) \
            if self.entry_of_drives else None  # fmt: skip
        with ExitStack() as plugged:
            labels = (due,) if self.labels is None else self.labels
            for label in filter(None, labels):
                plugged.enter_context(shown_at(self.root / "store" / label, self.root / "media" / label))
            plugged.enter_context(power_cut(self.cut_after))
            outcome = office.night(moment, self.size)
        said = "; ".join(filter(None, outcome.told))
        self.story.append(f"night of {moment:%Y-%m-%d} on {machine}: #{outcome.number} {said}")
        self.long_pause = machine == MAIN and moment - self.last_run > LONG_PAUSE
        self._check_number(outcome, before)
        self.nights += 1
        if outcome.arrived:
            self._promise(machine)
        if machine == MAIN:
            self.demand(not self.doubted or outcome.says("memory"), "an old memory was not told")
            self.arrivals |= dict.fromkeys(outcome.arrived, self.nights)
        for name, place in self.places.items():
            self._check_place(name, place, before[name], outcome, moment, due)
        for where, word in self.expected if machine == MAIN else ():
            known = where in self.hidden or outcome.says(where, word) or outcome.says(word)
            self.demand(known, f"{where}: the night says nothing of {word}")
        if machine == MAIN:
            self.expected = [one for one in self.expected if one[0] in self.hidden]
        for name in self.hidden:
            (self.root / f"{name}.away").rename(self.root / name)
        if machine == MAIN:
            self.last_run = moment
        self._reset_tonight()

    def _doubt(self, machine: str) -> None:
        """Whether a place that can be reached knows more of the main machine than its memory does.

        ``unknown``: where it had delivered what it forgot. What it delivers from then on it knows.
        """
        if machine == MAIN and any(name not in self.hidden for name in self.unknown & self.places.keys()):
            self.doubted = True

    def forget(self, night: int) -> None:
        """The main machine's memory is that of an earlier night."""
        self.unknown = {name for name, arrived in self.arrivals.items() if arrived > night}
        self.doubted = False

    def believe(self) -> None:
        """Someone looked at what is doubted, and goes on."""
        self.unknown, self.doubted = set(), False

    @property
    def entry_of_drives(self) -> bool:
        return any(entry["kind"] == "drive" for entry in self.plan["targets"])

    def _promise(self, machine: str) -> None:
        for place in self.places.values():
            rules, known = rules_of(self.entry(place.target)), place.promised.setdefault(machine, [])
            if rules not in known[-1:]:
                known.append(rules)

    def demand(self, holds: bool, what: str) -> None:
        """Fail with the whole story unless it holds."""
        assert holds, "\n".join([what, *self.story])

    def _check_number(self, outcome: Outcome, before: dict[str, dict[str, bytes]]) -> None:
        seen = {name: files for name, files in before.items() if name not in LABELS}
        shown = [int(name.split("Z-")[1][:6]) for files in seen.values() for name in files if "Z-" in name]
        self.demand(outcome.number > max(shown, default=0), "a number was given twice")

    def _check_place(
        self,
        name: str,
        place: Place,
        before: dict[str, bytes],
        outcome: Outcome,
        moment: datetime,
        due: str | None,
    ) -> None:
        after = files_below(self.folder(name)) if name not in self.hidden else before
        if place.target not in outcome.arrived or (name in LABELS and name != due):
            expected = name not in LABELS or name == due
            self.demand(not expected or place.target in outcome.failed, f"{name}: not delivered, not told")
            self.demand(before == after, f"{name}: something changed though nothing arrived")
            return
        slot = f"{moment.astimezone(ZONE):%a}".upper() if self.entry(place.target).get("slots") else ""
        new = Copy(outcome.stem, slot, outcome.number, moment, outcome.content, outcome.machine)
        place.copies.append(new)
        before = before | {
            new.key + ARCHIVE: sealed_bytes(new.content, self.size),
            **{new.key + end: after.get(new.key + end, b"") for end in (MANIFEST, SIGNATURE)},
        }
        self._check_kept(name, place, before, after, outcome, moment)
        self._learn(place, after, outcome)

    def _check_kept(
        self,
        name: str,
        place: Place,
        before: dict[str, bytes],
        after: dict[str, bytes],
        outcome: Outcome,
        moment: datetime,
    ) -> None:
        viewer = self.viewer(outcome.machine)
        old = self.doubted and outcome.machine == MAIN
        suspended = place.contradiction(viewer, moment) or self.long_pause or old
        may_go = [] if suspended else place.may_go(viewer, ZONE)
        gone = before.keys() - after.keys()
        allowed = {c.key + end for c in may_go for end in FILES}
        if gone - allowed:
            allowed |= self._made_room(name, place, gone, outcome)
        self.demand(gone <= allowed, f"{name}: removed {sorted(gone - allowed)} though it was needed")
        for file in before.keys() & after.keys():
            self.demand(before[file] == after[file], f"{name}: {file} was changed")
        for copy in place.copies:
            if copy.whole and not copy.rotten and copy.key + ARCHIVE not in gone:
                found = opened(after[copy.key + ARCHIVE])
                self.demand(found == copy.content, f"{name}: {copy.key} does not open: {found!r}")
        if isinstance(outcome.failed.get(place.target), PowerCut):
            place.begun |= allowed
        self._check_told(name, place, gone, outcome, moment, suspended=suspended)
        if self.calm:
            self.demand(allowed <= gone, f"{name}: {sorted(allowed - gone)} was not needed and stayed")
        self._take_away(place, gone, outcome)

    def _made_room(self, name: str, place: Place, gone: set[str], outcome: Outcome) -> set[str]:
        """What a full medium may lose before the new one is on it: its oldest, if others hold enough."""
        rules, viewer = place.promised[outcome.machine], self.viewer(outcome.machine)
        if name not in LABELS or not all(one.first for one in rules):
            return set()
        others = sum(len(self.places[label].counted(viewer)) for label in LABELS if label != name)
        if others < rules[-1].floor:
            return set()
        oldest_first = [c for c in place.counted(viewer)[::-1] if c.number not in viewer.held]
        count = max((at for at, c in enumerate(oldest_first, 1) if c.key + ARCHIVE in gone), default=0)
        return {c.key + end for c in oldest_first[:count] for end in FILES}

    def _check_told(
        self, name: str, place: Place, gone: set[str], outcome: Outcome, moment: datetime, *, suspended: bool
    ) -> None:
        told = {removed.name: removed for removed in outcome.removed[place.target]}
        archives = {file for file in gone if file.endswith(ARCHIVE)}
        silent = isinstance(outcome.failed.get(place.target), PowerCut)
        place.untold |= archives - told.keys() if silent else set()
        self.demand(archives <= told.keys() | place.untold, f"{name}: removed {archives}, told {told}")
        # One that was to go when the power went, and that someone took meanwhile, looks like one that went.
        known = archives | place.untold | place.begun
        self.demand(told.keys() <= known, f"{name}: removed {archives}, told {told}")
        place.untold -= told.keys()
        self.demand(
            all(one.reason and str(one.sequence) in file for file, one in told.items()),
            f"{name}: a removal without its number or reason: {told}",
        )
        pruned = outcome.pruned.get(place.target)
        note = pruned.note if pruned else str(outcome.failed.get(place.target, ""))
        viewer = self.viewer(outcome.machine)
        told_so = bool(note) or outcome.says(place.target, "dated in the future")
        forever = place.promised[outcome.machine][-1].forever
        nothing_new = forever and not self.long_pause and not self.doubted and not place.ahead(viewer, moment)
        self.demand(not suspended or told_so or nothing_new, f"{name}: dates contradict numbers, not told")
        self.demand(not self.calm or not note, f"{name}: told without cause: {note}")

    def _take_away(self, place: Place, gone: set[str], outcome: Outcome) -> None:
        for copy in place.copies:
            if copy.key + MANIFEST in gone and copy.key + ARCHIVE not in gone:
                self.demand(place.target in outcome.failed, f"half of {copy.key} is gone")
                copy.leaving, copy.whole = True, False
        place.copies = [c for c in place.copies if c.key + ARCHIVE not in gone]

    def _learn(self, place: Place, after: dict[str, bytes], outcome: Outcome) -> None:
        """What the audit of the night must have found, and what counts no longer from then on."""
        viewer = self.viewer(outcome.machine)
        for copy in place.counted(viewer):
            if copy.rotten:
                told = outcome.says(copy.stem) or outcome.says(f"#{copy.number}")
                self.demand(told, f"{place.target}: the audit says nothing of {copy.key}")
                copy.seen_by.add(viewer.machine)

    # What events choose from

    def some_copy(self) -> tuple[str, Place, Copy] | None:
        """A backup of this machine, as it was put there, on a folder target that is not away."""
        found = [
            (name, place, copy)
            for name, place in self.places.items()
            for copy in place.counted(self.viewer(MAIN))
            if not copy.rotten and name not in self.hidden and name not in LABELS
        ]
        return self.random.choice(found) if found else None

    def path(self, name: str, copy: Copy, end: str) -> Path:
        """A file of a backup."""
        return self.folder(name) / f"{copy.key}{end}"

    def tell(self, what: str) -> None:
        """Something happened: from now on not every night is like the one before."""
        self.calm = False
        self.story.append(what)

    def remember(self) -> None:
        """Keep what the main machine knows now, as a snapshot of its disk does, where one is put back."""
        if not self.forgets:
            return
        at = self.root / f"snapshot-{len(self.snapshots)}"
        shutil.copytree(self.office.state, at, ignore=shutil.ignore_patterns("staging"))
        promised = {name: list(place.promised.get(MAIN, [])) for name, place in self.places.items()}
        seen = {(n, c.key) for n, place in self.places.items() for c in place.copies if MAIN in c.seen_by}
        known = {(n, c.key) for n, place in self.places.items() for c in place.copies if not c.forgotten}
        self.snapshots.append(
            {"at": at, "held": set(self.held), "promised": promised, "seen": seen, "known": known}
            | {"night": self.nights}
        )
