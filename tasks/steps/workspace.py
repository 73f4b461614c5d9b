"""Staging: one private folder a run, the only place where plaintext ever lies.

::

    staging/<run id>.lock   held by the live process; a folder whose lock is free is a dead run's
    staging/<run id>/
        run.key         private half of the key made for this run alone
        copy/           the live copy                    plaintext
        archive.tar.zst                                  plaintext
        scratch/        what the rehearsal unpacks       plaintext
        sealed/         sealed archive and manifest
        ledger/         a mark for each product that still stands, and the seconds each step took

Plaintext and the run's key go at the end of a run, however it ends, and at the next start where a
run was killed. The sealed part of a failed run stays, so that a re-run sends only what is missing;
it is bounded by number and age.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.errors import BusyError, StateError
from tasks.files import private_folder

PLAINTEXT = ("copy", "archive.tar.zst", "scratch", "scratch-validate", "run.key")
SPOOLS_KEPT = 3
SPOOL_SECONDS = 7 * 24 * 3600


class Workspace:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copy = folder / "copy"
        self.archive = folder / "archive.tar.zst"
        self.scratch = folder / "scratch"
        self.scratch_validate = folder / "scratch-validate"
        self.sealed = folder / "sealed"
        self.run_key = folder / "run.key"
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

    def holds_sealed(self) -> bool:
        """Whether a proven sealed archive of an earlier try of this run is still here."""
        return self.done("sealed") and any(self.sealed.glob("*.tar.zst.age"))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long the block took, for the report; also when it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            path = private_folder(self._ledger) / f"{step}.seconds"
            path.write_text(f"{time.monotonic() - began:.3f}", "ascii")

    def seconds(self, step: str) -> float:
        """How long ``step`` took when it last ran, 0.0 if it never did."""
        path = self._ledger / f"{step}.seconds"
        return float(path.read_text("ascii")) if path.exists() else 0.0

    def wipe_plaintext(self) -> None:
        """Remove everything that could be read without a holder's key."""
        for name in PLAINTEXT:
            remove_tree(self.folder / name)


@contextmanager
def working(staging: Path, run_id: str) -> Iterator[Workspace]:
    """The workspace of run ``run_id``, locked; plaintext is gone when the block ends.

    What dead runs left is swept first. Raises BusyError where another run holds the plan.
    """
    private_folder(staging)
    with _held(staging / "plan.lock", "another run of this plan is under way"):
        sweep(staging, spare=run_id)
        with _held(_lock_of(staging / run_id), f"run {run_id} is already being worked on"):
            workspace = Workspace(private_folder(staging / run_id))
            try:
                yield workspace
            finally:
                workspace.wipe_plaintext()
                if not workspace.done("sealed"):
                    remove_tree(workspace.folder)


@contextmanager
def scratch_room(staging: Path, purpose: str) -> Iterator[Path]:
    """A private folder for plaintext outside a backup run (drill, restore); gone when the block ends."""
    private_folder(staging)
    folder = staging / f"{purpose}-{time.time_ns():x}"
    with _held(_lock_of(folder), f"{folder} is in use"):
        try:
            yield private_folder(folder / "scratch")
        finally:
            remove_tree(folder)


def sweep(staging: Path, spare: str = "") -> list[Path]:
    """Remove the plaintext of dead runs, and sealed parts too many or too old; returns what was swept.

    ``spare`` is the run about to start: its own sealed part is what a re-run builds on.
    """
    folders = [path for path in staging.iterdir() if path.is_dir()] if staging.is_dir() else []
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    swept = []
    spools = 0
    for folder in folders:
        with suppress(BusyError), _held(_lock_of(folder), "alive"):
            kept = _spool_stays(folder, spools) or folder.name == spare
            spools += 1
            if _sweep_one(folder, kept):
                swept.append(folder)
    return swept


def remove_tree(path: Path) -> None:
    """Remove a file or a folder with all it holds; raises StateError where something cannot go.

    A failure is never passed over: it would leave patients' data behind in the clear.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(
            f"cannot remove {path} from staging: {error.strerror}",
            hint="It may hold readable patient data. Close whatever has it open and remove it by hand.",
        ) from error


def _spool_stays(folder: Path, newer: int) -> bool:
    young = time.time() - folder.stat().st_mtime < SPOOL_SECONDS
    return Workspace(folder).done("sealed") and young and newer < SPOOLS_KEPT


def _sweep_one(folder: Path, kept: bool) -> bool:
    had_plaintext = any((folder / name).exists() for name in PLAINTEXT)
    if kept:
        Workspace(folder).wipe_plaintext()
    else:
        remove_tree(folder)
    return had_plaintext or not kept


def _lock_of(folder: Path) -> Path:
    # Beside the folder, and taken before the folder is made: a sweep never meets an unlocked live run.
    return folder.with_name(f"{folder.name}.lock")


@contextmanager
def _held(path: Path, refusal: str) -> Iterator[None]:
    # The system drops the lock when the process dies, however it dies: no stale lock to break.
    lock = FileLock(path, blocking=False, thread_local=False, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise BusyError(refusal, hint="Wait until it has ended, then try again.") from error
    try:
        yield
    finally:
        lock.release()
