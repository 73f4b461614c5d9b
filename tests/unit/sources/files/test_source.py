"""The source of plain folders: what a copy is, what validation says of it, what restoring gives back."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.archive.reader import extract_archive
from tasks.archive.writer import write_archive
from tasks.checks.measure import measure_checks, profile
from tasks.errors import SourceError, ValidationError
from tasks.options import Expectation, UserCheck
from tasks.sources.files import copy as files_copy
from tasks.sources.registry import make_source, option_models, source_for_copies
from tests.unit.sources.files.material import WHEN, copied, failed, fresh, settle, source, told, tree, write

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def small_office(folder: Path) -> Path:
    write(folder, letter_dot_txt="hello", Forms__visit_dot_pdf=b"%PDF" * 900, Forms__empty_dot_txt="")
    (folder / "Forms" / "nothing").mkdir()
    (folder / "latest").symlink_to("Forms/visit.pdf")
    (folder / "letter.txt").chmod(0o640)
    (folder / "Forms" / "visit.pdf").chmod(0o755)
    (folder / "Forms").chmod(0o750)
    return settle(folder)


def test_it_is_registered(tmp_path: Path) -> None:
    made = make_source(option_models()["files"](kind="files", path=small_office(tmp_path / "x")))
    assert made.check().kind == "files"


def test_a_copy_restores_without_any_option(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    copy = copied(folder, tmp_path)
    bare = source_for_copies("files")
    assert all(finding.passed for finding in bare.validate(copy.folder, fresh(tmp_path / "v")))
    with bare.open(copy.folder, tmp_path / "v") as connection:
        assert [table.name for table in bare.tables(connection)] == [".", "Forms"]
    assert tree(bare.restore(copy.folder, tmp_path / "restored")) == tree(folder)


def test_usual_names_lie_ready_for_stock_tools(tmp_path: Path) -> None:
    copy = copied(small_office(tmp_path / "office"), tmp_path)
    assert (copy.folder / "files" / "letter.txt").read_text() == "hello"
    assert (copy.folder / "files" / "Forms" / "nothing").is_dir()
    index = [json.loads(line) for line in (copy.folder / "index.jsonl").read_text().splitlines()]
    letter = next(line for line in index if line.get("path") == "letter.txt")
    seconds, nanos = divmod((tmp_path / "office" / "letter.txt").stat().st_mtime_ns, 10**9)
    assert (letter["mode"], letter["mtime"]) == ("0640", f"{seconds}.{nanos:09d}")


def test_everything_in_the_copy_is_private(tmp_path: Path) -> None:
    copy = copied(small_office(tmp_path / "office"), tmp_path)
    modes = {path.is_dir(): stat.S_IMODE(path.lstat().st_mode) for path in copy.folder.rglob("*")}
    assert modes == {True: 0o700, False: 0o600}


def test_the_restored_folder_itself_is_private_with_its_time(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    copy = copied(folder, tmp_path)
    info = source(folder).restore(copy.folder, tmp_path / "restored").stat()
    assert stat.S_IMODE(info.st_mode) == 0o700
    assert info.st_mtime_ns == folder.stat().st_mtime_ns


ODD = [
    b"\xff\xfe not text",
    b"two\nlines",
    b"back\\slash",
    b"C:",
    b"con",
    b"AUX.txt",
    b"dot.",
    b"space ",
    b" ",
    b"-rf",
    b"100%",
    b"%41",
    b"a%3Ab",
    b"a:b",
    b"readme",
    b"README",
    b"ReadMe",
    "é".encode(),
    "e\u0301".encode(),
    b"\x7f",
    b"x" * 255,
    b"y" * 254 + b".",
    ("ä" * 127).encode(),
    b"index.jsonl",
    b"files",
    b"long",
    b"...",
    b"\xf0\x9f\x90\xb3",
]


def test_odd_names_come_back(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "office")
    for number, name in enumerate(map(os.fsdecode, ODD)):
        inner = folder / "in" / name
        inner.mkdir(parents=True)
        for place in (inner, folder):
            (place / name).write_bytes(b"%d %d" % (number, len(place.parts)))
    settle(folder)
    assert_round_trip(folder, tmp_path)


def test_deep_folders_come_back(tmp_path: Path) -> None:
    folder = deep = fresh(tmp_path / "office")
    for letter in "abcdefghijklmnop":
        deep = deep / (letter * 220)
        deep.mkdir()
        (deep / "note.txt").write_text(letter)
    (deep / "link").symlink_to("note.txt")
    (deep / "nothing").mkdir()
    settle(folder)
    copy = assert_round_trip(folder, tmp_path)
    assert sorted(path.name for path in (copy / "long").iterdir())[0] == "00000001"


def assert_round_trip(folder: Path, room: Path) -> Path:
    """Copy, archive, extract, validate, restore: the same as at the beginning. Returns the copy."""
    copy = copied(folder, room)
    archive = BytesIO()
    write_archive(copy.folder, archive, level=1, threads=1)
    archive.seek(0)
    out = fresh(room / "out")
    extract_archive(archive, out, limit=copy.bytes)
    bare = source_for_copies("files")
    before, after = fresh(room / "before"), fresh(room / "after")
    assert [finding for finding in bare.validate(out, after) if not finding.passed] == []
    with bare.open(copy.folder, before) as first, bare.open(out, after) as second:
        assert profile(first, bare.tables(first)) == profile(second, bare.tables(second))
    assert tree(bare.restore(out, room / "restored")) == tree(folder)
    return copy.folder


NAMES = st.one_of(
    st.sampled_from(ODD),
    st.binary(min_size=1, max_size=20).filter(
        lambda name: not {0, 47} & {*name} and name not in (b".", b"..")
    ),
)
MODES = st.integers(0, 0o1777)
TARGETS = st.one_of(
    st.sampled_from([b"/etc/passwd", b"../../up", b"a/../../b", b"x", b"C:\\SOS"]),
    st.binary(min_size=1, max_size=30).filter(lambda target: 0 not in target),
)
TIMES = st.integers(0, 4_000_000_000 * 10**9)
LEAVES = st.one_of(
    st.tuples(st.just("file"), MODES, TIMES, st.binary(max_size=2000)),
    st.tuples(st.just("link"), st.just(0), TIMES, TARGETS),
    st.tuples(st.just("same"), st.just(0), TIMES, st.just(b"")),
)
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=5),
    lambda inner: st.dictionaries(NAMES, st.one_of(LEAVES, inner), max_size=4),
    max_leaves=14,
)


def plant(place: Path, branch: dict[bytes, Any], files: list[Path]) -> None:
    place.mkdir()
    for name, leaf in branch.items():
        path = place / os.fsdecode(name)
        if isinstance(leaf, dict):
            plant(path, leaf, files)
            continue
        kind, mode, when, contents = leaf
        if kind == "link":
            path.symlink_to(os.fsdecode(contents))
        elif kind == "same" and files:
            path.hardlink_to(files[-1])
            continue
        else:
            path.write_bytes(contents)
            path.chmod(mode)
            files.append(path)
        os.utime(path, ns=(when, when), follow_symlinks=False)
    os.utime(place, ns=(WHEN, WHEN))


@pytest.mark.skipif(not AS_ROOT, reason="files of mode 0 can be read by root alone")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES)
def test_any_tree_comes_back(branch: dict[bytes, Any]) -> None:
    with tempfile.TemporaryDirectory() as room:
        folder, files = Path(room) / "office", list[Path]()
        plant(folder, branch, files)
        assume(files)
        assert_round_trip(folder, Path(room))
        for path in files:
            restored = Path(room) / "restored" / path.relative_to(folder)
            assert restored.stat().st_nlink == path.stat().st_nlink


def test_links_of_every_sort_come_back(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    for name, target in {
        "absolute": "/etc/passwd",
        "out": "../elsewhere",
        "inside": "Forms/../letter.txt",
        "dangling": "no such",
        "to-folder": "Forms",
        "loop": "loop",
    }.items():
        (folder / name).symlink_to(target)
    settle(folder)
    copy = copied(folder, tmp_path)
    assert not [path for path in copy.folder.rglob("*") if path.is_symlink()]
    assert told(copy.folder, tmp_path)["links that lead out"].endswith(": 2: absolute, out")
    assert tree(source(folder).restore(copy.folder, tmp_path / "restored")) == tree(folder)


def test_hard_links_are_linked_again(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    (folder / "Forms" / "again.txt").hardlink_to(folder / "letter.txt")
    settle(folder)
    copy = copied(folder, tmp_path)
    assert (copy.folder / "files" / "letter.txt").read_text() == "hello"
    restored = source(folder).restore(copy.folder, tmp_path / "restored")
    assert (restored / "Forms" / "again.txt").samefile(restored / "letter.txt")
    assert tree(restored) == tree(folder)


def test_hard_links_where_the_disk_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FAT drive: the call fails there just like this."""

    def refuse(*_names: object, **_more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    folder = small_office(tmp_path / "office")
    (folder / "Forms" / "again.txt").hardlink_to(folder / "letter.txt")
    settle(folder)
    monkeypatch.setattr(os, "link", refuse)
    copy = copied(folder, tmp_path)
    restored = source(folder).restore(copy.folder, tmp_path / "restored")
    assert (restored / "letter.txt").stat().st_nlink == 1
    assert tree(restored) == tree(folder)


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files to others")
def test_owners_and_their_bits_come_back_for_root(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    os.chown(folder / "letter.txt", 65534, 12345)
    (folder / "letter.txt").chmod(0o4755)
    os.chown(folder / "latest", 65534, 65534, follow_symlinks=False)
    copy = copied(folder, tmp_path)
    restored = source(folder).restore(copy.folder, tmp_path / "restored")
    letter, link = (restored / "letter.txt").lstat(), (restored / "latest").lstat()
    assert (letter.st_uid, letter.st_gid, stat.S_IMODE(letter.st_mode)) == (65534, 12345, 0o4755)
    assert (link.st_uid, link.st_gid) == (65534, 65534)


def test_pipes_and_sockets_are_told(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        copy = copied(folder, tmp_path)
    assert told(copy.folder, tmp_path)["left out: no files"].endswith(": 2: pipe, socket")


def test_a_link_to_the_folder_is_followed(tmp_path: Path) -> None:
    small_office(tmp_path / "office")
    (tmp_path / "way").symlink_to("office")
    assert source(tmp_path / "way").check().bytes == 3605


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    small_office(tmp_path / "office")
    with pytest.raises(SourceError, match="not a folder"):
        source(tmp_path / "office" / "letter.txt").check()


def test_it_never_backs_up_its_own_copy(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    inside = fresh(fresh(folder / "state") / "copy")
    with pytest.raises(SourceError, match="own working folder lies in it") as caught:
        source(folder).copy_live(inside)
    assert "add state/ to `exclude:`" in caught.value.hint
    copy = source(folder, exclude=("state/",)).copy_live(inside)
    assert not any("state" in file.path for file in copy.files)


def test_too_many_files_for_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.sources.files import walk as files_walk

    monkeypatch.setattr(files_walk, "MOST_ENTRIES", 4)
    with pytest.raises(SourceError, match="more than 4 files"):
        source(small_office(tmp_path / "office")).check()


def test_users_checks_ask_the_table_of_files(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    copy = copied(folder, tmp_path)
    expect = Expectation(type="expect_column_values_to_be_between")
    checks = [
        UserCheck(title="forms", sql="SELECT COUNT(*) FROM files WHERE path LIKE 'Forms/%'", expect=expect),
        UserCheck(title="age", sql="SELECT MAX(mtime) FROM files", **{"as": "age_days"}, expect=expect),
        UserCheck(title="slip", sql="DELETE FROM files", expect=expect),
    ]
    taken = datetime.fromtimestamp(WHEN // 10**9 + 86_400, UTC)
    with source(folder).open(copy.folder, fresh(tmp_path / "o")) as connection:
        forms, age, slip = measure_checks(connection, checks, taken)
        with pytest.raises(Exception, match="readonly"):
            connection.cursor().execute("DELETE FROM files")
    assert forms.value == 3
    assert age.value == 1.0
    assert slip.problem


def test_open_uses_what_validate_measured(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    copy = copied(folder, tmp_path)
    told(copy.folder, tmp_path)
    with source(folder).open(copy.folder, tmp_path / "scratch") as connection:
        expected = profile(connection, source(folder).tables(connection))
    (copy.folder / "files" / "letter.txt").write_text("other")
    with source(folder).open(copy.folder, tmp_path / "scratch") as connection:
        assert profile(connection, source(folder).tables(connection)) == expected
    with source(folder).open(copy.folder, fresh(tmp_path / "fresh")) as connection:
        assert profile(connection, source(folder).tables(connection)) != expected


@pytest.mark.parametrize("what", ["mode", "time"])
def test_modes_and_times_are_in_the_profile(tmp_path: Path, what: str) -> None:
    profiles = []
    folder = small_office(tmp_path / "office")
    for room in (fresh(tmp_path / "a"), fresh(tmp_path / "b")):
        copy = copied(folder, room)
        with source(folder).open(copy.folder, fresh(room / "o")) as connection:
            profiles.append(profile(connection, source(folder).tables(connection)))
        if what == "mode":
            (folder / "letter.txt").chmod(0o600)
        else:
            os.utime(folder / "letter.txt", ns=(WHEN, WHEN - 1))
    assert profiles[0] != profiles[1]
    assert profiles[0].tables[1] == profiles[1].tables[1]


def test_restore_removes_what_it_made_when_it_fails(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    copy = copied(folder, tmp_path)
    (copy.folder / "files" / "letter.txt").unlink()
    with pytest.raises(SourceError, match="No such file"):
        source(folder).restore(copy.folder, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()
    place = fresh(tmp_path / "mine")
    with pytest.raises(SourceError):
        source(folder).restore(copy.folder, place)
    assert list(place.iterdir()) == []


def test_names_for_another_system_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.sources.files import restore as files_restore

    folder = write(tmp_path / "office", **{"a:b": "1", "fine": "2"})
    copy = copied(folder, tmp_path)
    real = files_restore.unfit_paths
    monkeypatch.setattr(files_restore, "unfit_paths", lambda names, **_: real(names, windows=True))
    with pytest.raises(SourceError, match="cannot hold a:b") as caught:
        source(folder).restore(copy.folder, tmp_path / "restored")
    assert "stand-in" in caught.value.hint
    assert not (tmp_path / "restored").exists()


def test_stock_tools_alone_bring_usual_files_back(tmp_path: Path) -> None:
    folder = small_office(tmp_path / "office")
    with (tmp_path / "a.tar.zst").open("wb") as stream:
        write_archive(copied(folder, tmp_path).folder, stream)
    out = fresh(tmp_path / "out")
    subprocess.run(["sh", "-c", "zstd -dc ../a.tar.zst | tar -x"], cwd=out, check=True)
    before = {name: look for name, look in tree(folder).items() if look[0] != "link"}
    after = tree(out / "files")
    assert {name: look[3] for name, look in after.items()} == {name: look[3] for name, look in before.items()}
    whole_seconds = {name: look[2] // 10**9 for name, look in before.items() if look[0] == "file"}
    assert {name: after[name][2] // 10**9 for name in whole_seconds} == whole_seconds


def lines_of(copy: Path) -> list[bytes]:
    return (copy / "index.jsonl").read_bytes().splitlines(keepends=True)


def reindexed(copy: Path, lines: list[bytes]) -> None:
    """Write an index with these lines and a right last one, as an attacker could."""
    import hashlib

    end = {"entries": len(lines) - 1, "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}
    (copy / "index.jsonl").write_bytes(b"".join(lines) + json.dumps(end).encode() + b"\n")


HOSTILE = [
    {"path": "../escape"},
    {"path": "/etc/cron.d/evil"},
    {"path": "Forms/../../escape"},
    {"path": "latest/below-a-link"},
    {"path": "letter.txt"},
    {"path": "Forms//x"},
    {"path": "zero%00byte"},
    {"path": ""},
    {"stored": "../../etc/passwd"},
    {"stored": "/etc/passwd"},
    {"stored": "index.jsonl"},
    {"kind": "device"},
    {"mtime": "soon"},
    {"mode": "rwx"},
    {"same_as": "no such file"},
]


@pytest.mark.parametrize("change", HOSTILE, ids=str)
def test_a_senseless_index_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    folder = small_office(tmp_path / "office")
    copy = copied(folder, tmp_path).folder
    lines = lines_of(copy)[:-1]
    letter = json.loads(next(line for line in lines if b'"path":"letter.txt"' in line))
    lines.append(json.dumps({**letter, "path": "new.txt", **change}).encode() + b"\n")
    reindexed(copy, lines)
    assert failed(copy, tmp_path) == [f"index: the index of the copy in {copy} is damaged"]
    with pytest.raises(ValidationError, match="damaged"):
        source(folder).restore(copy, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_the_same_line_unchanged_is_fine(tmp_path: Path) -> None:
    """What the test above alters is what it is refused for."""
    copy = copied(small_office(tmp_path / "office"), tmp_path).folder
    lines = lines_of(copy)[:-1]
    letter = json.loads(next(line for line in lines if b'"path":"letter.txt"' in line))
    shutil.copyfile(copy / "files" / "letter.txt", copy / "files" / "new.txt")
    lines.append(json.dumps({**letter, "path": "new.txt", "stored": "files/new.txt"}).encode() + b"\n")
    reindexed(copy, lines)
    assert failed(copy, tmp_path) == []


def test_progress_never_goes_back(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    meter = files_copy.Meter(lambda done, total: seen.append((done, total)), 100)
    for step in (lambda: meter.at(60), lambda: meter.at(10), lambda: meter.passed(60), lambda: meter.at(70)):
        step()
    meter.finish()
    assert [done for done, _ in seen] == [60, 60, 60, 100, 100]
