"""A plan with the objects that it names: adapters, state folder, keys, trusted machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.age.keys import parse_recipient
from tasks.age.recipients import Recipient
from tasks.calendars import WEEKDAYS
from tasks.errors import PlanError, StateError
from tasks.journal.journal import Journal
from tasks.journal.takeover import take_over
from tasks.manifests.signing import load_or_create_key, public_text, without_contradiction
from tasks.options import UserCheck
from tasks.plan.load import Kinds, load_plan
from tasks.plan.model import Plan, SourceEntry, TargetEntry
from tasks.platform import sandbox
from tasks.platform.files import private_folder
from tasks.platform.ownership import replaceable
from tasks.records import key_of
from tasks.sources import registry as sources
from tasks.sources.base import Source
from tasks.targets import registry as targets
from tasks.targets.base import Target
from tasks.targets.capabilities import MediaOptions

OWN_STATE = frozenset(
    {"machine.key", "sequence", "sequence.lock", "trend", "media.json", "history.json", "thaws.json"}
    | {
        "journal",
        "staging",
        "reports",
        "prefect",
        "drills",
        "status.html",
        "status.prom",
        "in-place",
        "copies",
        "proofs.json",
        "shelves",
    }
)
KINDS = Kinds(sources=sources.option_models(), targets=targets.option_models())


# A file that changed so short a time ago (nanoseconds) may change again without looking different.
_SETTLED = 50_000_000
# Servers drop connections that nobody uses; one that lay idle for longer (seconds) is not used again.
_IDLE_SECONDS = 30.0


class _Read(NamedTuple):
    """A plan as it was read, and what identifies the file as it was then."""

    identity: tuple[int, ...]
    plan: Plan


_plans: dict[Path, _Read] = {}


def plan_of(path: Path) -> Plan:
    """The plan in an absolute ``path``, read once a process, and again where the file changed.

    Raises PlanError.
    """
    try:
        found = path.stat()
    except OSError:
        return load_plan(path, KINDS)  # which says what is wrong with it
    identity = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)
    known = _plans.get(path)
    if known is not None and known.identity == identity:
        return known.plan
    plan = load_plan(path, KINDS)
    if time.time_ns() - found.st_mtime_ns > _SETTLED:
        _plans[path] = _Read(identity, plan)
    return plan


class _Idle(NamedTuple):
    """An open target that no step uses just now; ``since`` by the monotonic clock."""

    target: Target
    entry: TargetEntry
    since: float


class _OpenTargets:
    """Targets that stay open between the steps of a run: a delivery connects once, and not for each step.

    One step has a target for itself at a time. After an error it is closed: the next step connects anew.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = 0
        self._idle: dict[tuple[Path, str], list[_Idle]] = {}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep them open for the length of the block; with the last such block all are closed."""
        with self._lock:
            self._runs += 1
        try:
            yield
        finally:
            with self._lock:
                self._runs -= 1
                left = [] if self._runs else [idle.target for kept in self._idle.values() for idle in kept]
                if left:
                    self._idle.clear()
            with ExitStack() as closing:  # one that cannot be closed must not keep the others open
                for target in left:
                    closing.callback(target.close)

    @contextmanager
    def lent(
        self, place: tuple[Path, str], entry: TargetEntry, make: Callable[[], Target]
    ) -> Iterator[Target]:
        """A target that lies idle, else a new one, for the length of the block."""
        target = self._taken(place, entry) or make()
        try:
            yield target
        except BaseException:
            target.close()
            raise
        if not self._given_back(place, _Idle(target, entry, time.monotonic())):
            target.close()

    def _taken(self, place: tuple[Path, str], entry: TargetEntry) -> Target | None:
        with self._lock:
            idle = self._idle.pop(place, [])
            after = time.monotonic() - _IDLE_SECONDS
            fresh = [one for one in idle if one.since > after and one.entry == entry]
            found = fresh.pop() if fresh else None
            if fresh:
                self._idle[place] = fresh
        for one in idle:
            if one is not found and one not in fresh:
                one.target.close()
        return found.target if found else None

    def _given_back(self, place: tuple[Path, str], idle: _Idle) -> bool:
        # Of removable media nothing is open between calls, and whose turn it is belongs to one step alone.
        if idle.target.properties.removable:
            return False
        with self._lock:
            if not self._runs:
                return False
            self._idle.setdefault(place, []).append(idle)
        return True


_open = _OpenTargets()


def targets_kept_open() -> AbstractContextManager[None]:
    """Keep targets open between uses for the length of the block, in all threads of this process."""
    return _open.kept()


class PlanContext:
    """A plan and what belongs to it. Cheap to make: every step makes its own, the plan is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.plan = plan_of(self.path)
        self.state = self.plan.state
        self.staging = self.state / "staging"
        self.reports = self.state / "reports"
        self._refuse_foreign_state()

    @property
    def timezone(self) -> ZoneInfo:
        """The plan's zone: it decides what day a backup belongs to."""
        return ZoneInfo(self.plan.schedule.timezone)

    @property
    def source_names(self) -> tuple[str, ...]:
        """The plan's sources by their short names, the main one, "", first."""
        return "", *(entry.name for entry in self.plan.also)

    @property
    def full_names(self) -> tuple[str, ...]:
        """The names under which the plan's sources are backed up, in the order of ``source_names``."""
        return tuple(self.full_name(source_name) for source_name in self.source_names)

    def full_name(self, source_name: str) -> str:
        """The name under which a source is backed up. No plan's name has a dot, so none clashes."""
        return f"{self.plan.name}.{source_name}" if source_name else self.plan.name

    def source_name(self, name: str | None) -> str:
        """The short name of the source a user names, in short or in full; the main one for None.

        Raises PlanError, naming those there are.
        """
        for source_name, full in zip(self.source_names, self.full_names, strict=True):
            if name is None or name in {source_name, full}:
                return source_name
        known = ", ".join(self.full_names)
        raise PlanError(f"the plan has no source {name!r}", hint=f"Its sources are: {known}.")

    def source(self, source_name: str = "") -> Source:
        """The adapter of the plan's source, or of that further source."""
        return sources.make_source(self._source_entry(source_name) if source_name else self.plan.source)

    def check_sandbox(self) -> None:
        """Raise StateError where the plan insists on a sandbox and this machine has none."""
        if self.plan.sandbox == "required" and (lack := sandbox.missing()):
            raise StateError(
                f"no copy is opened on this machine: the plan says sandbox: required, and {lack}",
                hint=f"{sandbox.WAY_OUT} Or take `sandbox: required` out of the plan.",
            )

    def checks(self, source_name: str = "") -> tuple[UserCheck, ...]:
        """The user's own checks of a source."""
        return self._source_entry(source_name).checks if source_name else self.plan.checks

    def _source_entry(self, source_name: str) -> SourceEntry:
        return next(entry for entry in self.plan.also if entry.name == source_name)

    def entry(self, name: str) -> TargetEntry:
        """The plan's entry of target ``name``. Raises PlanError, naming those there are."""
        for entry in self.plan.targets:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.plan.targets)
        raise PlanError(f"the plan has no target {name!r}", hint=f"Its targets are: {known}.")

    def slots(self, name: str) -> frozenset[str] | None:
        """The folders on a target, in capitals, whose backups count beside those in its root.

        Weekdays, as `slots: weekday` names them, and media. None, any folder, for a place that is none of the
        plan's targets.
        """
        entry = next((entry for entry in self.plan.targets if entry.name == name), None)
        if entry is None:
            return None
        labels = entry.calendar.labels if isinstance(entry, MediaOptions) else ()
        return frozenset(slot.upper() for slot in (*WEEKDAYS, *labels))

    def chosen(self, names: Sequence[str] | None, skip: Sequence[str] | None = None) -> list[str]:
        """Names of the targets asked for, of all where none is, but for those in ``skip``.

        Raises PlanError for an unknown one, and where none is left.
        """
        wanted = [self.entry(name).name for name in names or [entry.name for entry in self.plan.targets]]
        skipped = {self.entry(name).name for name in skip or ()}
        left = [name for name in wanted if name not in skipped]
        if not left:
            raise PlanError("no target is left: all are skipped", hint="Skip fewer targets, or none.")
        return left

    @contextmanager
    def target(self, name: str) -> Iterator[Target]:
        """The adapter of target ``name``, closed when the block ends or kept for the next use in this run."""
        entry = self.entry(name)
        with _open.lent((self.path, name), entry, lambda: targets.make_target(name, entry)) as target:
            yield target

    def _refuse_foreign_state(self) -> None:
        """Raise StateError where ``state:`` names a folder with other things in it: ours becomes private."""
        try:
            if cause := replaceable(self.state):
                raise StateError(
                    f"refused the state folder {self.state}: {cause}",
                    hint="Who can write there could put another one in its place. Close it (`chmod go-w`), "
                    "or set `state:` in the plan to another place.",
                )
            names = {path.name for path in self.state.iterdir()}
        except OSError:
            return  # not there yet, or not readable: whoever needs it will say so
        if names and not names & OWN_STATE:
            raise StateError(
                f"the state folder {self.state} holds other things",
                hint="Set `state:` in the plan to a folder of its own; it is closed to all other users. "
                "Without `state:` it is called after the plan: another name will do as well.",
            )

    def drill_target(self) -> str:
        """Where scheduled drills restore from: the plan's choice, or its first target."""
        return self.plan.drill.target or self.plan.targets[0].name

    def machine_key(self) -> Ed25519PrivateKey:
        """This machine's signing key, made on first use."""
        return load_or_create_key(private_folder(self.state) / "machine.key")

    @cached_property
    def journal(self) -> Journal:
        """What this machine did and saw for the plan; its only memory."""
        signers = [key_of(signer) for signer in self.plan.signers]
        journal = Journal(self.state / "journal", self.machine_key(), signers)
        take_over(journal, self.state)
        return journal

    def trusted(self) -> frozenset[str]:
        """Public keys whose manifests count: this machine's, the plan's signers, and those recovered from.

        Those that have ended with the number where they did (manifests/signing.py).
        """
        own, journal = public_text(self.machine_key().public_key()), self.journal
        return without_contradiction((own, *self.plan.signers, *journal.machines(), *journal.ended()))

    def recipients(self) -> list[Recipient]:
        """Every holder's recipient."""
        return [parse_recipient(holder.recipient) for holder in self.plan.holders]
