"""What the folder target does beyond the contract: its marker, and what lies beside its objects."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.errors import ObjectMissing, TargetError, TargetMissing
from tasks.targets.shared.marker import MARKER
from tests.contract.target_contract import get, put
from tests.faults.folders import marked_drive, target_at, tree


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    with marked_drive(tmp_path / "nas") as path:
        yield path


def test_prepare(tmp_path: Path) -> None:
    root = tmp_path / "nas"
    target = target_at(root)
    assert "made and marked" in target.prepare()
    marker = json.loads((root / MARKER).read_bytes())
    assert set(marker) == {"datasave", "target", "id", "made"}
    assert (marker["datasave"], marker["target"]) == (1, "nas")
    assert len(bytes.fromhex(marker["id"])) == 16
    assert marker["made"].endswith("Z")
    if os.name == "posix":
        assert (root.stat().st_mode & 0o777, (root / MARKER).stat().st_mode & 0o777) == (0o700, 0o600)
    assert "already marked" in target.prepare()
    assert json.loads((root / MARKER).read_bytes()) == marker
    assert target.list() == []


def test_prepare_refuses_a_foreign_place(tmp_path: Path) -> None:
    target_at(tmp_path, "vault").prepare()
    before = (tmp_path / MARKER).read_bytes()
    with pytest.raises(TargetError, match="'vault'") as caught:
        target_at(tmp_path).prepare()
    assert caught.value.hint
    assert caught.value.permanent
    assert (tmp_path / MARKER).read_bytes() == before


def test_prepare_makes_no_parents(tmp_path: Path) -> None:
    with pytest.raises(TargetMissing, match="parent"):
        target_at(tmp_path / "mnt" / "nas").prepare()
    assert tree(tmp_path) == []


def test_prepare_warns_of_the_system_disk(tmp_path: Path, mount: Path) -> None:
    """Adopting the folder beneath an unmounted drive is almost always a mistake."""
    home = tmp_path / "home"
    on_the_root = home.parent.stat().st_dev == Path("/").stat().st_dev
    assert ("lies on the system disk" in target_at(home).prepare()) == on_the_root
    (mount / MARKER).unlink()
    assert "system disk" not in target_at(mount / "sub").prepare()


def test_no_object_takes_the_place_of_the_marker(tmp_path: Path) -> None:
    target = target_at(tmp_path)
    target.prepare()
    for name in (MARKER, "TUE/.hidden", ".a.part"):
        with pytest.raises(ValueError, match="dot"):
            put(target, name, b"x")
        with pytest.raises(ValueError, match="dot"):
            target.delete(name)
    assert tree(tmp_path) == [MARKER]


def test_what_is_no_object(tmp_path: Path) -> None:
    """Links, pipes and names that no put could give are neither listed nor followed."""
    root = tmp_path / "nas"
    target = target_at(root)
    target.prepare()
    secret = tmp_path / "secret"
    secret.write_bytes(b"a file of the machine")
    (root / "link").symlink_to(secret)
    (root / "slot").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(root / "pipe")
    (root / "back\\slash").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(root) + b"/latin-\xe9")).write_bytes(b"x")
    assert target.list() == []
    for name in ("link", "pipe"):
        with pytest.raises(ObjectMissing):
            get(target, name)
    with pytest.raises(TargetError, match="File exists"):
        put(target, "slot/new", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nas", "secret"]
    assert secret.read_bytes() == b"a file of the machine"


def test_private_files(tmp_path: Path) -> None:
    target = target_at(tmp_path)
    target.prepare()
    target.put("TUE/a", io.BytesIO(b"x"), 1)
    assert (tmp_path / "TUE").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "TUE/a").stat().st_mode & 0o777 == 0o600
