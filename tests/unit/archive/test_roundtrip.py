"""What goes in comes out, and stock `zstd` and `tar` agree with us in both directions."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.platform.names import name_defect
from tests.unit.archive.material import pack, settle, small_tree, tree, unpack

NAMES = st.text(
    st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: not name_defect(name, windows=False))
LINKS = st.sampled_from(["sibling", "./here", "sub/folder"])
# Bytes are a file, text is a link, a dictionary is a folder.
TREES = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=3000) | LINKS, max_size=4),
    lambda inner: st.dictionaries(NAMES, inner | st.binary(max_size=10), max_size=4),
    max_leaves=12,
)
Branch = dict[str, "bytes | str | Branch"]


def plant(folder: Path, branch: Branch) -> None:
    folder.mkdir()
    for name, leaf in branch.items():
        path = folder / name
        if isinstance(leaf, dict):
            plant(path, leaf)
        elif isinstance(leaf, str):
            path.symlink_to(leaf)
        else:
            path.write_bytes(leaf)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES)
def test_any_tree_comes_back(branch: Branch) -> None:
    with tempfile.TemporaryDirectory() as room:
        folder, out = Path(room) / "copy", Path(room) / "out"
        plant(folder, branch)
        settle(folder)
        archive = pack(folder, threads=1)
        assert unpack(archive, out) == len(tree(folder))
        assert tree(out) == tree(folder)


def long_names(folder: Path) -> Path:
    """Paths far beyond the 100 and 255 bytes of the old formats, and names in bytes that are no text."""
    deep = folder
    for letter in "abcdefgh":
        deep = deep / (letter * 120)
    deep.mkdir(parents=True)
    (deep / ("ä" * 127)).write_text("deep")
    (deep / "link").symlink_to("../" + "h" * 120 + "/" + "ä" * 127)
    (folder / os.fsdecode(b"latin-\xe4\xff")).write_bytes(b"bytes")
    settle(folder)
    return folder


@pytest.mark.parametrize("make", [small_tree, long_names])
def test_stock_programs_extract_what_we_write(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = make(tmp_path / "copy")
    (tmp_path / "a.tar.zst").write_bytes(pack(folder))
    (tmp_path / "out").mkdir()
    command = "set -e; zstd -q -t a.tar.zst; zstd -dc a.tar.zst >a.tar; tar -xf a.tar -C out"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    # GNU tar says so where a name is no text, and then takes the name's bytes as they are: rightly.
    notice = "tar: Ignoring unknown extended header keyword 'hdrcharset'\n"
    assert done.stderr == (notice if make is long_names else "")
    assert tree(tmp_path / "out") == tree(folder)
    assert unpack((tmp_path / "a.tar.zst").read_bytes(), tmp_path / "ours") == len(tree(folder))
    assert tree(tmp_path / "ours") == tree(folder)


def test_stock_tar_restores_permissions(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "copy")
    (folder / "clinic.db").chmod(0o640)
    (folder / "nothing").chmod(0o755)
    (tmp_path / "out").mkdir()
    command = ["sh", "-c", "zstd -dc | tar -xp -C out"]
    subprocess.run(command, cwd=tmp_path, input=pack(folder), check=True)
    for name in ("clinic.db", "nothing", "tables"):
        assert (tmp_path / "out" / name).stat().st_mode == (folder / name).stat().st_mode


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7"])
@pytest.mark.parametrize("what", [".", "*"])
def test_we_extract_what_stock_programs_write(tmp_path: Path, form: str, what: str) -> None:
    folder = small_tree(tmp_path / "copy") if form in ("ustar", "v7") else long_names(tmp_path / "copy")
    command = f"tar -c --format={form} {what} | zstd -q -T2"
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, check=True)
    unpack(done.stdout, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(folder)


@pytest.mark.parametrize("level", [1, 9, 19])
def test_every_level_comes_back(tmp_path: Path, level: int) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "data").write_bytes(b"some text, again and again " * 60_000 + os.urandom(1000))
    settle(tmp_path / "copy")
    unpack(pack(tmp_path / "copy", level=level), tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "copy")


def test_sealed_with_stock_age(tmp_path: Path) -> None:
    """The promise for the worst day: `age`, `zstd` and `tar` bring it back without this program."""
    folder = small_tree(tmp_path / "copy")
    assert shutil.which("age"), "tests/machine.sh installs it"
    (tmp_path / "a.tar.zst").write_bytes(pack(folder))
    (tmp_path / "out").mkdir()
    command = (
        "set -e; age-keygen -o key 2>/dev/null; age -e -i key -o a.age a.tar.zst; "
        "age -d -i key a.age | zstd -dc | tar -x -C out"
    )
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert tree(tmp_path / "out") == tree(folder)
