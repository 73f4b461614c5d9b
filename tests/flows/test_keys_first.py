"""Whichever way a backup is brought back: cold storage is not asked for before what can be known is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.cli import app as cli
from flows.drill import drill
from flows.restore import restore
from tasks.age.x25519 import X25519Identity
from tasks.platform.files import create_private
from tasks.targets.base import Target
from tests.flows.site import Site

TWELVE_HOURS = 43_200.0

Way = Callable[[Site, Path, Path], bool]
"""Called with the site, a key file and a new path; whether it ended well."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Site:
    """An office with a backup of a folder."""
    assert prefect_server
    root = tmp_path_factory.mktemp("office")
    (root / "letters").mkdir()
    (root / "letters" / "one.txt").write_text("Dear patient")
    site = Site.make(root, ["vault"], source={"kind": "files", "path": "letters"})
    assert site.run("backup") == 0
    return site


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all objects that targets, which are cold storage from now on, were asked for."""
    names: list[str] = []

    def thaw(_self: Target, name: str) -> float:
        names.append(name)
        return TWELVE_HOURS

    monkeypatch.setattr(Target, "thaw", thaw, raising=False)
    return names


def by_restore(site: Site, key: Path, to: Path) -> bool:
    return site.run("restore", "--identity", str(key), "--to", str(to)) == 0


def only_one_file(site: Site, key: Path, to: Path) -> bool:
    return site.run("restore", "--only", "one.txt", "--identity", str(key), "--to", str(to)) == 0


def in_place(site: Site, key: Path, _to: Path) -> bool:
    return site.run("restore", "--in-place", "--yes", "--identity", str(key)) == 0


def by_rescue(site: Site, key: Path, to: Path) -> bool:
    return cli.main(["rescue", str(site.root / "vault"), "-i", str(key), "--to", str(to), *site.signer]) == 0


def by_drill(site: Site, key: Path, _to: Path) -> bool:
    state: Any = drill(plan=site.plan, target="vault", identity=key, wait=0, return_state=True)
    return bool(state.is_completed())


def in_the_ui(site: Site, key: Path, to: Path) -> bool:
    state: Any = restore(
        plan=site.plan, target="vault", destination=to, identity=key, wait=0, return_state=True
    )
    return bool(state.is_completed())


WAYS = (by_restore, only_one_file, in_place, by_rescue, by_drill, in_the_ui)


@pytest.mark.parametrize("way", WAYS)
def test_no_key_no_thaw(office: Site, tmp_path: Path, asked: list[str], way: Way) -> None:
    assert not way(office, tmp_path / "missing.key.txt", tmp_path / "new")
    stranger = tmp_path / "stranger.key.txt"
    with create_private(stranger) as stream:
        stream.write(f"{X25519Identity.generate().secret_text()}\n".encode())
    assert not way(office, stranger, tmp_path / "new")
    assert asked == []

    assert not way(office, office.keys[0], tmp_path / "new"), "nobody waits for twelve hours"
    assert len(asked) == 1
    assert not (tmp_path / "new").exists()
    assert (office.root / "letters" / "one.txt").read_text() == "Dear patient"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--only", "two.txt"), "none of the 1 files"),
        (("--logs", "logs"), "no log backups"),
        (("--logs", "logs", "--until", "yesterday"), "is not a time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_done_is_told_at_once(
    office: Site,
    tmp_path: Path,
    asked: list[str],
    options: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert office.run("restore", *options, "-i", str(office.keys[0]), "--to", str(tmp_path / "new")) == 1
    assert words in capsys.readouterr().err
    assert asked == []
