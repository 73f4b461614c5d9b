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
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tasks.platform.accounts import is_root
from tasks.platform.files import sha256_of, sync_folder
from tasks.platform.trees import below
from tasks.recovery.in_place.record import InPlaceRecord
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


def duplicate_aside(record: InPlaceRecord, place: LiveData) -> bool:
    """Link the files of a set into the folder aside; whether that was possible. Nothing for a folder."""
    if record.folder or not place.there:
        return False
    record.aside.mkdir(mode=0o700, exist_ok=True)
    for path in place.there:
        duplicate = record.aside / path.name
        with suppress(FileExistsError):
            try:
                os.link(path, duplicate)
            except FileExistsError:
                raise
            except OSError:
                drop_duplicates(record)
                return False
    sync_folder(record.aside)
    sync_folder(record.aside.parent)
    return True


def drop_duplicates(record: InPlaceRecord) -> None:
    """Remove the links from the folder aside; the files at the live place stay."""
    if record.folder:
        return
    for duplicate in record.aside.glob("*"):
        if _same(duplicate, record.live.with_name(duplicate.name)):
            duplicate.unlink()
    _leave_if_empty(record.aside)


def move_aside(record: InPlaceRecord) -> None:
    """Put the old data aside. Raises OSError."""
    if record.folder:
        if record.old and not os.path.lexists(record.aside):
            record.live.rename(record.aside)
    else:
        for name in record.old:
            _one_aside(record.live.with_name(name), record.aside / name)
    sync_folder(record.live.parent)


def place_fresh(record: InPlaceRecord) -> None:
    """Rename the new data to the live place. Raises OSError, FileExistsError where something came there."""
    fresh = record.fresh
    if fresh is not None and os.path.lexists(fresh):
        if os.path.lexists(record.live):
            raise FileExistsError(17, "something appeared there meanwhile", str(record.live))
        fresh.rename(record.live)
    sync_folder(record.live.parent)


def old_is_lost(record: InPlaceRecord) -> bool:
    """Whether the old data was put aside, and is no longer there: somebody moved or deleted it.

    Of a set the main file counts: whoever opened it there may have cleared its journals away.
    """
    if not (record.has("moved") and record.old):
        return False
    main = record.aside if record.folder else record.aside / record.old[0]
    return not os.path.lexists(main)


def withdraw(record: InPlaceRecord, place: LiveData) -> Path | None:
    """Clear the live place of what is not the old data; where it was kept, if it is more than our copy."""
    if not record.has("moved") and not (record.has("moving") and (record.folder or record.linked)):
        return None  # some of the old data may still be there
    strangers = [path for path in place.there if not _same(path, record.aside / path.name)]
    if record.folder and not os.path.lexists(record.aside) and record.old:
        return None  # the old data never left
    if not strangers:
        return None
    kept = None if _is_our_copy(record, strangers) else _free(record.live, "UNDONE")
    away = kept or record.room / "withdrawn"
    if record.folder:
        record.live.rename(away)
    else:
        away.mkdir(mode=0o700, exist_ok=True)
        for path in strangers:
            path.rename(away / path.name)
    sync_folder(record.live.parent)
    return kept


def put_back(record: InPlaceRecord) -> None:
    """Put the old data back where it was; of a set the main file last, which needs the others beside it."""
    if record.folder:
        if record.old and os.path.lexists(record.aside):
            record.aside.rename(record.live)
    else:
        for name in reversed(record.old):
            _one_back(record.aside / name, record.live.with_name(name))
        _leave_if_empty(record.aside)
    sync_folder(record.live.parent)


def apply_owner(fresh: Path, record: InPlaceRecord) -> None:
    """Give the new data owners and permissions of the old; of the folder around it where the old is gone."""
    old = _old_of(record)
    whose = (old or record.live.parent).stat()
    if record.deep:
        for path in _all_in(fresh):
            twin = old / path.relative_to(fresh) if old else None
            _apply_owner_to(path, twin if twin and twin.exists() else None, whose, record.owner)
    _apply_owner_to(fresh, old, whose, record.owner)


def revert_owner(live: Path) -> None:
    """Make the data ours again, for a private engine that runs under our account."""
    if sys.platform != "win32" and is_root():
        for path in (live, *_all_in(live)):
            os.chown(path, 0, 0, follow_symlinks=False)


def may_apply_owner(place: LiveData) -> bool:
    """Whether this account may give the new data the old data's owner."""
    if sys.platform == "win32" or is_root():
        return True
    there = place.path if place.path.exists() else place.path.parent
    return place.owner is None and there.stat().st_uid == os.geteuid()


def digest_of(fresh: Path) -> str:
    """The sha256 of a file, by which it is seen later that nobody wrote to it; empty for a folder."""
    return sha256_of(fresh) if fresh.is_file() else ""


def _old_of(record: InPlaceRecord) -> Path | None:
    """The old folder, or the old file, wherever it lies now; None where there was none."""
    if not record.old:
        return None
    aside = record.aside if record.folder else record.aside / record.live.name
    return next((path for path in (aside, record.live) if path.exists()), None)


def _all_in(folder: Path) -> Iterator[Path]:
    return (Path(entry.path) for entry in below(folder))


def _apply_owner_to(path: Path, twin: Path | None, whose: os.stat_result, owner: str | None) -> None:
    if sys.platform == "win32" or path.is_symlink():
        return
    like = twin.stat() if twin else whose
    if is_root():
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


def _is_our_copy(record: InPlaceRecord, found: list[Path]) -> bool:
    """Whether nothing was added to the restored data: then the backup itself still has all of it."""
    if record.fresh is None or os.path.lexists(record.fresh):
        return False  # ours never got there: it is somebody's
    if not record.has("starting"):
        return True
    return bool(record.digest) and found == [record.live] and sha256_of(record.live) == record.digest


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
