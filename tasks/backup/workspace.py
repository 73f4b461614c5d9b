"""Staging: one private folder a run, the only place where plaintext ever lies.

::

    staging/<run id>.lock   held by the live process; a folder whose lock is free is a dead run's
    staging/<run id>/
        copy/           the live copy                    plaintext
        listing.jsonl   its files' names and digests     plaintext
        scratch/        what the rehearsal unpacks       plaintext
        sealed/         sealed archive and manifest
        ledger/         a mark for each product that still stands, and the seconds each step took
    staging/<run id>.<source>/  the same for each of the plan's further sources

Plaintext goes at the end of a run, however it ends, and at the next start where a run was killed. The sealed
part of a failed run stays, so that a re-run sends only what is missing; it is bounded by number and age.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.errors import BusyError, StateError
from tasks.manifests.manifest import SEALED_SUFFIX
from tasks.options import Spool
from tasks.platform.files import private_folder, refused_in_state
from tasks.platform.trees import remove_tree

# All else in a run's folder is taken for plaintext: parts of files that a killed run left have other names.
LASTING = frozenset({"sealed", "ledger"})
# Named by a flow run's id or by scratch_room; a folder of any other name is not ours to remove.
OURS = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.[a-z0-9-]+)?|(drill|restore|doctor)-[0-9a-f]+"
)
DAY_SECONDS = 24 * 3600
USUAL = Spool()
SEALED = "sealed"
"""The mark in the ledger of a sealed archive that was proven."""
SECONDS = ".seconds"


def folder_of(run_id: str, source_name: str) -> str:
    """The name in staging of a source's folder; ``source_name`` is "" for the main source."""
    return f"{run_id}.{source_name}" if source_name else run_id


def run_of(folder: str) -> str:
    """The id of the run that a folder in staging belongs to."""
    return folder.partition(".")[0]


class Workspace:
    """The folder of one run, or of one of several sources in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copy = folder / "copy"
        self.listing = folder / "listing.jsonl"
        self.scratch = folder / "scratch"
        self.scratch_validate = folder / "scratch-validate"
        self.sealed = folder / "sealed"
        self._ledger = folder / "ledger"

    def fresh(self, path: Path) -> Path:
        """``path`` as an empty private folder, whatever an earlier try left there."""
        remove_tree(path)
        return private_folder(path)

    def done(self, step: str) -> bool:
        """Whether the product of ``step`` still stands, as far as the ledger knows."""
        return (self._ledger / step).exists()

    def mark(self, step: str) -> None:
        """Note that the product of ``step`` stands."""
        private_folder(self._ledger)
        (self._ledger / step).touch()

    def unmark(self, step: str) -> None:
        """Note that the product of ``step`` must be made again."""
        (self._ledger / step).unlink(missing_ok=True)

    def forget(self) -> None:
        """Note that all products must be made again: what was marked belongs to an archive that is gone."""
        for mark in self._ledger.glob("*"):
            if mark.suffix != SECONDS:
                mark.unlink(missing_ok=True)

    def stands(self, step: str) -> bool:
        """Whether the product of ``step`` stands and, where it is the sealed archive, is still here."""
        return self.holds_sealed() if step == SEALED else self.done(step)

    def holds_sealed(self) -> bool:
        """Whether a proven sealed archive of an earlier try of this run is still here."""
        return self.done(SEALED) and any(self.sealed.glob(f"*{SEALED_SUFFIX}"))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long the block took, for the report; also when it fails.

        Raises StateError for an OSError: sources and targets translate their own, so the disk that
        holds staging is what failed.
        """
        began = time.monotonic()
        try:
            yield
        except OSError as error:
            raise refused_in_state(f"{step} failed in {self.folder.parent}", error) from error
        finally:
            # On a full disk this fails too; what the block itself raised must not be lost for it.
            with suppress(OSError, StateError):
                path = private_folder(self._ledger) / f"{step}{SECONDS}"
                path.write_text(f"{time.monotonic() - began:.3f}", "ascii")

    def seconds(self, step: str) -> float:
        """How long ``step`` took when it last ran, 0.0 if it never did or that could not be noted."""
        try:
            return float((self._ledger / f"{step}{SECONDS}").read_text("ascii"))
        except (OSError, ValueError):
            return 0.0

    def plaintext(self) -> list[Path]:
        """Everything that could be read without a holder's key."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return [path for path in found if path.name not in LASTING]

    def wipe_plaintext(self) -> None:
        """Remove all plaintext; raises StateError after it tried all, where something cannot go."""
        failed: StateError | None = None
        for path in self.plaintext():
            try:
                remove_tree(path)
            except StateError as error:
                failed = error
        if failed:
            raise failed


@contextmanager
def exclusively(staging: Path) -> Iterator[None]:
    """Keep runs of the plan away for the length of the block. Raises BusyError where one is under way."""
    private_folder(staging)
    with held(staging / "plan.lock", "another run of this plan is under way"):
        yield


def is_busy(staging: Path) -> bool:
    """Whether a run of the plan is under way on this machine."""
    try:
        with exclusively(staging):
            return False
    except BusyError:
        return True


@contextmanager
def working(
    staging: Path, run_id: str, source_names: Sequence[str] = ("",), spool: Spool = USUAL
) -> Iterator[list[Workspace]]:
    """The workspaces of run ``run_id``, one a source, locked; plaintext is gone when the block ends.

    What dead runs left is swept first. Raises BusyError where another run holds the plan.
    """
    with exclusively(staging), ExitStack() as stack:
        sweep(staging, spool, spare=run_id)
        yield [
            stack.enter_context(locked(staging / folder_of(run_id, source_name)))
            for source_name in source_names
        ]


@contextmanager
def locked(folder: Path) -> Iterator[Workspace]:
    """The workspace in ``folder``, made or as an ended run left it, locked against another run's sweep.

    When the block ends its plaintext goes; all of it, once it is not marked as "sealed". Raises BusyError.
    """
    with held(_lock_of(folder), f"run {folder.name} is already being worked on"):
        workspace = Workspace(private_folder(folder))
        try:
            yield workspace
        finally:
            workspace.wipe_plaintext()
            if not workspace.done(SEALED):
                remove_tree(workspace.folder)


def release(folder: Path) -> None:
    """Let go of an ended run's sealed part: all targets have it, and nobody needs it for a re-run.

    Where a sweep holds the folder just now it stays until the next one: bounded like that of any run.
    """
    with suppress(BusyError), locked(folder) as workspace:
        workspace.unmark(SEALED)


@contextmanager
def scratch_room(staging: Path, purpose: str) -> Iterator[Path]:
    """A private folder for plaintext outside a backup run (drill, restore); gone when the block ends."""
    private_folder(staging)
    folder = staging / f"{purpose}-{time.time_ns():x}"
    with held(_lock_of(folder), f"{folder} is in use"):
        try:
            yield private_folder(folder / "scratch")
        finally:
            remove_tree(folder)


def spools(staging: Path) -> list[Path]:
    """Folders of ended runs that hold a proven sealed archive, newest first."""
    return [folder for folder in _newest_first(staging) if Workspace(folder).holds_sealed()]


def sweep(staging: Path, spool: Spool = USUAL, spare: str = "") -> list[Path]:
    """Remove the plaintext of dead runs, and sealed parts beyond the bounds; returns what was swept.

    ``spare`` is the run about to start: its own sealed part is what a re-run builds on.
    """
    swept = []
    runs: dict[str, int] = {}
    room = int(spool.gigabytes * 1e9)
    for folder in _newest_first(staging):
        # FileNotFoundError: a drill or restore that has just ended took its own folder away.
        with suppress(BusyError, FileNotFoundError), held(_lock_of(folder), "alive"):
            newer = runs.setdefault(run_of(folder.name), len(runs))
            size = _sealed_bytes(folder)
            fits = newer == 0 or size <= room
            kept = (fits and _spool_stays(folder, newer, spool)) or run_of(folder.name) == spare
            room -= size if kept else 0
            if _sweep_one(folder, kept):
                swept.append(folder)
    return swept


def _newest_first(staging: Path) -> list[Path]:
    found = []
    for path in staging.iterdir() if staging.is_dir() else ():
        with suppress(FileNotFoundError):
            if OURS.fullmatch(path.name) and path.is_dir():
                found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def _sealed_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in Workspace(folder).sealed.glob("*"))


def _spool_stays(folder: Path, newer: int, spool: Spool) -> bool:
    young = time.time() - folder.stat().st_mtime < spool.days * DAY_SECONDS
    return Workspace(folder).done(SEALED) and young and newer < spool.runs


def _sweep_one(folder: Path, kept: bool) -> bool:
    workspace = Workspace(folder)
    had_plaintext = bool(workspace.plaintext())
    if kept:
        workspace.wipe_plaintext()
    else:
        remove_tree(folder)
    return had_plaintext or not kept


def _lock_of(folder: Path) -> Path:
    # Beside the folder, and taken before the folder is made: a sweep never meets an unlocked live run.
    return folder.with_name(f"{folder.name}.lock")


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock for the length of the block. Raises BusyError with ``refusal`` where another does."""
    # The system drops the lock when the process dies, however it dies: no stale lock to break.
    lock = FileLock(path, blocking=False, thread_local=False, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise BusyError(refusal, hint="Wait until it has ended, then try again.") from error
    except OSError as error:
        raise StateError(
            f"cannot lock {path}: {error.strerror}",
            hint="Did another account make it? Remove what that left, and run Datasave under one account.",
        ) from error
    try:
        yield
    finally:
        lock.release()
