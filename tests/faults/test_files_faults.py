"""What can happen to a folder while it is copied, and to a copy afterwards; each fault is shown to fire."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tasks.errors import CopyError, SourceError, SourceMissing, ValidationError
from tasks.records import LiveCopy, Progress
from tests import mounts
from tests.unit.sources.files.material import copied, failed, fresh, settle, source, told, tree, write

BIG = 3 << 20


def office(folder: Path) -> Path:
    """Files in the order in which they are copied; the first is large enough for things to happen."""
    write(folder, a_first_dot_bin=b"1" * BIG, b__one_dot_txt="one", b__two_dot_txt="two", c_dot_txt="c")
    return settle(folder)


def once(act: Callable[[], object]) -> tuple[Progress, list[bool]]:
    """A progress that acts when the first bytes are copied, and whether it did."""
    fired: list[bool] = []

    def progress(_done: int, _total: int) -> None:
        if not fired:
            fired.append(True)
            act()

    return progress, fired


def always(act: Callable[[], object]) -> tuple[Progress, list[int]]:
    """A progress that acts at each block: no busy machine keeps the change out of a reading."""
    fired: list[int] = []

    def progress(done: int, _total: int) -> None:
        fired.append(done)
        act()

    return progress, fired


def copy_while(folder: Path, room: Path, act: Callable[[], object], **options: str) -> LiveCopy:
    progress, fired = once(act)
    try:
        return source(folder, **options).copy_live(fresh(room / "copy"), progress)
    finally:
        assert fired, "the fault did not fire"


def contents(copy: Path, room: Path) -> dict[str, bytes]:
    restored = source(copy).restore(copy, room / "restored")
    return {name.decode(): look[3] for name, look in tree(restored).items() if look[0] == "file"}


@contextmanager
def repeating(act: Callable[[], object]) -> Iterator[list[float]]:
    """Act all the time beside the block; the list grows with each."""
    stop, times = threading.Event(), list[float]()

    def run() -> None:
        while not stop.wait(0.001):
            act()
            times.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def rewriting(path: Path) -> Callable[[], None]:
    """Write half of the file with one letter, the other half with the next."""
    count = 0

    def act() -> None:
        nonlocal count
        count += 1
        half = path.stat().st_size // 2
        with path.open("r+b", buffering=0) as stream:
            stream.write(bytes([count % 256]) * half)
            stream.write(bytes([(count + 1) % 256]) * half)

    return act


def test_a_file_that_keeps_changing_fails_the_copy(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    progress, fired = always(rewriting(folder / "a_first.bin"))
    with pytest.raises(CopyError) as caught:
        source(folder).copy_live(fresh(tmp_path / "copy"), progress)
    assert len(fired) >= 3, "the fault did not fire"
    assert "a_first.bin (it kept changing)" in caught.value.message
    assert "exclude" in caught.value.hint
    assert not caught.value.permanent


def test_a_file_that_keeps_changing_can_be_reported(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    progress, fired = always(rewriting(folder / "a_first.bin"))
    copy = source(folder, changing="report").copy_live(fresh(tmp_path / "copy"), progress)
    assert len(fired) >= 3, "the fault did not fire"
    said = told(copy.folder, tmp_path)
    assert said["while copying: changing"] == "may be half old and half new: 1: a_first.bin"


def test_a_file_that_changes_once_is_copied_again(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    copy = copy_while(folder, tmp_path, lambda: (folder / "a_first.bin").write_bytes(b"2" * BIG))
    assert contents(copy.folder, tmp_path)["a_first.bin"] == b"2" * BIG
    assert not any("changing" in check for check in told(copy.folder, tmp_path))


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    """Programs that set a document's time back after writing it."""
    folder = office(tmp_path / "office")
    path = folder / "a_first.bin"
    info = path.stat()

    def change() -> None:
        path.write_bytes(b"2" * BIG)
        os.utime(path, ns=(info.st_mtime_ns, info.st_mtime_ns))

    copy = copy_while(folder, tmp_path, change)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (info.st_size, info.st_mtime_ns)
    assert contents(copy.folder, tmp_path)["a_first.bin"] == b"2" * BIG


def test_a_growing_log_is_kept_as_it_was(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    lines = iter(range(10**9))
    with (folder / "app.log").open("ab", buffering=0) as log:
        log.write(b"".join(b"line %09d\n" % next(lines) for _ in range(50_000)))
        with repeating(lambda: log.write(b"line %09d\n" % next(lines))) as times:
            copy = copied(folder, tmp_path)
        assert len(times) > 10, "the fault did not fire"
    kept = contents(copy.folder, tmp_path)["app.log"]
    assert len(kept) >= 50_000 * 15
    assert (folder / "app.log").read_bytes().startswith(kept)
    assert len(kept) % 15 == 0, "a line was cut, though each was written in one piece"
    assert told(copy.folder, tmp_path)["while copying: growing"].endswith(": 1: app.log")


def test_a_file_that_grows_and_changes_is_no_log(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    path = folder / "a_first.bin"
    rewrite = rewriting(path)

    def act() -> None:
        with path.open("ab", buffering=0) as stream:
            stream.write(b"xx")
        rewrite()

    progress, fired = always(act)
    with pytest.raises(CopyError, match="it kept changing"):
        source(folder).copy_live(fresh(tmp_path / "copy"), progress)
    assert len(fired) >= 3, "the fault did not fire"


def test_a_file_that_vanishes_is_told(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    copy = copy_while(folder, tmp_path, (folder / "c.txt").unlink)
    assert set(contents(copy.folder, tmp_path)) == {"a_first.bin", "b/one.txt", "b/two.txt"}
    assert told(copy.folder, tmp_path)["while copying: vanished"].endswith(": 1: c.txt")
    assert failed(copy.folder, fresh(tmp_path / "again")) == []


def test_a_file_deleted_after_it_was_copied_is_kept(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    write(folder, a_dot_txt="early")
    settle(folder)
    seen: list[int] = []

    def progress(done: int, _total: int) -> None:
        if done > 5 and not seen:
            seen.append(done)
            (folder / "a.txt").unlink()

    copy = source(folder).copy_live(fresh(tmp_path / "copy"), progress)
    assert seen, "the fault did not fire"
    assert contents(copy.folder, tmp_path)["a.txt"] == b"early"
    assert told(copy.folder, tmp_path)["while copying: deleted"].endswith(": 1: a.txt")


def test_files_that_appear_meanwhile_are_copied(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    copy = copy_while(folder, tmp_path, lambda: write(folder, new__deep__x_dot_txt="x", a_dot_txt="a"))
    found = contents(copy.folder, tmp_path)
    assert (found["new/deep/x.txt"], found["a.txt"]) == (b"x", b"a")
    assert {file.path for file in copy.files} >= {"files/new/deep/x.txt", "files/a.txt"}


def test_a_renamed_folder_is_copied_under_its_new_name(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    copy = copy_while(folder, tmp_path, lambda: (folder / "b").rename(folder / "renamed"))
    found = contents(copy.folder, tmp_path)
    assert (found["renamed/one.txt"], found["renamed/two.txt"]) == (b"one", b"two")
    said = told(copy.folder, tmp_path)
    assert said["while copying: vanished"].endswith(": 2: b/one.txt, b/two.txt")
    assert said["while copying: deleted"].endswith(": 1: b")


def test_endless_arrivals_end_with_the_next_backup(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    numbers = iter(range(10**9))
    with repeating(lambda: (folder / f"z{next(numbers):09d}").write_text("x")) as times:
        copy = copied(folder, tmp_path)
    assert len(times) > 10, "the fault did not fire"
    assert "while copying: growing" not in told(copy.folder, tmp_path)
    assert "left out: too new" in told(copy.folder, fresh(tmp_path / "again"))


def replace_folder(folder: Path) -> None:
    (folder / "b").rename(folder.parent / "old-b")
    write(folder, b__one_dot_txt="another")


def test_a_replaced_folder_fails_the_copy(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    with pytest.raises(CopyError, match="b was replaced meanwhile") as caught:
        copy_while(folder, tmp_path, lambda: replace_folder(folder))
    assert not caught.value.permanent
    assert "update" in caught.value.hint


def test_nothing_is_read_through_a_link_put_in_a_folders_place(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    write(tmp_path / "outside", one_dot_txt="secret", two_dot_txt="secret")

    def swap() -> None:
        (folder / "b").rename(tmp_path / "old-b")
        (folder / "b").symlink_to(tmp_path / "outside")

    with pytest.raises(CopyError, match="b was replaced meanwhile"):
        copy_while(folder, tmp_path, swap)
    assert (folder / "b" / "one.txt").read_text() == "secret"
    assert not [path for path in (tmp_path / "copy").rglob("*.txt") if "secret" in path.read_text()]


def test_a_pipe_in_a_files_place_does_not_stop_it(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")

    def swap() -> None:
        (folder / "c.txt").unlink()
        os.mkfifo(folder / "c.txt")

    copy = copy_while(folder, tmp_path, swap)
    said = told(copy.folder, tmp_path)
    assert said["while copying: vanished"].endswith(": 1: c.txt")
    assert said["left out: no files"].endswith(": 1: c.txt")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root becomes another user")
def test_files_without_the_right_to_read_are_named() -> None:
    """As the user nobody, because root reads everything."""
    program = (
        "import grp, os, pwd, sys; from pathlib import Path; from tasks.errors import SourceError\n"
        "from tests.unit.sources.files.material import source\n"
        "folder, copy = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "reachable = source(folder, exclude=('closed/',))\n"
        "for attempt in (source(folder).check, lambda: source(folder).copy_live(copy),\n"
        "        lambda: reachable.copy_live(copy)):\n"
        "    try: attempt()\n"
        "    except SourceError as error: print(type(error).__name__, '|', error.message)\n"
    )
    with TemporaryDirectory() as room:
        Path(room).chmod(0o755)
        folder = office(Path(room) / "office")
        (folder / "c.txt").chmod(0o600)
        write(folder, closed__inner_dot_txt="x")
        (folder / "closed").chmod(0o700)
        copy = fresh(Path(room) / "copy")
        os.chown(copy, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder), str(copy)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
    check, live, rest = done.stdout.splitlines()
    assert check.startswith("SourceError | ")
    assert "closed (Permission denied), c.txt (no right to read)" in check
    assert live.startswith("CopyError | ")
    assert "closed (Permission denied)" in live
    assert rest.startswith("CopyError | ")
    assert rest.endswith(": c.txt (Permission denied)")


def test_a_disk_that_fails_meanwhile(tmp_path: Path) -> None:
    with mounts.ext4(tmp_path / "disk") as disk:
        folder = office(disk.path / "office")
        with pytest.raises(CopyError, match=r"Input/output error|cannot look") as caught:
            copy_while(folder, tmp_path, lambda: mounts.shut_down_without_sync(disk.path))
        with pytest.raises(OSError, match="Input/output error"):
            (folder / "c.txt").read_bytes()
    assert caught.value.hint


def test_a_file_system_that_dies_while_its_file_is_read(tmp_path: Path) -> None:
    with mounts.exfat(tmp_path / "drive") as drive:
        assert drive.driver is not None
        folder = office(drive.path / "office")
        with pytest.raises(CopyError, match="not connected"):
            copy_while(folder, tmp_path, lambda: end(drive))


def test_a_folder_that_cannot_be_listed_any_more_at_the_end(tmp_path: Path) -> None:
    """All files were copied by then; whether others came meanwhile nobody knows."""
    folder = office(tmp_path / "office")
    (folder / "a").mkdir()
    with mounts.exfat(folder / "a" / "drive") as drive:
        write(drive.path, one_dot_txt="one")
        fired: list[bool] = []

        def progress(done: int, _total: int) -> None:
            if done >= BIG and not fired:
                fired.append(True)
                end(drive)

        with pytest.raises(CopyError, match="a/drive"):
            source(folder, exclude=("*.img",)).copy_live(fresh(tmp_path / "copy"), progress)
        assert fired, "the fault did not fire"
        assert (tmp_path / "copy" / "files" / "a" / "drive" / "one.txt").read_text() == "one"


def end(drive: mounts.Mounted) -> None:
    assert drive.driver is not None
    drive.driver.kill()
    drive.driver.wait(30)


def test_a_disk_that_goes_away_meanwhile(tmp_path: Path) -> None:
    """The mount point stays, an empty folder: nothing vanished, the disk did."""
    with mounts.ext4(tmp_path / "disk") as disk:
        folder = office(disk.path / "office")
        with pytest.raises(SourceError):
            copy_while(folder, tmp_path, lambda: mounts.unmount_lazily(disk.path))
        with pytest.raises(SourceMissing):
            source(folder).check()


def test_staging_without_room(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    with (
        mounts.tmpfs(tmp_path / "staging", megabytes=1) as staging,
        pytest.raises(CopyError, match="No space left on device") as caught,
    ):
        copied(folder, staging)
    assert "free space" in caught.value.hint


def test_a_restore_without_room_leaves_nothing(tmp_path: Path) -> None:
    copy = copied(office(tmp_path / "office"), tmp_path)
    with mounts.tmpfs(tmp_path / "small", megabytes=1) as small:
        with pytest.raises(SourceError, match="No space left on device"):
            source(copy.folder).restore(copy.folder, small / "place")
        assert list(small.iterdir()) == []


def test_a_restore_onto_a_drive_that_cannot_hold_the_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "office", **{"a.txt": "1", "what?": "2"})
    copy = copied(settle(folder), tmp_path)
    with mounts.exfat(tmp_path / "drive") as drive:
        with pytest.raises(SourceError) as caught:
            source(folder).restore(copy.folder, drive.path / "place")
        assert not (drive.path / "place").exists()
    assert caught.value.hint


def test_three_damaged_bytes(tmp_path: Path) -> None:
    copy = copied(office(tmp_path / "office"), tmp_path).folder
    with (copy / "files" / "a_first.bin").open("r+b") as stream:
        stream.seek(BIG // 2)
        stream.write(b"###")
    assert failed(copy, tmp_path) == ["files whole: a_first.bin has other contents than were copied"]


def test_a_truncated_file(tmp_path: Path) -> None:
    copy = copied(office(tmp_path / "office"), tmp_path).folder
    os.truncate(copy / "files" / "a_first.bin", 1000)
    assert failed(copy, tmp_path) == ["files whole: a_first.bin has 1,000 bytes instead of 3,145,728"]


def test_missing_files_are_named_up_to_a_point(tmp_path: Path) -> None:
    folder = office(tmp_path / "office")
    write(folder, **{f"many__{number:02}": "x" for number in range(30)})
    copy = copied(folder, tmp_path).folder
    for path in (copy / "files" / "many").iterdir():
        path.unlink()
    lines = failed(copy, tmp_path)
    assert lines[0] == "files whole: many/00 is missing"
    assert lines[20] == "files whole: 10 more files are not as they were copied"
    assert len(lines) == 21


@pytest.mark.parametrize("extra", ["files/extra.txt", "extra.txt", "files/b/deep/extra.txt"])
def test_a_file_too_many(tmp_path: Path, extra: str) -> None:
    folder = office(tmp_path / "office")
    copy = copied(folder, tmp_path).folder
    write(copy, **{extra: "x"})
    assert failed(copy, tmp_path) == [f"nothing else: not in the index: {extra}"]
    profiles = []
    for room in ("scratch", "fresh"):
        (tmp_path / room).mkdir(exist_ok=True)
        with source(folder).open(copy, tmp_path / room) as connection:
            profiles += connection.execute("SELECT path FROM files WHERE kind = 'extra'").fetchall()
    assert profiles == [(extra,), (extra,)]


def test_a_link_in_a_files_place(tmp_path: Path) -> None:
    copy = copied(office(tmp_path / "office"), tmp_path).folder
    same = write(tmp_path, same="c") / "same"
    (copy / "files" / "c.txt").unlink()
    (copy / "files" / "c.txt").symlink_to(same)
    assert failed(copy, tmp_path) == ["files whole: c.txt is missing"]


def without_last_line(data: bytes) -> bytes:
    return data[: data.rindex(b"\n", 0, -1) + 1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b'"mode":"0644"', b'"mode":"0666"', 1),
        lambda data: data.replace(b"c.txt", b"d.txt", 1),
        lambda data: data[: len(data) // 2],
        without_last_line,
        lambda data: data + b"{}\n",
        lambda data: b"",
        lambda data: b"\xff" + data,
        lambda data: b"[]\n[]\n",
    ],
)
def test_a_damaged_index(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    folder = office(tmp_path / "office")
    copy = copied(folder, tmp_path).folder
    index = copy / "index.jsonl"
    before = index.read_bytes()
    index.write_bytes(damage(before))
    assert index.read_bytes() != before
    assert failed(copy, tmp_path) == [f"index: the index of the copy in {copy} is damaged"]
    with pytest.raises(ValidationError, match="damaged"), source(folder).open(copy, tmp_path / "scratch"):
        pass
    with pytest.raises(ValidationError, match="damaged") as caught:
        source(folder).restore(copy, tmp_path / "restored")
    assert caught.value.hint
    assert not (tmp_path / "restored").exists()


def test_a_missing_index(tmp_path: Path) -> None:
    copy = copied(office(tmp_path / "office"), tmp_path).folder
    (copy / "index.jsonl").unlink()
    assert failed(copy, tmp_path) == [f"index: cannot read the index of the copy in {copy}: there is none"]
