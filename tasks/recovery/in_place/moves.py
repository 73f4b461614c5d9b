"""The renames of a restore in place: the old data aside, the new into place, and back again.

Every function here may be cut off anywhere and called again. A folder moves by one rename. A file moves with
the files that belong to it: they are hard-linked into the folder DATASAVE first, so that the set is whole in
one place at every moment; where the file system has no such links they are renamed one by one, the database
first, because a program must never find it without its journals.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tasks.platform.files import sha256_of, sync_folder, sync_tree
from tasks.recovery.in_place.record import Journal
from tasks.sources.shared.live_data import LiveData

ASIDE = "DATASAVE"
ROOM = ".datasave-in-place-"


def aside_for(live: Path) -> Path:
    """Where the old data goes: DATASAVE beside it, or a name with the time where that is taken."""
    plain = live.with_name(ASIDE)
    return _free(live, ASIDE) if os.path.lexists(plain) else plain


def room_for(live: Path, source: str) -> Path:
    """The private room of a restore in place, on the same disk; it is there until all is done."""
    return live.with_name(f"{ROOM}{source}")


def room_of_another(live: Path, source: str) -> Path | None:
    """The room of another source whose restore in place is unfinished in the same folder."""
    mine = room_for(live, source)
    return next((path for path in sorted(live.parent.glob(f"{ROOM}*")) if path != mine), None)


def duplicate_aside(journal: Journal, place: LiveData) -> bool:
    """Link the files of a set into the folder aside; whether that was possible. Nothing for a folder."""
    if journal.folder or not place.there:
        return False
    journal.aside.mkdir(mode=0o700, exist_ok=True)
    for path in place.there:
        duplicate = journal.aside / path.name
        with suppress(FileExistsError):
            try:
                os.link(path, duplicate)
            except FileExistsError:
                raise
            except OSError:
                drop_duplicates(journal)
                return False
    sync_folder(journal.aside)
    sync_folder(journal.aside.parent)
    return True


def drop_duplicates(journal: Journal) -> None:
    """Take the links back: what lies at the live place is all there is."""
    if journal.folder:
        return
    for duplicate in journal.aside.glob("*"):
        if _same(duplicate, journal.live.with_name(duplicate.name)):
            duplicate.unlink()
    _leave_if_empty(journal.aside)


def move_aside(journal: Journal) -> None:
    """Put the old data aside. Raises OSError."""
    if journal.folder:
        if journal.old and not os.path.lexists(journal.aside):
            journal.live.rename(journal.aside)
    else:
        for name in journal.old:
            _one_aside(journal.live.with_name(name), journal.aside / name)
    sync_folder(journal.live.parent)


def place_fresh(journal: Journal) -> None:
    """Rename the new data to the live place. Raises OSError, FileExistsError where something came there."""
    fresh = journal.fresh
    if fresh is not None and os.path.lexists(fresh):
        if os.path.lexists(journal.live):
            raise FileExistsError(17, "something appeared there meanwhile", str(journal.live))
        fresh.rename(journal.live)
    sync_folder(journal.live.parent)


def old_is_lost(journal: Journal) -> bool:
    """Whether the old data was put aside, and is no longer there: somebody moved or deleted it.

    Of a set the main file counts: whoever opened it there may have cleared its journals away.
    """
    if not (journal.has("moved") and journal.old):
        return False
    main = journal.aside if journal.folder else journal.aside / journal.old[0]
    return not os.path.lexists(main)


def withdraw(journal: Journal, place: LiveData) -> Path | None:
    """Clear the live place of what is not the old data; where it was kept, if it is more than our copy."""
    if not journal.has("moved") and not (journal.has("moving") and (journal.folder or journal.linked)):
        return None  # some of the old data may still be there
    strangers = [path for path in place.there if not _same(path, journal.aside / path.name)]
    if journal.folder and not os.path.lexists(journal.aside) and journal.old:
        return None  # the old data never left
    if not strangers:
        return None
    kept = None if _is_our_copy(journal, strangers) else _free(journal.live, "UNDONE")
    away = kept or journal.room / "withdrawn"
    if journal.folder:
        journal.live.rename(away)
    else:
        away.mkdir(mode=0o700, exist_ok=True)
        for path in strangers:
            path.rename(away / path.name)
    sync_folder(journal.live.parent)
    return kept


def put_back(journal: Journal) -> None:
    """Have the old data where it was; of a set the main file last, which needs the others beside it."""
    if journal.folder:
        if journal.old and os.path.lexists(journal.aside):
            journal.aside.rename(journal.live)
    else:
        for name in reversed(journal.old):
            _one_back(journal.aside / name, journal.live.with_name(name))
        _leave_if_empty(journal.aside)
    sync_folder(journal.live.parent)


def apply_owner(fresh: Path, journal: Journal) -> None:
    """Give the new data owners and permissions of the old; of the folder around it where the old is gone."""
    old = _old_of(journal)
    whose = (old or journal.live.parent).stat()
    if journal.deep:
        for path in _all_in(fresh):
            twin = old / path.relative_to(fresh) if old else None
            _dress_one(path, twin if twin and twin.exists() else None, whose, journal.owner)
    _dress_one(fresh, old, whose, journal.owner)


def revert_owner(live: Path) -> None:
    """Make it ours again, for a private engine that runs under our account."""
    if os.name == "posix" and os.geteuid() == 0:
        for path in (live, *_all_in(live)):
            os.chown(path, 0, 0, follow_symlinks=False)


def may_dress(place: LiveData) -> bool:
    """Whether this account can make data that belongs to whom the old data belongs."""
    if os.name != "posix" or os.geteuid() == 0:
        return True
    there = place.path if place.path.exists() else place.path.parent
    return place.owner is None and there.stat().st_uid == os.geteuid()


def digest_of(fresh: Path) -> str:
    """What tells a file that nobody wrote to since; empty for a folder."""
    return sha256_of(fresh) if fresh.is_file() else ""


def make_durable(fresh: Path) -> None:
    """Have all of the new data on disk before anything depends on it."""
    sync_tree(fresh)


def _old_of(journal: Journal) -> Path | None:
    """The old folder, or the old file, wherever it lies now; None where there was none."""
    if not journal.old:
        return None
    aside = journal.aside if journal.folder else journal.aside / journal.live.name
    return next((path for path in (aside, journal.live) if path.exists()), None)


def _all_in(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *names))


def _dress_one(path: Path, twin: Path | None, whose: os.stat_result, owner: str | None) -> None:
    if os.name != "posix" or path.is_symlink():
        return
    like = twin.stat() if twin else whose
    if os.geteuid() == 0:
        shutil.chown(path, owner, None) if owner else os.chown(path, like.st_uid, like.st_gid)
    if twin:
        path.chmod(stat.S_IMODE(like.st_mode))


def _leave_if_empty(aside: Path) -> None:
    """Remove the folder aside; what somebody, or their file manager, put there is not ours to remove."""
    with suppress(OSError):
        aside.rmdir()


def _one_aside(path: Path, aside: Path) -> None:
    if not os.path.lexists(path):
        return
    if _same(path, aside):
        path.unlink()
    elif not os.path.lexists(aside):
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        path.rename(aside)


def _one_back(aside: Path, path: Path) -> None:
    if not os.path.lexists(aside):
        return
    if _same(path, aside):
        # Two names of one file: a rename would do nothing.
        aside.unlink()
    else:
        aside.rename(path)


def _is_our_copy(journal: Journal, found: list[Path]) -> bool:
    """Whether nothing was added to the restored data: then the backup itself still has all of it."""
    if journal.fresh is None or os.path.lexists(journal.fresh):
        return False  # ours never got there: it is somebody's
    if not journal.has("starting"):
        return True
    return bool(journal.digest) and found == [journal.live] and sha256_of(journal.live) == journal.digest


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _free(live: Path, word: str) -> Path:
    """A name beside ``live`` that nothing has: its own, the word, the time."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for ending in ("", *(f"-{number}" for number in range(2, 100))):
        path = live.with_name(f"{live.name}.{word}-{stamp}{ending}")
        if not os.path.lexists(path):
            return path
    raise FileExistsError(17, "no free name", str(live))
